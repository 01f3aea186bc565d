//! What the samplers of a batch's sequences have left on the device.

use crate::context::Context;
use crate::error::Result;
use crate::ffi::guard::guarded;
use crate::logits::no_output;
use crate::sampler::Candidate;
use crate::token::Token;

/// What the samplers on the device have made of the logits of one token of the last batch. A view into the context; the
/// next batch needs the context back first.
#[derive(Clone, Copy, Debug)]
pub struct Sampled<'c> {
    token: Option<Token>,
    tokens: &'c [Token],
    logits: &'c [f32],
    probabilities: Option<&'c [f32]>,
}

impl<'c> Sampled<'c> {
    /// The token that was selected; `None` when the sampler that selects is one of those that run on the CPU.
    ///
    /// As it came from the device: when all candidates were masked or logits were not numbers it has no meaning, which
    /// [`Context::sample`] looks at.
    ///
    /// Corresponds to `llama_get_sampled_token_ith`.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        self.token
    }

    /// The candidates that were left, in no special order: the whole vocabulary when none was removed.
    ///
    /// Corresponds to `llama_get_sampled_candidates_ith` and `llama_get_sampled_candidates_count_ith`.
    #[must_use]
    pub fn tokens(&self) -> &'c [Token] {
        self.tokens
    }

    /// Their logits, in the same order; negative infinity for those that were masked.
    ///
    /// Corresponds to `llama_get_sampled_logits_ith` and `llama_get_sampled_logits_count_ith`.
    #[must_use]
    pub fn logits(&self) -> &'c [f32] {
        self.logits
    }

    /// Their probabilities, in the same order, when the token was selected by chance.
    ///
    /// Corresponds to `llama_get_sampled_probs_ith` and `llama_get_sampled_probs_count_ith`.
    #[must_use]
    pub fn probabilities(&self) -> Option<&'c [f32]> {
        self.probabilities
    }

    /// The candidates with their logits, and their probabilities or 0.
    pub fn iter(&self) -> impl Iterator<Item = Candidate> + use<'c> {
        let probabilities = self.probabilities;
        self.tokens.iter().zip(self.logits).enumerate().map(move |(index, (token, logit))| Candidate {
            token: *token,
            logit: *logit,
            p: probabilities.and_then(|all| all.get(index)).copied().unwrap_or(0.0),
        })
    }
}

impl Context {
    /// What the sampler of its sequence has made of the logits of the token at `index` in the last batch, on the device:
    /// see [`set_sampler`](Context::set_sampler). [`Batch::last_output`] can be given as it is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoOutput`] when the token is not in the last batch or did not ask for results, when its sequence had
    /// no sampler then, and in a context that pools embeddings. [`ErrorKind::Poisoned`].
    ///
    /// Corresponds to `llama_get_sampled_token_ith`.
    ///
    /// [`Batch::last_output`]: crate::Batch::last_output
    /// [`ErrorKind::NoOutput`]: crate::ErrorKind::NoOutput
    /// [`ErrorKind::Poisoned`]: crate::ErrorKind::Poisoned
    pub fn sampled(&self, index: impl Into<Option<usize>>) -> Result<Sampled<'_>> {
        let index = self.check_output(index.into(), "sampled token")?;
        if self.sampled_seq(index).is_none() {
            let reason = "its sequence had no sampler: see Context::set_sampler";
            return Err(no_output(index, "sampled token", reason));
        }
        let raw = self.raw();
        // SAFETY: the context is valid and the index has an output (`check_output`).
        let read = self.read(|| unsafe { guarded!(llama_shim_get_sampled(raw, index)) })?;
        let n = read.n_logits as usize;
        if read.logits.is_null() || n == 0 {
            let reason = "the context computes no logits: it pools embeddings";
            return Err(no_output(index, "sampled token", reason));
        }
        // SAFETY: C has as many elements at each pointer as it says, in the context's output buffer, or at the tokens' a
        // list of the whole vocabulary when it says 0 (llama-context.cpp, get_sampled_*); they move or change only in
        // functions that take `&mut self`. `Token` is a transparent `i32`.
        unsafe {
            let tokens = core::slice::from_raw_parts(read.tokens.cast::<Token>(), n);
            let logits = core::slice::from_raw_parts(read.logits, n);
            let probabilities = (!read.probabilities.is_null() && read.n_probabilities as usize == n)
                .then(|| core::slice::from_raw_parts(read.probabilities, n));
            let is_selected = read.token != llama_sys::LLAMA_TOKEN_NULL;
            let token = is_selected.then(|| Token::new(read.token));
            Ok(Sampled { token, tokens, logits, probabilities })
        }
    }
}
