//! A user's own criterion.

use core::fmt;

use llama_core::Token;

/// What a [`StopCriterion`] looks at after each token.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SoFar<'s> {
    /// All tokens that were generated.
    pub tokens: &'s [Token],
    /// The text of these tokens, as far as its characters are complete. What may begin a stop string is part of it.
    pub text: &'s str,
}

/// Decides after each token whether the text ends there. Closures are such criteria.
///
/// ```
/// use llama_gen::{SoFar, StopCriterion};
///
/// let mut three_lines = |so_far: &SoFar<'_>| so_far.text.lines().count() >= 3;
/// fn takes(_: &mut impl StopCriterion) {}
/// takes(&mut three_lines);
/// ```
pub trait StopCriterion: Send {
    /// Whether the text ends after the last token.
    fn should_stop(&mut self, so_far: &SoFar<'_>) -> bool;
}

impl<F: FnMut(&SoFar<'_>) -> bool + Send> StopCriterion for F {
    fn should_stop(&mut self, so_far: &SoFar<'_>) -> bool {
        self(so_far)
    }
}

/// A criterion that can be copied, as descriptions of generations are.
trait CloneCriterion: StopCriterion {
    fn clone_box(&self) -> Box<dyn CloneCriterion>;
}

impl<C: StopCriterion + Clone + 'static> CloneCriterion for C {
    fn clone_box(&self) -> Box<dyn CloneCriterion> {
        Box::new(self.clone())
    }
}

/// A user's criterion in a description of a generation.
pub(crate) struct Criterion(Box<dyn CloneCriterion>);

impl Criterion {
    pub(crate) fn new(criterion: impl StopCriterion + Clone + 'static) -> Self {
        Self(Box::new(criterion))
    }

    pub(crate) fn should_stop(&mut self, so_far: &SoFar<'_>) -> bool {
        self.0.should_stop(so_far)
    }
}

impl Clone for Criterion {
    fn clone(&self) -> Self {
        Self(self.0.clone_box())
    }
}

impl fmt::Debug for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Criterion(..)")
    }
}
