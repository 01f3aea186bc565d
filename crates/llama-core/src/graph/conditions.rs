//! What ggml's CPU backend needs of the tensors of each operation, and asserts or takes for granted while it computes them.
//!
//! An entry lists the sources that must be there, and conditions with the assertions of ggml's sources that cannot fail
//! where they hold. `cargo xtask codegen` compares these with the sources: see docs/graph-assertions.md.

mod arithmetic;
mod attention;
mod convolution;
mod copy;
mod hyper_connections;
mod matrix;
mod norm;
mod recurrent;
mod reduce;
mod rope;
mod rows;
mod training;
pub(super) mod types;
mod unary;

use llama_sys::ggml_op;

use super::tensor::Tensor;

/// What an operation needs.
pub(super) struct Operation {
    /// The sources that must be there, counted from the first.
    pub(super) sources: usize,
    pub(super) conditions: &'static [Condition],
}

/// One thing that an operation needs.
pub(super) struct Condition {
    /// A sentence for errors.
    pub(super) requires: &'static str,
    pub(super) holds: fn(Tensor<'_>) -> bool,
    /// Assertions of ggml-cpu, as `function: expression`; of a group of functions that differ in their ends the common
    /// beginning and `*`. Empty where ggml does not look: it would loop, divide by zero or read what is not there.
    #[allow(dead_code, reason = "read by `cargo xtask codegen`, in the source")]
    pub(super) covers: &'static [&'static str],
}

/// The entry of an operation, `None` where nothing is needed.
pub(super) fn of(op: ggml_op) -> Option<&'static Operation> {
    FAMILIES.iter().find_map(|of| of(op))
}

const FAMILIES: [fn(ggml_op) -> Option<&'static Operation>; 13] = [
    matrix::of,
    arithmetic::of,
    copy::of,
    rows::of,
    norm::of,
    rope::of,
    unary::of,
    attention::of,
    recurrent::of,
    reduce::of,
    hyper_connections::of,
    convolution::of,
    training::of,
];
