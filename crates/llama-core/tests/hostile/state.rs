//! States in memory, of all sequences and of one.

use llama_core::state::StatePart;
use llama_core::{Context, SeqId};

use crate::Case;
use crate::context::plain;
use crate::damage::damaged;
use crate::memory::go_on;
use crate::subjects::{Subjects, each_context};
use crate::values::I32;
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("Context::state_size", |walk, subjects| {
        each_context(walk, subjects, |walk, context| _ = walk.call("", || context.state_size()));
    }),
    ("Context::state_data", state_data),
    ("Context::set_state_data", set_state_data),
    ("Context::has_partial_state", |walk, subjects| {
        plain(walk, subjects, |context| _ = context.has_partial_state());
    }),
    ("Context::seq_state_size", |walk, subjects| {
        each_sequence(walk, subjects, |walk, context, id, part| {
            walk.call(format!("{id} {part:?}"), || context.seq_state_size(id, part));
        });
    }),
    ("Context::seq_state_data", |walk, subjects| {
        let mut data = vec![7; 100];
        each_sequence(walk, subjects, |walk, context, id, part| {
            walk.call(format!("{id} {part:?}"), || context.seq_state_data(id, part, &mut data));
        });
    }),
    ("Context::set_seq_state_data", set_seq_state_data),
];

pub(crate) const PARTS: [StatePart; 2] = [StatePart::All, StatePart::Partial];

/// Calls a function with every part of every sequence, most of which do not exist.
pub(crate) fn each_sequence(
    walk: &mut Walk,
    subjects: &mut Subjects,
    mut with: impl FnMut(&mut Walk, &mut Context, SeqId, StatePart),
) {
    each_context(walk, subjects, |walk, context| {
        for (id, part) in I32.into_iter().flat_map(|id| PARTS.map(|part| (id, part))) {
            with(walk, context, SeqId::new(id), part);
        }
    });
}

fn state_data(walk: &mut Walk, subjects: &mut Subjects) {
    let mut data = vec![7; 100];
    each_context(walk, subjects, |walk, context| {
        for time in ["once", "again"] {
            let size = walk.call(time, || context.state_data(&mut data)).map(|()| data.len());
            assert_eq!(size, context.state_size().ok());
        }
        walk.call("without room", || context.state_data(&mut Vec::new()));
        moved(walk, context, |walk, context| {
            walk.call("moved", || context.state_data(&mut data));
        });
    });
}

/// Calls a function while llama.cpp has yet to move positions and to copy sequences.
fn moved(walk: &mut Walk, context: &mut Context, with: impl FnOnce(&mut Walk, &mut Context)) {
    if walk.is_poisoned() || !context.has_memory() {
        return;
    }
    let _ = context.memory().seq_add(SeqId::new(0), 1.., 1);
    let _ = context.memory().seq_cp(SeqId::new(0), SeqId::new(1), ..);
    with(walk, context);
    go_on(walk, context);
}

/// Returns the state of a context, empty for a poisoned one.
fn own_state(context: &mut Context) -> Vec<u8> {
    let mut own = Vec::new();
    let _ = context.state_data(&mut own);
    own
}

fn set_state_data(walk: &mut Walk, subjects: &mut Subjects) {
    let mut other = Vec::new();
    each_context(walk, subjects, |walk, context| {
        let own = own_state(context);
        walk.call("its own", || context.set_state_data(&own));
        walk.call("another's", || context.set_state_data(&other));
        for (what, data) in damaged(&own, 300, 5) {
            if walk.call(what, || context.set_state_data(&data)).is_some() {
                go_on(walk, context);
            }
        }
        moved(walk, context, |walk, context| {
            walk.call("moved", || context.set_state_data(&own));
        });
        if !own.is_empty() {
            other = own;
        }
    });
}

fn set_seq_state_data(walk: &mut Walk, subjects: &mut Subjects) {
    let mut others: [Vec<u8>; 3] = Default::default();
    each_context(walk, subjects, |walk, context| {
        let [mut all, mut partial] = [Vec::new(), Vec::new()];
        let _ = context.seq_state_data(SeqId::new(0), StatePart::All, &mut all);
        let _ = context.seq_state_data(SeqId::new(0), StatePart::Partial, &mut partial);
        let own = [all, partial, own_state(context)];
        for (part, id) in PARTS.into_iter().flat_map(|part| I32.map(|id| (part, SeqId::new(id)))) {
            for (kind, data) in own.iter().enumerate() {
                walk.call(format!("its own {kind} as {part:?} of {id}"), || {
                    context.set_seq_state_data(id, part, data)
                });
            }
        }
        go_on(walk, context);
        for (part, data) in PARTS.into_iter().zip(&own) {
            for (kind, data) in others.iter().enumerate() {
                walk.call(format!("another's {kind} as {part:?}"), || {
                    context.set_seq_state_data(SeqId::new(0), part, data)
                });
            }
            for (what, data) in damaged(data, 200, 5) {
                let set = || context.set_seq_state_data(SeqId::new(0), part, &data);
                if walk.call(format!("{part:?} {what}"), set).is_some() {
                    go_on(walk, context);
                }
            }
        }
        if !walk.is_poisoned() {
            others = own;
        }
    });
}
