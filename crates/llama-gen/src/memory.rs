//! Contexts and what is known of their memory: which tokens each sequence holds, and what can be reused of them.
//!
//! Only this module and `score.rs` name [`llama_core::Context`]; everything else goes through [`Board`].

mod board;
#[cfg(test)]
mod board_tests;
mod cells;
mod checkpoints;
mod executor;
#[cfg(test)]
mod fake;
mod idle;
mod lease;
#[cfg(feature = "chat")]
mod saved;

pub(crate) use board::{Board, DecodeFailure, SequenceIndex};
pub(crate) use cells::Gap;
pub(crate) use executor::Executor;
#[cfg(test)]
pub(crate) use executor::Limits;
#[cfg(test)]
pub(crate) use fake::{FakeExecutor, Fate};
pub(crate) use idle::{Idle, ONLY};
pub(crate) use lease::Lease;
