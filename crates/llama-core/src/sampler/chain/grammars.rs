//! The grammars of a chain: what they allow, their state, and the cost of waiting for a pattern.

use std::sync::Arc;

use super::{SamplerChain, sampler_error};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;
use crate::sampler::kind::Sampler;
use crate::sampler::large_stack;
use crate::token::Token;

/// The combined state of all grammars of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum GrammarState {
    /// A lazy grammar waits for its trigger; nothing is masked.
    Waiting,
    /// The text is incomplete and must not end here.
    Incomplete,
    /// The text is complete: it may end here or continue.
    Complete,
    /// The text is complete and must end here.
    Finished,
}

/// State of a lazy grammar that waits for a pattern: `std::regex` searches the whole text so far, recursively.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// Bytes of stack per byte of text.
    per_byte: usize,
    /// Bytes of text accepted so far.
    bytes: usize,
}

impl SamplerChain {
    /// Returns the state of the chain's grammars, or `None` without grammars. With several grammars, a token is
    /// allowed if all of them allow it.
    ///
    /// A finished grammar is not an error: the text ends there. [`ErrorKind::DeadEnd`] is returned when a token is
    /// to be selected but no candidate fits.
    ///
    /// This goes through the vocabulary, as a grammar does when a token is selected. If the vocabulary has no token
    /// that ends the generation, a grammar that allows no token is [`Finished`](GrammarState::Finished).
    ///
    /// ```
    /// # use llama_core::sampler::GrammarState;
    /// # use llama_core::{Model, ModelParams, SamplerChain, TokenizeOptions};
    /// # fn main() -> Result<(), llama_core::Error> {
    /// # let model = Model::load(test_models::Tiny::Llama.path(), &ModelParams::default())?;
    /// let mut chain = SamplerChain::builder().grammar(&model, "root ::= [0-9]", "root").greedy().build()?;
    /// assert_eq!(chain.grammar_state()?, Some(GrammarState::Incomplete));
    /// chain.sample_logits(&vec![0.0; model.vocab().n_tokens()])?;
    /// assert_eq!(chain.grammar_state()?, Some(GrammarState::Finished));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`], and the errors of containment.
    pub fn grammar_state(&mut self) -> Result<Option<GrammarState>> {
        self.check_poison()?;
        let Some((_, model)) = self.grammars().next() else {
            return Ok(None);
        };
        let model = model.clone();
        let indices: Vec<i32> = self.grammars().map(|(index, _)| index).collect();
        let mut data = all_tokens(&model);
        for index in indices {
            self.apply_one(index, &mut data)?;
        }
        let vocab = model.vocab();
        let has_end = data.iter().any(|data| vocab.is_eog(Token::new(data.id)));
        let mut allowed = data.iter().filter(|data| data.logit == 0.0).map(|data| Token::new(data.id));
        let (mut end, mut more, mut n_allowed) = (!has_end, false, 0);
        for token in &mut allowed {
            n_allowed += 1;
            if vocab.is_eog(token) {
                end = true;
            } else {
                more = true;
            }
        }
        Ok(Some(match (end, more) {
            _ if n_allowed == data.len() => GrammarState::Waiting,
            (true, false) => GrammarState::Finished,
            (true, true) if has_end => GrammarState::Complete,
            _ => GrammarState::Incomplete,
        }))
    }

    /// Returns the error for candidates that have all been masked.
    pub(super) fn dead_end(&self) -> Error {
        let (name, reason) = if self.grammars().next().is_some() {
            let reason = "no candidate fits the grammar here: put it before samplers that remove candidates, or end the \
                          text here; `reset` starts over";
            ("grammar", reason)
        } else {
            ("chain", "every candidate has been masked")
        };
        ErrorKind::DeadEnd { name, reason }.into()
    }

    /// Returns the grammars' indices in the chain and their models.
    fn grammars(&self) -> impl Iterator<Item = (i32, &Model)> {
        (0..).zip(self.samplers.iter()).filter_map(|(index, sampler)| match sampler {
            Sampler::Grammar(grammar) => Some((index, &grammar.model)),
            _ => None,
        })
    }

    /// Refuses a token that a grammar does not allow: C would throw after half of the chain has accepted it.
    pub(super) fn check_grammars(&mut self, token: Token) -> Result<()> {
        let samplers = Arc::clone(&self.samplers);
        for (index, sampler) in (0..).zip(samplers.iter()) {
            let Sampler::Grammar(grammar) = sampler else { continue };
            let mut data = llama_sys::llama_token_data { id: token.get(), logit: 0.0, p: 0.0 };
            self.apply_one(index, core::slice::from_mut(&mut data))?;
            // Tokens without text are masked, but C accepts them without moving.
            if data.logit == f32::NEG_INFINITY && !piece(&grammar.model, token)?.is_empty() {
                let text = String::from_utf8_lossy(&piece(&grammar.model, token)?).into_owned();
                let reason = format!("it does not allow token {token} ({text:?}) here");
                return Err(sampler_error("grammar", reason));
            }
        }
        Ok(())
    }

    /// Counts the token's text while a lazy grammar waits for a pattern, and returns the stack that the search for
    /// the pattern may need.
    pub(super) fn count(&mut self, token: Token) -> Result<Option<usize>> {
        let Some(mut waiting) = self.waiting else {
            return Ok(None);
        };
        let lengths = self.grammars().map(|(_, model)| piece(model, token).map(|piece| piece.len()));
        waiting.bytes += lengths.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or(0);
        let stack = large_stack::needed(waiting.per_byte, waiting.bytes);
        if stack <= large_stack::LIMIT {
            self.waiting = Some(waiting);
            return Ok(Some(stack));
        }
        if self.is_triggered()? {
            self.waiting = None;
            return Ok(None);
        }
        let reason = format!(
            "no trigger in {} bytes, and the patterns cannot be searched in a longer text: give words or tokens as triggers",
            waiting.bytes
        );
        Err(sampler_error("grammar", reason))
    }

    /// Returns whether every lazy grammar masks something, and so has found its trigger.
    fn is_triggered(&mut self) -> Result<bool> {
        let samplers = Arc::clone(&self.samplers);
        for (index, sampler) in (0..).zip(samplers.iter()) {
            let Sampler::Grammar(grammar) = sampler else { continue };
            let mut data = all_tokens(&grammar.model);
            self.apply_one(index, &mut data)?;
            if data.iter().all(|data| data.logit == 0.0) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Returns whether llama.cpp has thrown because the text after a lazy grammar's trigger does not fit it
/// (llama-grammar.cpp, `llama_grammar_accept_token`). This is the only way in which accepting a checked token fails.
pub(super) fn is_misfit(error: &Error) -> bool {
    let ErrorKind::Exception { message } = error.kind() else {
        return false;
    };
    message.starts_with("Unexpected empty grammar stack")
}

/// Returns the error for such a chain: samplers before the grammar have accepted the token, those after it have not.
pub(super) fn misfit() -> ErrorKind {
    let reason = "the text after the trigger does not fit the grammar: start over with `reset`, or go back to an earlier \
                  copy with `copy_state_from`";
    ErrorKind::DeadEnd { name: "grammar", reason }
}

impl Waiting {
    /// Returns the state of a chain whose grammars wait for patterns, or `None` without such grammars.
    pub(super) fn of(samplers: &[Sampler]) -> Option<Self> {
        let triggers = samplers.iter().filter_map(|sampler| match sampler {
            Sampler::Grammar(grammar) => grammar.triggers.as_ref(),
            _ => None,
        });
        let per_byte =
            triggers.flat_map(|it| &it.patterns).map(|pattern| large_stack::per_byte(pattern)).max()?;
        Some(Self { per_byte, bytes: 0 })
    }

    /// Returns the state after a change of the samplers, where `before` was the state.
    pub(super) fn after_change(before: Option<Self>, samplers: &[Sampler], added: bool) -> Option<Self> {
        // No state means that the existing grammars have found their triggers.
        if before.is_none() && !added {
            return None;
        }
        let bytes = before.map_or(0, |before| before.bytes);
        Self::of(samplers).map(|waiting| Self { bytes, ..waiting })
    }
}

/// Returns a candidate with logit 0 for each token.
fn all_tokens(model: &Model) -> Vec<llama_sys::llama_token_data> {
    let all = 0..model.vocab().n_tokens_raw();
    all.map(|id| llama_sys::llama_token_data { id, logit: 0.0, p: 0.0 }).collect()
}

/// Returns the text of a token as grammars see it.
fn piece(model: &Model, token: Token) -> Result<Vec<u8>> {
    let mut bytes = model.vocab().token_to_bytes(token, true)?;
    if bytes.first() == Some(&0) {
        // C stops at a NUL byte.
        bytes.clear();
    }
    Ok(bytes)
}
