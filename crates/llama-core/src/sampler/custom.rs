//! Samplers written in Rust.

mod callbacks;
mod view;

use core::fmt;
use std::sync::Arc;

pub(super) use callbacks::{Trouble, add, set_n_vocab, take_trouble};
use parking_lot::ReentrantMutex;
pub use view::CandidatesMut;

use crate::token::Token;

/// A user-defined sampler for a chain: [`SamplerChainBuilder::custom`](crate::sampler::SamplerChainBuilder::custom).
///
/// The chain works on a clone of the given sampler, and a clone of the chain on another clone, so [`Clone`] must
/// copy the state. Share state that should be visible from outside through an `Arc`.
///
/// A panic ends the call into llama.cpp in an orderly way and is resumed in the method of the chain that made the
/// call; until then the sampler is not called again. The chain remains usable. A panic while the sampler is dropped
/// is written to the log instead.
///
/// ```
/// use llama_core::sampler::{CandidatesMut, CustomSampler};
/// use llama_core::{SamplerChain, Token};
///
/// /// No token twice.
/// #[derive(Clone, Default)]
/// struct Once(Vec<Token>);
///
/// impl CustomSampler for Once {
///     fn name(&self) -> &str {
///         "once"
///     }
///
///     fn apply(&mut self, candidates: &mut CandidatesMut<'_>) {
///         candidates.retain(|candidate| !self.0.contains(&candidate.token));
///     }
///
///     fn accept(&mut self, token: Token) {
///         self.0.push(token);
///     }
///
///     fn reset(&mut self) {
///         self.0.clear();
///     }
/// }
///
/// # fn main() -> Result<(), llama_core::Error> {
/// let mut chain = SamplerChain::builder().custom(Once::default()).greedy().build()?;
/// let row = [0.0, 3.0, 2.0];
/// let tokens = [chain.sample_logits(&row)?, chain.sample_logits(&row)?, chain.sample_logits(&row)?];
/// assert_eq!(tokens, [1, 2, 0].map(Token::new));
/// assert_eq!(chain.names(), ["once", "greedy"]);
/// # Ok(())
/// # }
/// ```
///
/// Corresponds to `llama_sampler_i` and `llama_sampler_init`.
pub trait CustomSampler: Clone + Send + 'static {
    /// Returns the name for [`SamplerChain::names`](crate::SamplerChain::names). Called once per chain.
    fn name(&self) -> &str;

    /// Changes, removes or selects candidates. There is at least one candidate.
    fn apply(&mut self, candidates: &mut CandidatesMut<'_>);

    /// Records a token that the sequence continues with. Default: does nothing.
    fn accept(&mut self, token: Token) {
        let _ = token;
    }

    /// Restores the initial state. Default: does nothing.
    fn reset(&mut self) {}

    /// Returns whether the sampler selects a token with [`CandidatesMut::select`] and must therefore be the last of
    /// its chain. The answer must never change. Default: false.
    fn is_selecting(&self) -> bool {
        false
    }
}

/// A type-erased [`CustomSampler`], used as a value among [`Sampler`](crate::Sampler)s. Clones share the same value;
/// creating a chain copies the sampler from it.
///
/// Several threads may use a value, one at a time. The sampler's `clone`, `name` and `is_selecting` may use the
/// value on which they are called: format it, compare it, or create a chain from it.
#[derive(Clone)]
pub struct Custom(Arc<ReentrantMutex<Box<dyn Object>>>);

impl Custom {
    /// Wraps a sampler.
    #[must_use]
    pub fn new(sampler: impl CustomSampler) -> Self {
        Self(Arc::new(ReentrantMutex::new(Box::new(sampler))))
    }

    pub(super) fn is_selecting(&self) -> bool {
        self.0.lock().is_selecting()
    }

    /// Returns a copy to work on, and its name.
    fn instance(&self) -> (Box<dyn Object>, String) {
        let object = self.0.lock();
        (object.boxed(), object.name().to_owned())
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Custom").field(&self.0.lock().name()).finish()
    }
}

impl PartialEq for Custom {
    /// Returns whether both are clones of one value.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The object-safe part of `CustomSampler`.
trait Object: Send {
    fn name(&self) -> &str;
    fn apply(&mut self, candidates: &mut CandidatesMut<'_>);
    fn accept(&mut self, token: Token);
    fn reset(&mut self);
    fn is_selecting(&self) -> bool;
    fn boxed(&self) -> Box<dyn Object>;
}

impl<S: CustomSampler> Object for S {
    fn name(&self) -> &str {
        CustomSampler::name(self)
    }

    fn apply(&mut self, candidates: &mut CandidatesMut<'_>) {
        CustomSampler::apply(self, candidates);
    }

    fn accept(&mut self, token: Token) {
        CustomSampler::accept(self, token);
    }

    fn reset(&mut self) {
        CustomSampler::reset(self);
    }

    fn is_selecting(&self) -> bool {
        CustomSampler::is_selecting(self)
    }

    fn boxed(&self) -> Box<dyn Object> {
        Box::new(self.clone())
    }
}
