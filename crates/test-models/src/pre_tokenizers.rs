//! The pre-tokenizers of the pinned llama.cpp, and a vocabulary for each.

use llama_gguf::Writer;

use crate::folder::workspace_root;
use crate::vocab::Vocab;

/// The text before each name in the source.
const COMPARISON: &str = "tokenizer_pre == \"";

/// Returns every value of `tokenizer.ggml.pre` that the pinned llama.cpp knows, in alphabetical order, read from its
/// source.
///
/// # Panics
/// If the source is missing, with a sentence that says how to get it.
#[must_use]
pub fn pre_tokenizers() -> Vec<String> {
    let path = workspace_root().join("llama.cpp/upstream/src/llama-vocab.cpp");
    let source = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask setup`", path.display()));
    let name = |rest: &str| rest.split('"').next().unwrap_or_default().to_owned();
    let mut names: Vec<String> = source.split(COMPARISON).skip(1).map(name).collect();
    names.sort();
    names.dedup();
    names
}

/// Returns a GGUF file with a byte-pair vocabulary for that pre-tokenizer and no weights. It has every byte in both
/// spellings, merges of letters, digits, spaces, signs and across the borders between them, and user-defined tokens
/// `<user>`, `\n\n` and `\n\n\n`.
///
/// # Panics
/// Never, unless memory runs out.
#[must_use]
pub fn bpe_vocabulary(pre_tokenizer: &str) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.set("general.architecture", "llama").set("general.name", format!("tiny {pre_tokenizer}"));
    Vocab::bpe_with_merges(pre_tokenizer).write(&mut writer);
    let mut bytes = Vec::new();
    writer.write_to(&mut bytes).expect("writing to memory does not fail");
    bytes
}
