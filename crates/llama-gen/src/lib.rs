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
//! [`Llama`] is the front door. [`Llama::generate`] describes a generation, [`GenerationBuilder::stream`] runs it on the calling
//! thread as an iterator of [`Event`]s, and [`GenerationBuilder::complete`] collects them. [`GenerationBuilder::stream_async`] and
//! [`GenerationBuilder::complete_async`] do the same for asynchronous code. Text comes in whole characters; stop strings are
//! never shown in part; the last event says why the generation ended, with tokens, times and memory.
//!
//! What a prompt has in common with an earlier one is not computed again; [`WhenFull`] says what happens to texts that are
//! longer than the context.
//!
//! [`GenerationParams`] have all samplers and all ways to stop, under the names of llama.cpp and OpenAI.
//! [`GenerationBuilder::completions`] gives several answers to one prompt, [`GenerationBuilder::beam_search`] the likeliest texts,
//! [`Llama::score`] the probability of a given one, and [`Llama::infill`] what goes between two.
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
