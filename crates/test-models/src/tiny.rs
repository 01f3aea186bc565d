//! The generated models.

use std::path::PathBuf;

use llama_gguf::Writer;

use crate::{arch, folder};

/// A part of the file names. Increase it with every change that alters a file, so that no old file is used.
pub const GENERATOR_VERSION: u32 = 1;

/// Declares the models, so that each has a name and a place in `ALL`.
macro_rules! tiny_models {
    ($($(#[$doc:meta])* $variant:ident, $name:literal, $write:expr;)*) => {
        /// A tiny model of random weights.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Tiny {
            $($(#[$doc])* $variant,)*
        }

        impl Tiny {
            /// All models.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the name, as in the file name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Collects metadata and tensors.
            fn writer(self) -> Writer<'static> {
                match self { $(Self::$variant => $write(),)* }
            }
        }
    };
}

tiny_models! {
    /// `llama` in F16: two layers, grouped-query attention, SPM vocabulary, ChatML template.
    Llama, "llama", arch::llama::f16;
    /// `llama` with its matrices in Q8_0, for the quantised kernels.
    LlamaQ8, "llama-q8_0", arch::llama::q8_0;
    /// `qwen2` in F16: biases on query, key and value; BPE vocabulary, ChatML template.
    Qwen2, "qwen2", arch::qwen2::f16;
    /// `qwen3moe` in F16: four experts of which two are used; BPE vocabulary, ChatML template.
    Qwen3Moe, "qwen3moe", arch::qwen3moe::f16;
    /// `gemma3` in F16: a sliding window of 16 tokens on two layers of three; SPM vocabulary.
    Gemma3, "gemma3", arch::gemma3::f16;
    /// `mamba` in F32: recurrent, no attention; BPE vocabulary.
    Mamba, "mamba", arch::mamba::f32;
    /// `jamba` in F16, hybrid: recurrent, attention, recurrent; SPM vocabulary.
    Jamba, "jamba", arch::jamba::f16;
    /// `bert` in F32: an encoder with mean pooling to 64 numbers; WPM vocabulary.
    Bert, "bert", arch::bert::embedder;
    /// `bert` in F32 with a classifier head and rank pooling: a reranker with one score.
    BertReranker, "bert-reranker", arch::bert::reranker;
    /// `t5` in F16: encoder and decoder; UGM vocabulary.
    T5, "t5", arch::t5::f16;
}

impl Tiny {
    /// Returns the path of the file, after writing it if it does not exist.
    ///
    /// Safe to call from several threads and processes at once: a second writer replaces the file by an equal one.
    ///
    /// # Panics
    /// If the file cannot be written.
    #[must_use]
    pub fn path(self) -> PathBuf {
        folder::written(self.name(), || self.writer())
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
}

impl std::fmt::Display for Tiny {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
