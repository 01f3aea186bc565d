//! Sampling from rows of logits without an array of candidates.
//!
//! A [`RowSampler`] is a plan (`plan`) of llama.cpp's samplers. Each of them works on the row as it is, as long as
//! nothing has been removed from it (`row`), by passes over all logits (`kernels`, `exp`, `ordered_sum`), and on an
//! array of what is left afterwards (`list`), exactly as llama.cpp does (`order`, `random`). A sampler that finds out
//! that its short way would not give llama.cpp's result for certain, as for candidates with equal logits, makes the
//! array of the whole row and goes the long way.

mod choice;
pub(crate) mod exp;
mod history;
mod kernels;
mod list;
mod order;
mod ordered_sum;
mod plan;
mod pool;
mod random;
mod row;
mod row_sampler;
mod run;
mod selection;

pub use choice::Choice;
pub use pool::RowSamplerPool;
pub use row_sampler::RowSampler;
