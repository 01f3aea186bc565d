//! The part of a chain's interface that contexts use.

use super::{SamplerChain, flawed, sampler_error};
use crate::error::{ErrorKind, Result};
use crate::sampler::candidates::{Candidates, Flaw};
use crate::sampler::sampled::Sampled;
use crate::token::Token;

impl SamplerChain {
    /// Returns how many leading samplers run on the device of the context that the chain is attached to; 0 for a
    /// chain that is not attached. See [`Context::set_sampler`](crate::Context::set_sampler).
    ///
    /// The device may lack a function for one of them. llama.cpp's [name](SamplerChain::names) of such a sampler
    /// starts with `-`, and the names of samplers that run on the device start with `+`.
    #[must_use]
    pub fn n_on_device(&self) -> usize {
        let planned = self.planned.and_then(|planned| i32::try_from(planned).ok()).unwrap_or(0);
        (0..planned).take_while(|index| !self.raw.name(*index).starts_with('-')).count()
    }

    /// Returns whether the chain is neither poisoned nor in need of a reset.
    pub(crate) fn is_usable(&self) -> bool {
        self.check_poison().is_ok()
    }

    /// Returns the C object, for functions of `llama.h` that this crate does not wrap. The pointer is valid as long as the
    /// chain lives, and until samplers are added, removed or replaced.
    ///
    /// Calling such a function is `unsafe`. The caller must ensure that
    ///
    /// - no other thread uses the chain meanwhile;
    /// - the chain is not freed and not given to another chain or to a context, and no sampler is added to it or removed from
    ///   it: this crate counts the samplers and frees them;
    /// - ids of tokens are in the vocabulary.
    ///
    /// A failed assertion ends the process, and so does an exception that a grammar throws for a token that it does not
    /// allow.
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

    /// Returns the highest token accepted since the last reset.
    pub(in crate::sampler) fn highest_token(&self) -> Option<Token> {
        (self.highest >= 0).then(|| Token::new(self.highest))
    }

    /// Continues from the result of the samplers on the device, and accepts the token.
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

    /// Returns the reusable memory for a row of candidates.
    pub(crate) fn candidates_mut(&mut self) -> &mut Candidates {
        &mut self.candidates
    }
}

/// Checks the result of the device's samplers, and fills `candidates` with the input of the CPU's samplers. Returns
/// the token that the device has selected, if any.
pub(crate) fn check_sampled(sampled: &Sampled<'_>, candidates: &mut Candidates) -> Result<Option<Token>> {
    if sampled.logits().iter().fold(false, |found, logit| found | logit.is_nan()) {
        return Err(flawed(Flaw::NotANumber));
    }
    let Some(token) = sampled.token() else {
        let flaw = candidates.fill_from(sampled.iter());
        return flaw.map_or(Ok(None), |flaw| Err(flawed(flaw)));
    };
    // When every candidate is masked or the arithmetic overflowed, the selection is meaningless.
    match sampled.iter().find(|candidate| candidate.token == token) {
        Some(selected) if selected.logit > f32::NEG_INFINITY && !selected.p.is_nan() => Ok(Some(token)),
        Some(selected) if selected.logit == f32::NEG_INFINITY => {
            Err(ErrorKind::DeadEnd { name: "chain", reason: "every candidate has been masked" }.into())
        }
        _ => {
            let reason = "the probabilities are NaN: the logits or the biases are too large";
            Err(sampler_error("chain", reason.to_owned()))
        }
    }
}
