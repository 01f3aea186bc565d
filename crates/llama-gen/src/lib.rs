//! Generate text with llama.cpp.
//!
//! ```
//! use llama_gen::Llama;
//!
//! # fn main() -> Result<(), llama_gen::Error> {
//! # let path = test_models::Tiny::Llama.path();
//! let llm = Llama::load(path)?;
//! for event in llm.generate("Once upon a time").max_tokens(8).temperature(0.7).seed(1).stream()? {
//!     print!("{}", event?.text());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Llama`] is the front door. [`Llama::generate`] describes a generation, [`Generate::stream`] runs it on the calling
//! thread as an iterator of [`Event`]s, and [`Generate::complete`] collects them. Text comes in whole characters; stop
//! strings are never shown in part; the last event says why the generation ended, with tokens and times.
//!
//! Everything is built on [`llama_core`], whose types are to be had through [`Llama::model`].

mod cancel;
#[cfg(feature = "chat")]
pub mod chat;
mod checkpoints;
mod clock;
mod detokenize;
mod error;
mod event;
mod finish;
mod generate;
mod generator;
mod interrupt;
mod model;
mod params;
mod prompt;
mod run;
mod sampler;
mod sequence;
mod slot;
mod slots;
mod stop;
mod stream;
mod tokenizer;
mod when_full;

pub use cancel::CancelToken;
pub use detokenize::Detokenizer;
pub use error::{Error, ErrorKind, Result};
pub use event::{ChosenToken, Event, FinishReason, Progress, Shortened, Text, TokenProbability};
pub use finish::{Finish, MemoryReport, Timings, Usage};
pub use generate::{Completion, Generate};
pub use generator::Generator;
pub use model::{Llama, LlamaBuilder};
pub use params::{
    BiasTarget, GenerationParams, GrammarParams, GrammarTriggers, LogitBias, Preset, ResolvedSampling,
    SamplerName, SamplingParams, UnknownPreset, UnknownSampler,
};
pub use prompt::Prompt;
pub use stop::{RepetitionGuard, SoFar, StopCriterion, StopMatcher};
pub use stream::EventStream;
#[cfg(feature = "tokenizers")]
pub use tokenizer::HfTokenizer;
pub use tokenizer::{Tokenizer, check_agreement};
pub use when_full::{CompactError, Compactor, Full, WhenFull};
