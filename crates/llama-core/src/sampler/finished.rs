//! The check whether a chain's grammars allow further text.

use std::sync::Arc;

use super::chain::SamplerChain;
use super::kind::Sampler;
use crate::error::Result;
use crate::model::Model;
use crate::token::Token;

/// Number of tokens that a grammar is asked about at once: large enough to make the cost of a call negligible, small
/// enough to end early for a grammar that allows common tokens.
const CHUNK: i32 = 512;

impl SamplerChain {
    /// Returns whether a grammar of the chain is finished: the accepted text is complete, and only a token that ends
    /// the generation can follow. False without a grammar, and while a lazy grammar waits for its trigger.
    ///
    /// Equivalent to a [`grammar_state`](SamplerChain::grammar_state) of `Finished`, but does not go through all
    /// tokens. As long as the text is not complete, this takes one query of the grammar. When it is complete, the
    /// grammar is asked about the tokens of the vocabulary until it allows one; if it allows none, this takes as
    /// long as a [`sample`](SamplerChain::sample).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned), and the errors of containment.
    pub fn is_finished(&mut self) -> Result<bool> {
        self.check_poison()?;
        let samplers = Arc::clone(&self.samplers);
        for (index, sampler) in (0..).zip(samplers.iter()) {
            if let Sampler::Grammar(grammar) = sampler
                && self.grammar_is_finished(index, &grammar.model)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn grammar_is_finished(&mut self, index: i32, model: &Model) -> Result<bool> {
        let vocab = model.vocab();
        let n_vocab = vocab.n_tokens_raw();
        let ends = |id: &i32| vocab.is_eog(Token::new(*id));
        // A grammar allows all tokens that end the generation or none (llama-grammar.cpp, llama_grammar_apply_impl).
        let known = [vocab.eos(), vocab.eot()].into_iter().flatten().map(Token::get).find(ends);
        let Some(end) = known.or_else(|| (0..n_vocab).find(ends)) else { return Ok(false) };
        let mut data = vec![candidate(end)];
        if !self.allows_any(index, &mut data)? {
            return Ok(false);
        }
        for first in (0..n_vocab).step_by(CHUNK.unsigned_abs() as usize) {
            data.clear();
            data.extend((first..n_vocab.min(first + CHUNK)).filter(|id| !ends(id)).map(candidate));
            if !data.is_empty() && self.allows_any(index, &mut data)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn allows_any(&mut self, index: i32, data: &mut [llama_sys::llama_token_data]) -> Result<bool> {
        self.apply_one(index, data)?;
        Ok(data.iter().any(|candidate| candidate.logit > f32::NEG_INFINITY))
    }
}

fn candidate(id: i32) -> llama_sys::llama_token_data {
    llama_sys::llama_token_data { id, logit: 0.0, p: 0.0 }
}
