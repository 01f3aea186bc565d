//! Vocabularies: tokens, their types, and the other data of a tokenizer.

mod bpe;
mod plamo;
mod rwkv;
mod spm;
mod ugm;
mod words;
mod wpm;

use llama_gguf::{Value, Writer};

/// The ChatML template, in the form of the `qwen2` family.
const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + \
    message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// The purpose of a token. The numbers are those of `enum llama_token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Byte = 6,
}

/// A vocabulary under construction; tokens are numbered in the order in which they are added.
pub(crate) struct Vocab {
    model: &'static str,
    tokens: Vec<String>,
    kinds: Vec<Kind>,
    printable: Vec<bool>,
    extra: Vec<(&'static str, Value)>,
}

impl Vocab {
    fn new(model: &'static str) -> Self {
        Self { model, tokens: Vec::new(), kinds: Vec::new(), printable: Vec::new(), extra: Vec::new() }
    }

    /// Returns the number of tokens.
    pub(crate) fn len(&self) -> u64 {
        self.tokens.len() as u64
    }

    /// Returns for each token whether a model may generate it in text.
    pub(crate) fn printable(&self) -> &[bool] {
        &self.printable
    }

    /// Adds a chat template that uses `<|im_start|>` and `<|im_end|>`.
    pub(crate) fn with_chat_template(mut self) -> Self {
        self.extra("tokenizer.chat_template", CHATML);
        self
    }

    pub(crate) fn write(&self, writer: &mut Writer<'_>) {
        writer
            .set("tokenizer.ggml.model", self.model)
            .set("tokenizer.ggml.tokens", self.tokens.clone())
            .set("tokenizer.ggml.token_type", self.kinds.iter().map(|&kind| kind as i32).collect::<Vec<_>>());
        for (key, value) in &self.extra {
            writer.set(*key, value.clone());
        }
    }

    /// Adds a token and returns its number.
    fn push(&mut self, token: impl Into<String>, kind: Kind) -> u32 {
        let number = u32::try_from(self.tokens.len()).expect("tiny vocabularies are small");
        self.tokens.push(token.into());
        self.kinds.push(kind);
        self.printable.push(kind == Kind::Normal);
        number
    }

    /// Adds a normal token unless one with this text exists: llama.cpp asserts that texts are unique.
    fn push_new(&mut self, token: impl Into<String>) {
        let token = token.into();
        if !self.tokens.contains(&token) {
            self.push(token, Kind::Normal);
        }
    }

    /// Keeps the last token out of generated text.
    fn hide_last(&mut self) {
        *self.printable.last_mut().expect("a token was added") = false;
    }

    fn extra(&mut self, key: &'static str, value: impl Into<Value>) {
        self.extra.push((key, value.into()));
    }

    /// Sets scores for tokenizers that prefer the token with the highest score: 0 for the first token, then falling.
    fn falling_scores(&mut self) {
        let numbers = 0..u16::try_from(self.tokens.len()).expect("tiny vocabularies are small");
        self.extra("tokenizer.ggml.scores", numbers.map(|n| -f32::from(n)).collect::<Vec<_>>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_unique() {
        let old = [Vocab::spm(), Vocab::bpe(), Vocab::wpm(), Vocab::ugm()];
        for vocab in old.into_iter().chain([Vocab::rwkv(), Vocab::plamo2(), Vocab::plamo3()]) {
            let mut tokens = vocab.tokens.clone();
            tokens.sort();
            tokens.dedup();
            assert_eq!(tokens.len(), vocab.tokens.len(), "{}", vocab.model);
            assert!(vocab.len() < 600, "{} has {} tokens", vocab.model, vocab.len());
        }
    }
}
