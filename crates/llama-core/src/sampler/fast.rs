//! Sampling from rows of logits without an array of candidates.

mod exp;
mod history;
mod kernels;
mod list;
mod order;
mod ordered_sum;
mod plan;
mod random;
mod row;
mod row_sampler;
mod run;
mod selection;

pub use row_sampler::RowSampler;
