//! Sampling from rows of logits without an array of candidates.
//!
//! A [`RowSampler`] is a plan (`plan`) of llama.cpp's samplers. While no candidate has been removed, samplers work
//! on the row itself (`row`), in passes over all logits (`kernels`, `exp`, `ordered_sum`). Afterwards they work on
//! an array of the remaining candidates (`list`), exactly as llama.cpp does (`order`, `random`). A sampler that
//! cannot guarantee llama.cpp's result by the fast path, for example with equal logits, builds the array of the
//! whole row and takes the slow path.

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
