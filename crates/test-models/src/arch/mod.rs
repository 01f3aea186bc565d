//! The architectures, one file each.

pub(crate) mod bert;
pub(crate) mod gemma3;
pub(crate) mod jamba;
pub(crate) mod llama;
pub(crate) mod mamba;
pub(crate) mod qwen2;
pub(crate) mod qwen3moe;
pub(crate) mod t5;
