//! Batches.

use llama_core::{Batch, Pos, SeqId, Token};

use crate::Case;
use crate::subjects::{Subjects, three};
use crate::values::{BOOLS, I32, USIZE};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("Batch::new", |walk, _| _ = walk.run("", Batch::new)),
    ("Batch::with_capacity", with_capacity),
    ("Batch::len", |walk, _| each_batch(walk, |batch| _ = batch.len())),
    ("Batch::is_empty", |walk, _| each_batch(walk, |batch| _ = batch.is_empty())),
    ("Batch::clear", |walk, _| each_batch(walk, |batch| (0..3).for_each(|_| batch.clear()))),
    ("Batch::push", push),
    ("Batch::push_prompt", push_prompt),
    ("Batch::set_output", set_output),
    ("Batch::last_output", |walk, _| each_batch(walk, |batch| _ = batch.last_output())),
    ("Batch::tokens", |walk, _| each_batch(walk, |batch| _ = batch.tokens().map(Token::get).max())),
];

fn each_batch(walk: &mut Walk, mut with: impl FnMut(&mut Batch)) {
    for (name, mut batch) in batches() {
        walk.run(name, || with(&mut batch));
    }
}

/// Returns batches, most of which no context accepts.
pub(crate) fn batches() -> Vec<(String, Batch)> {
    let mut cleared = three();
    cleared.clear();
    let mut batches = vec![
        ("empty".to_owned(), Batch::new()),
        ("cleared".to_owned(), cleared),
        ("of three".to_owned(), three()),
        ("following".to_owned(), run(3, 3, &[0])),
        ("of nine".to_owned(), run(0, 9, &[0])),
        ("of 300".to_owned(), run(0, 300, &[0])),
        ("of 5000".to_owned(), run(0, 5000, &[0])),
        ("of two sequences".to_owned(), run(0, 3, &[0, 1])),
        ("of another sequence".to_owned(), run(0, 3, &[3])),
        ("of a sequence twice".to_owned(), run(3, 3, &[0, 0])),
        ("of far positions".to_owned(), run(i32::MAX - 3, 3, &[0])),
        ("of all sequences".to_owned(), run(0, 1, &(0..1000).collect::<Vec<_>>())),
    ];
    for value in I32 {
        batches.push((format!("of token {value}"), one(value, 3, &[0])));
        batches.push((format!("of position {value}"), one(5, value, &[0])));
        batches.push((format!("of sequence {value}"), one(5, 3, &[value])));
        batches.push((format!("of sequences 0 and {value}"), one(5, 3, &[0, value])));
    }
    for positions in [[3, 5], [4, 3], [3, 3], [0, i32::MAX - 1]] {
        let mut batch = one(5, positions[0], &[0]);
        batch.push(Token::new(5), Pos::new(positions[1]), &[SeqId::new(0)], false).unwrap();
        batches.push((format!("of positions {positions:?}"), batch));
    }
    let mut silent = three();
    (0..3).for_each(|index| silent.set_output(index, false).unwrap());
    batches.push(("without outputs".to_owned(), silent));
    batches
}

fn ids(ids: &[i32]) -> Vec<SeqId> {
    ids.iter().copied().map(SeqId::new).collect()
}

fn one(token: i32, pos: i32, seq_ids: &[i32]) -> Batch {
    let mut batch = Batch::new();
    batch.push(Token::new(token), Pos::new(pos), &ids(seq_ids), true).unwrap();
    batch
}

fn run(first: i32, n: i32, seq_ids: &[i32]) -> Batch {
    let mut batch = Batch::new();
    for pos in first..first + n {
        batch.push(Token::new(5), Pos::new(pos), &ids(seq_ids), true).unwrap();
    }
    batch
}

fn with_capacity(walk: &mut Walk, _: &mut Subjects) {
    for value in USIZE.into_iter().chain([1 << 40, 1 << 60]) {
        walk.run(value, || Batch::with_capacity(value));
    }
}

fn push(walk: &mut Walk, _: &mut Subjects) {
    let mut batch = Batch::new();
    for value in I32 {
        for seq_ids in [vec![], vec![value], vec![value; 3], (0..300).collect()] {
            for output in BOOLS {
                walk.call(format!("{value} {} {output}", seq_ids.len()), || {
                    batch.push(Token::new(value), Pos::new(value), &ids(&seq_ids), output)
                });
            }
        }
    }
}

fn push_prompt(walk: &mut Walk, _: &mut Subjects) {
    for first in I32 {
        for n in [0, 1, 2, 1000] {
            let tokens = vec![Token::new(first); n];
            let mut batch = Batch::new();
            walk.call(format!("{n} from {first}"), || {
                batch.push_prompt(&tokens, SeqId::new(first), Pos::new(first))
            });
        }
    }
}

fn set_output(walk: &mut Walk, _: &mut Subjects) {
    for (name, mut batch) in batches() {
        for index in USIZE {
            for output in BOOLS {
                walk.call(format!("{name} {index} {output}"), || batch.set_output(index, output));
            }
        }
    }
}
