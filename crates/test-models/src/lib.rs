//! The models for the tests of this workspace.
//!
//! [`Tiny`] are seeded random models of several architectures, a few hundred kilobytes each, written on first use.
//! Their text is nonsense, but always the same nonsense: weights depend only on the names of model and tensor, and
//! are computed with operations that IEEE 754 rounds exactly.
//!
//! [`Tuned`] are files for fine-tuning: adapters for the tiny `llama`, this model with the adapters merged, and a
//! control vector.
//!
//! [`TinyVocab`] are vocabularies of further kinds without weights.
//!
//! [`rewritten`] makes model files that differ from the tiny models in a few places. [`child`] runs test cases in processes
//! of their own, and [`resident_bytes`] tells how much memory a process takes.
//!
//! [`smollm2`] and [`minilm_dir`] find the real models that `cargo xtask setup` downloads.
//!
//! ```
//! let path = test_models::Tiny::Llama.path();
//! let gguf = llama_gguf::validate_file(path)?;
//! assert_eq!(gguf.metadata().get::<&str>("general.architecture")?, "llama");
//! # Ok::<(), llama_gguf::Error>(())
//! ```
#![forbid(unsafe_code)]

mod arch;
pub mod child;
mod folder;
mod lora;
mod model;
mod pre_tokenizers;
mod quantize;
mod real;
mod resident;
pub mod rewritten;
mod rng;
mod tiny;
mod tuned;
mod vocab;
mod vocab_only;

pub use pre_tokenizers::{bpe_vocabulary, pre_tokenizers};
pub use real::{minilm_dir, smollm2};
pub use resident::resident_bytes;
pub use tiny::{GENERATOR_VERSION, Tiny};
pub use tuned::Tuned;
pub use vocab_only::TinyVocab;
