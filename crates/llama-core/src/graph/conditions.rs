//! Conditions that ggml's CPU backend requires of the tensors of each operation, and either asserts or takes for
//! granted while it computes them.
//!
//! An entry lists the required sources, and conditions with the assertions in ggml's sources that cannot fail when
//! the conditions hold. `cargo xtask codegen` compares these with the sources: see docs/graph-assertions.md.

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

/// The requirements of an operation.
pub(super) struct Operation {
    /// Number of required sources.
    pub(super) sources: usize,
    pub(super) conditions: &'static [Condition],
}

/// A requirement of an operation.
pub(super) struct Condition {
    /// Description for errors.
    pub(super) requires: &'static str,
    pub(super) holds: fn(Tensor<'_>) -> bool,
    /// Covered assertions of ggml-cpu, as `function: expression`; for functions that differ only in their suffix,
    /// the common prefix and `*`. Empty if ggml does not check the condition and would loop, divide by zero or read
    /// out of bounds.
    #[allow(dead_code, reason = "read by `cargo xtask codegen`, in the source")]
    pub(super) covers: &'static [&'static str],
}

/// Returns the entry of an operation, or `None` if it has no requirements.
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
