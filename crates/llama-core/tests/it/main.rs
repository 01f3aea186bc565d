//! The tests of this crate that can share a process, in one program, one module for each topic: each program links
//! llama.cpp.
//!
//! The tests run as threads of one process. A test that needs a process of its own runs in a child: see
//! `test_models::child`. Beside this folder is what needs more: an allocator that counts, a compiler, many hostile children
//! or a long run.
//!
//! `greedy`, `going_on`, `variant` and `log_hook` are shared by many topics: text that takes the likeliest token, contexts that
//! have read something, models of other architectures, a subscriber of the log.

mod abort;
mod adapter;
mod adapter_file;
mod adapter_leak;
mod bad_input;
mod builtin_chat;
mod callbacks;
mod changed_file;
#[cfg(feature = "common")]
mod chat_templates;
mod context_params;
mod control_vector;
mod decode;
mod decode_errors;
mod device_sampler;
mod embedded;
mod embedding_input;
mod exit;
#[cfg(unix)]
mod fork;
mod going_on;
mod greedy;
mod hyperparameters;
#[cfg(feature = "common")]
mod json_schema;
mod leak;
#[cfg(feature = "dynamic")]
mod library;
mod log_hook;
mod log_probability;
mod logged;
mod logits_processor;
mod long_texts;
mod memory;
mod model;
mod model_info;
mod model_params;
mod mtp;
#[cfg(feature = "cuda")]
mod no_driver;
mod numa;
mod observer;
mod on_device;
mod plan;
mod row_sampler;
#[cfg(feature = "rpc")]
mod rpc;
mod sampler;
mod sampler_config;
mod save;
mod seeds;
mod split;
mod state;
mod state_device;
mod state_file;
mod state_hostile;
mod system;
#[cfg(feature = "common")]
mod template_limits;
mod thread_end;
mod threadpool;
mod threads;
mod tokenize;
mod variant;
mod vocab_kinds;
