//! Ids, which are checked where they are used.

use llama_core::vocab::TokenAttributes;
use llama_core::{Pos, SeqId, Token};

use crate::Case;
use crate::subjects::{Subjects, each_model};
use crate::values::I32;
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("Token::new", |walk, _| each(walk, |value| _ = Token::new(value))),
    ("Token::get", |walk, _| each(walk, |value| assert_eq!(Token::new(value).get(), value))),
    ("SeqId::new", |walk, _| each(walk, |value| _ = SeqId::new(value))),
    ("SeqId::get", |walk, _| each(walk, |value| assert_eq!(SeqId::new(value).get(), value))),
    ("Pos::new", |walk, _| each(walk, |value| _ = Pos::new(value))),
    ("Pos::get", |walk, _| each(walk, |value| assert_eq!(Pos::new(value).get(), value))),
    ("TokenAttributes::is_unknown", |walk, subjects| attributes(walk, subjects, TokenAttributes::is_unknown)),
    ("TokenAttributes::is_unused", |walk, subjects| attributes(walk, subjects, TokenAttributes::is_unused)),
    ("TokenAttributes::is_normal", |walk, subjects| attributes(walk, subjects, TokenAttributes::is_normal)),
    ("TokenAttributes::is_control", |walk, subjects| attributes(walk, subjects, TokenAttributes::is_control)),
    ("TokenAttributes::is_user_defined", |walk, subjects| {
        attributes(walk, subjects, TokenAttributes::is_user_defined);
    }),
    ("TokenAttributes::is_byte", |walk, subjects| attributes(walk, subjects, TokenAttributes::is_byte)),
];

fn each(walk: &mut Walk, run: impl Fn(i32)) {
    for value in I32 {
        walk.run(value, || run(value));
    }
}

fn attributes(walk: &mut Walk, subjects: &mut Subjects, run: impl Fn(TokenAttributes) -> bool) {
    each_model(walk, subjects, |walk, model| {
        for token in I32 {
            if let Some(attributes) = walk.call(token, || model.vocab().attributes(Token::new(token))) {
                walk.run(format!("{token} {attributes:?}"), || run(attributes));
            }
        }
    });
}
