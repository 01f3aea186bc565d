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
//! [`Llama`] is a loaded model. [`Llama::generate`] takes a prompt or a [`Request`] and returns a [`GenerationBuilder`]:
//! [`stream`](GenerationBuilder::stream) runs the generation on the calling thread as an iterator of [`Event`]s,
//! [`complete`](GenerationBuilder::complete) returns the whole text, and
//! [`stream_async`](GenerationBuilder::stream_async) and [`complete_async`](GenerationBuilder::complete_async) do the same for
//! asynchronous code. Text comes in whole characters, stop strings are never shown in part, and the last event has the reason
//! for the end, numbers of tokens, times and memory.
//!
//! A prompt reuses the prefix that it shares with an earlier one. [`WhenFull`] is for texts that are longer than the context.
//!
//! [`GenerationParams`] has all samplers and all ways to stop, under the names of llama.cpp and OpenAI.
//! [`completions`](GenerationBuilder::completions) returns several answers to one prompt,
//! [`beam_search`](GenerationBuilder::beam_search) the likeliest texts, [`Llama::score`] the probability of a given text, and
//! [`Llama::infill`] fills the gap between two. With feature `chat`, `Llama::chat` holds conversations.
//!
//! Everything is built on [`llama_core`], whose types are available through [`Llama::model`].

mod cancel;
#[cfg(feature = "chat")]
pub mod chat;
mod completion;
mod detokenize;
mod drivers;
mod error;
mod event;
mod finish;
mod generation;
mod generation_builder;
mod infill;
mod interrupt;
mod lora;
mod memory;
mod meter;
mod model;
mod params;
mod prompt;
mod request;
mod sampler;
mod score;
mod sequence;
mod step;
mod stop;
mod text_state;
mod tokenizer;
mod when_full;

pub use cancel::CancelToken;
#[cfg(feature = "chat")]
pub use chat::{Chat, ChatEvent, ChatTemplate, Message, Reply, Tool};
pub use completion::Completion;
pub use detokenize::Detokenizer;
pub use drivers::{Beam, BeamParams, Completions, EventStream, Generator};
pub use error::{Error, ErrorKind, ParameterProblem, Result};
pub use event::{ChosenToken, Event, FinishReason, Progress, Shortened, Text, TokenProbability};
pub use finish::{Finish, MemoryReport, Timings, Usage};
pub use generation_builder::GenerationBuilder;
pub use infill::{Infill, InfillOrder};
#[cfg(feature = "dynamic")]
pub use llama_core::library;
pub use model::{Llama, LlamaBuilder};
pub use params::{
    BiasTarget, GenerationParams, GrammarParams, GrammarTriggers, LogitBias, Preset, ResolvedSampling,
    SamplerName, SamplingParams, UnknownPreset, UnknownSampler,
};
pub use prompt::Prompt;
pub use request::Request;
pub use score::Score;
pub use stop::{RepetitionGuard, SoFar, StopCriterion, StopMatcher};
#[cfg(feature = "tokenizers")]
pub use tokenizer::HfTokenizer;
pub use tokenizer::{Tokenizer, check_agreement};
pub use when_full::{CompactError, Compactor, Full, WhenFull};
