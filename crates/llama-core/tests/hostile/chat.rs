//! Chat templates that are none, conversations of other forms, and schemas that say nothing.

use llama_core::{apply_builtin_chat_template, builtin_chat_templates};

use crate::Case;
use crate::subjects::Subjects;
use crate::values::{BOOLS, texts};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("builtin_chat_templates", |walk, _| _ = walk.call("", builtin_chat_templates)),
    ("apply_builtin_chat_template", apply_builtin),
];

fn apply_builtin(walk: &mut Walk, _: &mut Subjects) {
    let texts = texts();
    let mut names = builtin_chat_templates().unwrap();
    names.extend(texts.iter().cloned());
    for (number, name) in names.iter().enumerate() {
        for (text, open) in texts.iter().flat_map(|text| BOOLS.map(|open| (text, open))) {
            for messages in [vec![], vec![("user", text.as_str())], vec![(text.as_str(), ""), ("", "a")]] {
                let what = format!("{number}, {} messages of {} bytes {open}", messages.len(), text.len());
                walk.call(what, || apply_builtin_chat_template(name, &messages, open));
            }
        }
    }
    let many = vec![("assistant", "a"); 10_000];
    walk.call("many messages", || apply_builtin_chat_template("chatml", &many, true));
}
