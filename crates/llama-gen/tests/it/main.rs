//! The tests of this crate in one program, one module for each topic: each program would link llama.cpp.
//!
//! The tests run as threads of one process. A test that needs a process of its own runs in a child: see
//! `test_models::child`.

mod beam_search;
mod cancel;
#[cfg(feature = "chat")]
mod chat;
mod completions;
mod figures;
mod generate;
mod infill;
mod long_text;
mod lora;
mod on_device;
mod outputs;
mod params;
mod requests;
mod results;
mod reuse;
#[cfg(feature = "rpc")]
mod rpc;
mod score;
mod seeds;
mod span;
mod stopping;
mod stream;
mod text_properties;
#[cfg(feature = "tokenizers")]
mod tokenizer;
#[cfg(feature = "tokenizers")]
mod tokenizer_damage;
