//! Samplers that are written in Rust.

mod callbacks;
mod view;

use core::fmt;
use std::sync::Arc;

pub(super) use callbacks::{Trouble, add, set_n_vocab, take_trouble};
use parking_lot::ReentrantMutex;
pub use view::CandidatesMut;

use crate::token::Token;

/// A sampler of one's own, for a chain: [`SamplerChainBuilder::custom`](crate::SamplerChainBuilder::custom).
///
/// The chain works on a copy of what it was given, and copies of the chain on copies of that, so that [`Clone`] has to
/// copy the state. What is to be seen from outside is shared by an `Arc`.
///
/// A panic ends the call into llama.cpp in an orderly way and goes on in the function of the chain that made the call;
/// the sampler does nothing more until then. The chain can be used again. Only a panic while the sampler is dropped goes
/// to the log instead.
///
/// ```
/// use llama_core::{CandidatesMut, CustomSampler, SamplerChain, Token};
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
    /// What [`SamplerChain::names`](crate::SamplerChain::names) calls it. Asked once for each chain.
    fn name(&self) -> &str;

    /// Changes, removes or selects candidates. There is at least one.
    fn apply(&mut self, candidates: &mut CandidatesMut<'_>);

    /// Takes note of a token that the sequence goes on with. Default: nothing.
    fn accept(&mut self, token: Token) {
        let _ = token;
    }

    /// Goes back to the state that it began with. Default: nothing.
    fn reset(&mut self) {}

    /// Whether it selects a token, with [`CandidatesMut::select`], and so has to be the last of its chain. Always the
    /// same. Default: false.
    fn is_selecting(&self) -> bool {
        false
    }
}

/// A [`CustomSampler`] of any type, as a value among [`Sampler`](crate::Sampler)s. Clones are the same value: what chains
/// work on is copied from it when they are made.
///
/// A value may be used by several threads, one at a time. The sampler's `clone`, `name` and `is_selecting` may use the value
/// that they are called for: format or compare it, or make a chain of another one.
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

    /// A copy to work on, and its name.
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
    /// Whether the two are clones of one value.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// `CustomSampler`, without what cannot be called through a pointer.
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
