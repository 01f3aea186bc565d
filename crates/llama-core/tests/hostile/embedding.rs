//! Embeddings and states in batches.

use llama_core::batch::MultiPos;
use llama_core::{Batch, Context, Pos, SeqId, Token};

use crate::Case;
use crate::subjects::{Subjects, each_context, fill, three};
use crate::values::{F32, I32};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("Batch::push_embedding", push_embedding),
    ("Batch::push_token_and_embedding", push_token_and_embedding),
    ("Batch::push_state", push_state),
    ("MultiPos::new", multi_pos),
];

const WIDTHS: [usize; 6] = [0, 1, 63, 64, 128, 100_000];
const FIRST: [SeqId; 1] = [SeqId::new(0)];

/// Decodes or encodes the batch, whichever is possible, after the tokens in memory or from the beginning.
fn compute(walk: &mut Walk, context: &mut Context, what: &str, batch: &Batch) {
    walk.call(format!("{what}, decoded"), || context.decode(batch));
    walk.call(format!("{what}, encoded"), || context.encode(batch));
    if walk.is_poisoned() {
        return;
    }
    let _ = (context.logits(0).map(|row| row.argmax()), context.embeddings(0).map(<[f32]>::len));
    if context.has_memory() {
        let _ = context.memory().clear(true);
    }
    walk.call(format!("{what}, decoded anew"), || context.decode(batch));
}

fn push_embedding(walk: &mut Walk, subjects: &mut Subjects) {
    let mut batch = Batch::new();
    for (width, value) in WIDTHS.into_iter().flat_map(|width| F32.map(|value| (width, value))) {
        for seq_ids in [&[][..], &FIRST, &I32.map(SeqId::new)] {
            walk.call(format!("{width} of {value} for {}", seq_ids.len()), || {
                batch.push_embedding(&vec![value; width], Pos::new(0), seq_ids, true)
            });
        }
    }
    each_context(walk, subjects, |walk, context| {
        let width = context.model().n_embd_inp() as usize;
        for (width, value) in [(width, 0.5), (width, f32::MAX), (width, 0.0), (width + 1, 1.0), (1, 1.0)] {
            let mut batch = Batch::new();
            for pos in 0..2 {
                batch.push_embedding(&vec![value; width], Pos::new(pos), &FIRST, true).unwrap();
            }
            compute(walk, context, &format!("two of {width} {value}"), &batch);
            batch.push(Token::new(5), Pos::new(2), &FIRST, true).unwrap();
            compute(walk, context, &format!("with a token, {width} {value}"), &batch);
        }
        for id in I32 {
            let mut batch = Batch::new();
            batch.push_embedding(&vec![0.5; width], Pos::new(id), &[SeqId::new(id)], true).unwrap();
            walk.call(format!("at {id}"), || context.decode(&batch));
        }
        if !walk.is_poisoned() {
            fill(context);
        }
    });
}

fn push_token_and_embedding(walk: &mut Walk, subjects: &mut Subjects) {
    let mut batch = Batch::new();
    for (id, width) in I32.into_iter().flat_map(|id| WIDTHS.map(|width| (id, width))) {
        walk.call(format!("{id} {width}"), || {
            batch.push_token_and_embedding(Token::new(id), &vec![0.5; width], Pos::new(id), &FIRST, true)
        });
    }
    each_context(walk, subjects, |walk, context| {
        let width = context.model().n_embd_inp() as usize;
        for (id, width) in [0, 5, i32::MAX].into_iter().flat_map(|id| [(id, width), (id, 2 * width)]) {
            let mut batch = Batch::new();
            let add = |batch: &mut Batch, pos| {
                batch.push_token_and_embedding(Token::new(id), &vec![0.5; width], Pos::new(pos), &FIRST, true)
            };
            add(&mut batch, 0).unwrap();
            add(&mut batch, 1).unwrap();
            compute(walk, context, &format!("two of {id} {width}"), &batch);
            batch.push(Token::new(5), Pos::new(2), &FIRST, true).unwrap();
            compute(walk, context, &format!("with a token, {id} {width}"), &batch);
        }
        if !walk.is_poisoned() {
            fill(context);
        }
    });
}

fn push_state(walk: &mut Walk, subjects: &mut Subjects) {
    for width in WIDTHS {
        let mut batch = three();
        for (index, value) in F32.into_iter().enumerate() {
            walk.call(format!("{width} of {value}, {index}"), || batch.push_state(&vec![value; width]));
        }
        walk.call("of an empty batch", || Batch::new().push_state(&vec![0.5; width]));
    }
    each_context(walk, subjects, |walk, context| {
        let width = context.model().n_embd_out() as usize;
        for (n, width) in (1..=3).flat_map(|n| [(n, width), (n, width + 1), (n, 1)]) {
            let mut batch = three();
            (0..n).for_each(|_| batch.push_state(&vec![0.5; width]).unwrap());
            compute(walk, context, &format!("{n} of {width}"), &batch);
        }
        if !walk.is_poisoned() {
            fill(context);
        }
    });
}

fn multi_pos(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        let width = context.model().n_embd_inp() as usize;
        for (one, other) in I32.into_iter().flat_map(|one| [(one, 0), (0, one), (one, one)]) {
            let [one, other] = [one, other].map(Pos::new);
            let mut batch = Batch::new();
            let place = MultiPos::new(one, other, other, other);
            batch.push_embedding(&vec![0.5; width], place, &FIRST, true).unwrap();
            walk.call(format!("{one} {other}"), || context.decode(&batch));
        }
        if !walk.is_poisoned() {
            fill(context);
        }
    });
}
