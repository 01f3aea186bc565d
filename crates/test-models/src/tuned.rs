//! The generated files for fine-tuning.

use std::path::PathBuf;

use llama_gguf::Writer;

use crate::{arch, folder, lora};

/// Adapters for the tiny `llama`, and files to compare them with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tuned {
    /// The `llama` model in F32, for close comparisons with the merged models. Its weights differ from
    /// [`Tiny::Llama`](crate::Tiny::Llama).
    Base,
    /// A LoRA of rank 4 and alpha 8 on `attn_q` and `ffn_down`, in F32.
    Lora,
    /// Another LoRA: rank 2, no alpha, on `attn_q` and `attn_v`.
    SecondLora,
    /// [`Lora`](Self::Lora) as an activated LoRA, with the invocation tokens 1, 260 and 261.
    ActivatedLora,
    /// [`Lora`](Self::Lora), declared for `qwen2`.
    WrongArchitecture,
    /// [`Base`](Self::Base) with [`Lora`](Self::Lora) merged at scale 1.
    Merged,
    /// [`Base`](Self::Base) with [`Lora`](Self::Lora) at scale 1 and [`SecondLora`](Self::SecondLora) at scale 0.5.
    MergedBoth,
    /// A control vector: `direction.1` in F32.
    ControlVector,
}

impl Tuned {
    /// All files.
    pub const ALL: &'static [Self] = &[
        Self::Base,
        Self::Lora,
        Self::SecondLora,
        Self::ActivatedLora,
        Self::WrongArchitecture,
        Self::Merged,
        Self::MergedBoth,
        Self::ControlVector,
    ];

    /// Returns the name, as in the file name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "llama-f32",
            Self::Lora => "lora",
            Self::SecondLora => "lora-second",
            Self::ActivatedLora => "alora",
            Self::WrongArchitecture => "lora-qwen2",
            Self::Merged => "llama-f32-merged",
            Self::MergedBoth => "llama-f32-merged-both",
            Self::ControlVector => "control-vector",
        }
    }

    fn writer(self) -> Writer<'static> {
        match self {
            Self::Base => arch::llama::merged(&[]),
            Self::Lora => lora::FIRST.writer(),
            Self::SecondLora => lora::SECOND.writer(),
            Self::ActivatedLora => lora::ACTIVATED.writer(),
            Self::WrongArchitecture => lora::OF_QWEN2.writer(),
            Self::Merged => arch::llama::merged(&[(lora::FIRST, 1.0)]),
            Self::MergedBoth => arch::llama::merged(&[(lora::FIRST, 1.0), (lora::SECOND, 0.5)]),
            Self::ControlVector => lora::control_vector(),
        }
    }

    /// Returns the path of the file, after writing it if it does not exist; see [`Tiny::path`](crate::Tiny::path).
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

impl std::fmt::Display for Tuned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
