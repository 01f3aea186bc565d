//! Results of the samplers that run on the device.

use crate::context::Context;
use crate::error::Result;
use crate::ffi::guard::guarded;
use crate::logits::no_output;
use crate::sampler::Candidate;
use crate::token::Token;

/// The device samplers' result for one token of the last batch. It borrows from the context, so it must be dropped
/// before the next batch is decoded.
#[derive(Clone, Copy, Debug)]
pub struct Sampled<'c> {
    token: Option<Token>,
    tokens: &'c [Token],
    logits: &'c [f32],
    probabilities: Option<&'c [f32]>,
}

impl<'c> Sampled<'c> {
    /// Returns the selected token, or `None` if the selecting sampler runs on the CPU.
    ///
    /// This is the device's unchecked result: it is meaningless if all candidates were masked or logits were NaN,
    /// which [`Context::sample`] checks.
    ///
    /// Corresponds to `llama_get_sampled_token_ith`.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        self.token
    }

    /// Returns the remaining candidates, in no particular order: the whole vocabulary if none was removed.
    ///
    /// Corresponds to `llama_get_sampled_candidates_ith` and `llama_get_sampled_candidates_count_ith`.
    #[must_use]
    pub fn tokens(&self) -> &'c [Token] {
        self.tokens
    }

    /// Returns the candidates' logits, in the order of [`tokens`](Self::tokens); negative infinity for masked ones.
    ///
    /// Corresponds to `llama_get_sampled_logits_ith` and `llama_get_sampled_logits_count_ith`.
    #[must_use]
    pub fn logits(&self) -> &'c [f32] {
        self.logits
    }

    /// Returns the candidates' probabilities, in the order of [`tokens`](Self::tokens), if the token was selected at
    /// random.
    ///
    /// Corresponds to `llama_get_sampled_probs_ith` and `llama_get_sampled_probs_count_ith`.
    #[must_use]
    pub fn probabilities(&self) -> Option<&'c [f32]> {
        self.probabilities
    }

    /// Returns the candidates with their logits, and their probabilities or 0.
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
    /// Returns the result of the device samplers for the token at `index` in the last batch: see
    /// [`set_sampler`](Context::set_sampler). [`Batch::last_output`] can be passed as `index`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoOutput`] if the token is not in the last batch or has no output, if its sequence had no
    /// sampler, and in a context that pools embeddings. [`ErrorKind::Poisoned`].
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
        // SAFETY: C has as many elements at each pointer as it says, in the context's output buffer; if it says 0
        // tokens, the pointer is to a list of the whole vocabulary (llama-context.cpp, get_sampled_*). They move or
        // change only in functions that take `&mut self`. `Token` is a transparent `i32`.
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
