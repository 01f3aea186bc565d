//! Files with a vocabulary and no weights, for kinds of tokenizers that no generated model has.

use std::path::PathBuf;

use llama_gguf::Writer;

use crate::folder::written;
use crate::vocab::Vocab;

/// A vocabulary without a model, to be loaded with `vocab_only`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TinyVocab {
    /// RWKV's greedy tokenizer over bytes.
    Rwkv,
    /// PLaMo 2's tokenizer, with bytes as the last resort.
    Plamo2,
    /// PLaMo 3's tokenizer, which cuts the text first.
    Plamo3,
    /// No tokenizer, but a number of tokens: 32.
    None,
    /// No tokenizer, by its other name, and no number of tokens.
    Nothing,
}

impl TinyVocab {
    /// All vocabularies.
    pub const ALL: &'static [Self] = &[Self::Rwkv, Self::Plamo2, Self::Plamo3, Self::None, Self::Nothing];

    /// Returns the name, as in the file name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rwkv => "vocab-rwkv",
            Self::Plamo2 => "vocab-plamo2",
            Self::Plamo3 => "vocab-plamo3",
            Self::None => "vocab-none",
            Self::Nothing => "vocab-nothing",
        }
    }

    /// Returns the path of the file, after writing it if it does not exist. See [`Tiny::path`](crate::Tiny::path).
    ///
    /// # Panics
    /// If the file cannot be written.
    #[must_use]
    pub fn path(self) -> PathBuf {
        written(self.name(), || self.writer())
    }

    /// Returns the bytes of the file without writing it.
    ///
    /// # Panics
    /// Never, unless memory runs out.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.writer().write_to(&mut bytes).expect("writing to memory does not fail");
        bytes
    }

    fn writer(self) -> Writer<'static> {
        let mut writer = Writer::new();
        writer.set("general.architecture", "llama").set("general.name", format!("tiny {}", self.name()));
        match self {
            Self::Rwkv => Vocab::rwkv().write(&mut writer),
            Self::Plamo2 => Vocab::plamo2().write(&mut writer),
            Self::Plamo3 => Vocab::plamo3().write(&mut writer),
            Self::None => {
                writer.set("tokenizer.ggml.model", "no_vocab").set("llama.vocab_size", 32u32);
            }
            Self::Nothing => {
                writer.set("tokenizer.ggml.model", "none");
            }
        }
        writer
    }
}

impl std::fmt::Display for TinyVocab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
