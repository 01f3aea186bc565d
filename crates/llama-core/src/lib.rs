//! Safe, typed access to llama.cpp.
//!
//! Each noun of `llama.h` is one type here, with the same name: [`Model`], [`Vocab`], [`Context`], [`Batch`],
//! [`Logits`], [`Memory`], [`SamplerChain`]. Each item names the C function to which it corresponds.
//!
//! ```
//! use llama_core::{Batch, Context, ContextParams, Model, ModelParams, Pos, SamplerChain, SeqId, TokenizeOptions};
//!
//! # fn main() -> Result<(), llama_core::Error> {
//! # let path = test_models::Tiny::Llama.path();
//! let model = Model::load(path, &ModelParams::default())?; // cheap to clone, Send + Sync
//! let tokens = model.vocab().tokenize("Hello", TokenizeOptions::default())?;
//! let mut context = Context::new(&model, &ContextParams::default().n_ctx(2048).n_seq_max(4))?;
//! let mut batch = Batch::new();
//! batch.push_prompt(&tokens, SeqId::new(0), Pos::new(0))?; // logits for the last token
//! context.decode(&batch)?;
//! let mut sampler = SamplerChain::builder().top_k(40).top_p(0.95).temperature(0.8).dist(42).build()?;
//! let token = sampler.sample(&context, batch.last_output())?; // samples and accepts, once
//! context.memory().seq_rm(SeqId::new(0), 5..)?;
//! # let _ = token;
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - **Owners are reference-counted, views borrow.** A context keeps its model alive; rows of logits borrow the
//!   context. No self-referential structs are needed.
//! - **Threads.** [`Model`] is `Send` and `Sync`; [`Context`] and [`SamplerChain`] are `Send`.
//! - **Safe code does not abort the process.** Input on which llama.cpp would assert is refused before the call. An
//!   assertion that fails nevertheless is contained and returned as [`ErrorKind::Internal`], and the context in
//!   which it happened is poisoned, also with `panic = "abort"`. The limit is a failure during a computation by
//!   several threads: the other threads cannot be stopped, and the process ends with a message that says so.
//! - **Callbacks may call this crate.** This applies to observers, log subscribers, progress callbacks and custom
//!   samplers. A call that would wait for the call that the callback is part of is refused with
//!   [`ErrorKind::InCallback`]. Abort callbacks may only drop objects.
//! - **A forked child does not hang.** A call that needs threads or devices of the parent is refused with
//!   [`ErrorKind::Forked`]. Computing with one thread, or in a thread that the child starts, works.
//! - **Initialisation is implicit**, and llama.cpp's log goes to [`tracing`], target `llama_cpp`.
//! - **States** of contexts are saved to memory and to files and restored from them: [`Context::save_state`].
//! - **Errors state the remedy** and contain the last lines that llama.cpp logged.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod abort;
mod adapter;
mod backend;
pub mod batch;
pub mod chat;
pub mod context;
mod control_vector;
pub mod device;
pub mod embeddings;
mod error;
mod ffi;
mod graph;
#[cfg(feature = "dynamic")]
pub mod library;
#[cfg(not(feature = "dynamic"))]
mod library;
mod log;
pub mod logits;
mod memory;
pub mod model;
pub mod observer;
mod perf;
pub mod plan;
#[cfg(feature = "rpc")]
pub mod rpc;
pub mod sampler;
pub mod state;
pub mod threadpool;
mod token;
mod tokenize;
pub mod vocab;

pub use llama_gguf::TensorType;

pub use abort::AbortFlag;
pub use adapter::LoraAdapter;
pub use backend::{init, system_info, version};
pub use batch::Batch;
pub use context::{Context, ContextParams};
pub use control_vector::ControlVector;
pub use device::Device;
pub use error::{DecodeError, Error, ErrorKind, ParameterProblem, Result};
pub use logits::Logits;
pub use memory::{Memory, PosRange};
pub use model::{Model, ModelParams};
pub use observer::Observer;
pub use perf::Perf;
pub use sampler::{Sampler, SamplerChain};
pub use threadpool::Threadpool;
pub use token::{Pos, SeqId, Token};
pub use tokenize::{DetokenizeOptions, TokenizeOptions};
pub use vocab::Vocab;
