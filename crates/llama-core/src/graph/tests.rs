//! Tests of the table against ggml's CPU backend, and of the way from a graph to an error.

#[cfg(all(panic = "unwind", not(any(feature = "dynamic-backends", feature = "dynamic"))))]
mod arena;
pub(super) mod cost;
mod models;
#[cfg(all(panic = "unwind", not(any(feature = "dynamic-backends", feature = "dynamic"))))]
mod operations;
mod refused;

use core::cell::Cell;

use super::tensor::Tensor;

thread_local! {
    /// Name of a tensor that this thread refuses.
    static PRETENDED: Cell<Option<&'static str>> = const { Cell::new(None) };
}

pub(super) fn is_pretended(node: Tensor<'_>) -> bool {
    PRETENDED.get().is_some_and(|name| node.is_named(name.as_bytes()))
}
