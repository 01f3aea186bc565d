//! Conditions that end a sequence: stop strings, repetitions, and a user's own criterion.

mod criterion;
mod repetition;
mod text;

pub use criterion::{SoFar, StopCriterion};
pub use repetition::RepetitionGuard;
pub use text::StopMatcher;

pub(crate) use criterion::Criterion;
pub(crate) use repetition::Repetition;
