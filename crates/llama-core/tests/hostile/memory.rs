//! The memory of sequences.

use llama_core::SeqId;

use crate::Case;
use crate::subjects::{Subjects, each_context, fill};
use crate::values::{BOOLS, I32, ranges};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("Memory::clear", clear),
    ("Memory::seq_rm", seq_rm),
    ("Memory::seq_cp", seq_cp),
    ("Memory::seq_keep", seq_keep),
    ("Memory::seq_add", seq_add),
    ("Memory::seq_div", seq_div),
    ("Memory::seq_pos_min", |walk, subjects| {
        each_context(walk, subjects, |walk, context| {
            for seq_id in I32 {
                walk.call(seq_id, || context.memory().seq_pos_min(SeqId::new(seq_id)));
            }
        });
    }),
    ("Memory::seq_pos_max", |walk, subjects| {
        each_context(walk, subjects, |walk, context| {
            for seq_id in I32 {
                walk.call(seq_id, || context.memory().seq_pos_max(SeqId::new(seq_id)));
            }
        });
    }),
    ("Memory::can_shift", |walk, subjects| {
        each_context(walk, subjects, |walk, context| _ = walk.call("", || context.memory().can_shift()));
    }),
];

/// Sequence ids: one that exists, one that may exist, and ones that do not.
const SEQUENCES: [i32; 5] = [0, 3, -1, 256, i32::MAX];

fn clear(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        for data in BOOLS {
            walk.call(data, || context.memory().clear(data));
        }
    });
}

fn seq_rm(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        for seq_id in SEQUENCES {
            for range in ranges() {
                walk.call(format!("{seq_id} {range:?}"), || {
                    context.memory().seq_rm(SeqId::new(seq_id), range)
                });
            }
        }
    });
}

fn seq_cp(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        for (from, to) in [(0, 3), (3, 0), (0, 0), (-1, 0), (0, -1), (0, 4), (256, i32::MIN)] {
            for range in ranges() {
                let (from, to) = (SeqId::new(from), SeqId::new(to));
                walk.call(format!("{from} {to} {range:?}"), || context.memory().seq_cp(from, to, range));
            }
        }
        go_on(walk, context);
    });
}

fn seq_keep(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        for seq_id in I32 {
            walk.call(seq_id, || context.memory().seq_keep(SeqId::new(seq_id)));
        }
        go_on(walk, context);
    });
}

fn seq_add(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        for seq_id in SEQUENCES {
            for (range, delta) in ranges().into_iter().zip(I32.into_iter().cycle()) {
                let what = format!("{seq_id} {range:?} {delta}");
                walk.call(what, || context.memory().seq_add(SeqId::new(seq_id), range, delta));
            }
        }
        for delta in I32 {
            walk.call(delta, || context.memory().seq_add(SeqId::new(0), .., delta));
        }
        go_on(walk, context);
    });
}

fn seq_div(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        for seq_id in SEQUENCES {
            for (range, divisor) in ranges().into_iter().zip(I32.into_iter().cycle()) {
                let what = format!("{seq_id} {range:?} {divisor}");
                walk.call(what, || context.memory().seq_div(SeqId::new(seq_id), range, divisor));
            }
        }
        for divisor in I32 {
            walk.call(divisor, || context.memory().seq_div(SeqId::new(0), .., divisor));
        }
        go_on(walk, context);
    });
}

/// Decodes a batch, which applies the changes.
pub(crate) fn go_on(walk: &mut Walk, context: &mut llama_core::Context) {
    if walk.is_poisoned() {
        return;
    }
    let next = match context.has_memory() {
        true => context.memory().seq_pos_max(SeqId::new(0)).unwrap().map_or(0, |last| last.get() + 1),
        false => 0,
    };
    let mut batch = llama_core::Batch::new();
    let token = llama_core::Token::new(5);
    batch.push(token, llama_core::Pos::new(next), &[SeqId::new(0)], true).unwrap();
    walk.call(format!("the next token at {next}"), || context.decode(&batch));
    walk.run("anew", || fill(context));
}
