//! What a context needs of a chain that it runs.

use super::{SamplerChain, flawed, sampler_error};
use crate::error::{ErrorKind, Result};
use crate::sampled::Sampled;
use crate::sampler::candidates::{Candidates, Flaw};
use crate::token::Token;

impl SamplerChain {
    /// How many samplers, from the first one on, run on the device of the context that the chain is attached to; 0 for a
    /// chain of one's own. See [`Context::set_sampler`](crate::Context::set_sampler).
    ///
    /// The device may have no function for one of them: llama.cpp's [name](SamplerChain::names) of it begins with `-`,
    /// and that of those which run there with `+`.
    #[must_use]
    pub fn n_on_device(&self) -> usize {
        let planned = self.planned.and_then(|planned| i32::try_from(planned).ok()).unwrap_or(0);
        (0..planned).take_while(|index| !self.raw.name(*index).starts_with('-')).count()
    }

    /// Whether it is not of the kind that can only be reset, or not even that.
    pub(crate) fn is_usable(&self) -> bool {
        self.check_poison().is_ok()
    }

    /// Returns the C object, for functions of `llama.h` that this crate does not offer. The pointer is valid as long as the
    /// chain lives, and until samplers are added, removed or replaced.
    ///
    /// Calling such a function is `unsafe`, and its caller sees to it that
    ///
    /// - no other thread uses the chain meanwhile;
    /// - the chain is not freed, given to another chain or to a context, and no sampler is added to it or taken from it: this
    ///   crate counts the samplers, and frees them;
    /// - ids of tokens are in the vocabulary. A failed assertion, and an exception that a grammar throws for a token that it
    ///   does not allow, end the process.
    #[must_use]
    pub fn as_ptr(&self) -> *mut llama_sys::llama_sampler {
        self.raw.as_ptr()
    }

    pub(in crate::sampler) fn n_vocab(&self) -> Option<usize> {
        self.n_vocab
    }

    pub(in crate::sampler) fn has_perf(&self) -> bool {
        self.perf
    }

    /// The highest token that was accepted since the last reset.
    pub(in crate::sampler) fn highest_token(&self) -> Option<Token> {
        (self.highest >= 0).then(|| Token::new(self.highest))
    }

    /// Goes on from what the samplers on the device have left, and accepts the token.
    pub(crate) fn finish_sampled(
        &mut self,
        token: Option<Token>,
        candidates: &mut Candidates,
    ) -> Result<Token> {
        self.check_poison()?;
        let token = match token {
            Some(token) => token,
            None => self.run(candidates)?.token,
        };
        self.check_grammars(token)?;
        self.accept_checked(token)?;
        Ok(token)
    }

    /// The memory for a row of candidates; to be given back.
    pub(crate) fn candidates_mut(&mut self) -> &mut Candidates {
        &mut self.candidates
    }
}

/// Looks at what the device has sampled, and puts what the CPU's samplers go on with into `candidates`. The token that
/// the device has selected.
pub(crate) fn check_sampled(sampled: &Sampled<'_>, candidates: &mut Candidates) -> Result<Option<Token>> {
    if sampled.logits().iter().fold(false, |found, logit| found | logit.is_nan()) {
        return Err(flawed(Flaw::NotANumber));
    }
    let Some(token) = sampled.token() else {
        let flaw = candidates.fill_from(sampled.iter());
        return flaw.map_or(Ok(None), |flaw| Err(flawed(flaw)));
    };
    // What is selected when every candidate is masked, or the arithmetic overflows, has no meaning.
    match sampled.iter().find(|candidate| candidate.token == token) {
        Some(selected) if selected.logit > f32::NEG_INFINITY && !selected.p.is_nan() => Ok(Some(token)),
        Some(selected) if selected.logit == f32::NEG_INFINITY => {
            Err(ErrorKind::DeadEnd { name: "chain", reason: "every candidate has been masked" }.into())
        }
        _ => {
            let reason = "the probabilities are not numbers: the logits or the biases are too large";
            Err(sampler_error("chain", reason.to_owned()))
        }
    }
}
