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
mod backend_reg;
mod batch;
mod builtin_chat;
#[cfg(feature = "common")]
mod chat_templates;
mod context;
mod control_vector;
mod device;
mod embeddings;
mod error;
mod ffi;
mod graph;
mod host_memory;
#[cfg(feature = "common")]
mod json_schema;
mod log;
mod logits;
mod memory;
mod model;
mod numa;
mod observer;
mod perf;
mod plan;
mod sampled;
mod sampler;
mod state;
mod system;
mod threadpool;
mod token;
mod tokenize;
mod vocab;

pub use adapter::LoraAdapter;
pub use backend::{
    init, max_devices, max_tensor_overrides, supports_gpu_offload, supports_mlock, supports_mmap,
    supports_rpc, system_info, version,
};
pub use backend_reg::{BackendFeature, BackendReg, backend_regs};
pub use batch::Batch;
pub use context::{AttentionType, CacheType, Context, ContextParams, FlashAttention, PoolingType};
pub use control_vector::ControlVector;
pub use device::{Device, DeviceCapabilities, DeviceKind, DeviceMemory, devices};
#[cfg(feature = "common")]
pub use error::TemplateLimit;
pub use error::{DecodeError, Error, ErrorKind, ParameterProblem, Result};
pub use logits::{Logits, LogitsProcessor, LogitsProcessors, Softmax};
pub use memory::{Memory, PosRange};
pub use model::{
    KvValue, LazyMode, LoadMode, Model, ModelKind, ModelParams, ModelSource, RopeType, SamplingKey,
    SplitMode, TensorPlace, TensorView, split_path, split_prefix,
};
pub use perf::Perf;
pub use plan::{DevicePlan, LoadPlan, MemoryUse};
pub use sampled::Sampled;
pub use sampler::*;
pub use state::{DeviceState, Removed, StateError, StateInfo, StateKind, StatePart};
pub use system::{BackendReport, DeviceReport, SystemReport};
pub use token::{Pos, SeqId, Token, TokenAttributes};
pub use tokenize::{DetokenizeOptions, TokenizeOptions};
pub use vocab::{Vocab, VocabKind};

pub use abort::AbortFlag;
pub use batch::MultiPos;
pub use builtin_chat::{apply_builtin_chat_template, builtin_chat_templates};
#[cfg(feature = "common")]
pub use chat_templates::{ChatTemplates, ChatTurn, TemplateLimits};
pub use context::{AttachedSampler, ContextType, ResolvedParams, RopeScaling};
pub use embeddings::normalize_l2;
#[cfg(feature = "common")]
pub use json_schema::json_schema_to_grammar;
pub use llama_gguf::TensorType;
pub use numa::{NumaStrategy, init_numa, is_numa};
pub use observer::{Observer, TensorData, TensorInfo};
pub use threadpool::{ThreadPriority, Threadpool, ThreadpoolParams};
