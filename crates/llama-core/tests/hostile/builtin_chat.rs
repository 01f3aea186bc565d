//! Chat templates that are written in C++.

use llama_core::chat::{apply_builtin_template, builtin_templates};

use crate::Case;
use crate::subjects::Subjects;
use crate::values::{BOOLS, texts};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("builtin_templates", |walk, _| _ = walk.call("", builtin_templates)),
    ("apply_builtin_template", apply_builtin),
];

fn apply_builtin(walk: &mut Walk, _: &mut Subjects) {
    let mut templates = builtin_templates().unwrap();
    templates.extend(texts());
    templates.extend(["[INST]", "<|im_start|><|im_sep|>", "</s>", "<start_of_turn>"].map(str::to_owned));
    for template in &templates {
        for add in BOOLS {
            let name = format!("{template:.30}").escape_debug().to_string();
            walk.call(&name, || apply_builtin_template(template, &[], add));
            for text in texts() {
                let messages = [("system", text.as_str()), (text.as_str(), ""), ("user", text.as_str())];
                walk.call(&name, || apply_builtin_template(template, &messages, add));
            }
        }
    }
}
