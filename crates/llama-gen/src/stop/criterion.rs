//! A stop criterion of the user.

use core::fmt;

use llama_core::Token;

/// The sequence so far, which a [`StopCriterion`] checks after each token.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SoFar<'s> {
    /// The generated tokens.
    pub tokens: &'s [Token],
    /// The text of these tokens up to the last complete character, including text that may begin a stop string.
    pub text: &'s str,
}

/// Decides after each token whether the text ends there. Closures implement it.
///
/// ```
/// use llama_gen::{SoFar, StopCriterion};
///
/// let mut three_lines = |so_far: &SoFar<'_>| so_far.text.lines().count() >= 3;
/// fn takes(_: &mut impl StopCriterion) {}
/// takes(&mut three_lines);
/// ```
pub trait StopCriterion: Send {
    /// Returns whether the text ends after the last token.
    fn should_stop(&mut self, so_far: &SoFar<'_>) -> bool;
}

impl<F: FnMut(&SoFar<'_>) -> bool + Send> StopCriterion for F {
    fn should_stop(&mut self, so_far: &SoFar<'_>) -> bool {
        self(so_far)
    }
}

/// A criterion that can be cloned with the generation that it belongs to.
trait CloneCriterion: StopCriterion {
    fn clone_box(&self) -> Box<dyn CloneCriterion>;
}

impl<C: StopCriterion + Clone + 'static> CloneCriterion for C {
    fn clone_box(&self) -> Box<dyn CloneCriterion> {
        Box::new(self.clone())
    }
}

/// A user's criterion, as part of a generation that has not begun.
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
