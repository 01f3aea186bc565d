//! The grammars of a chain: what they allow, where they are, and what waiting for a pattern costs.

use std::sync::Arc;

use super::{SamplerChain, sampler_error};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;
use crate::sampler::kind::Sampler;
use crate::sampler::large_stack;
use crate::token::Token;

/// Where the grammars of a chain are, all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum GrammarState {
    /// A lazy grammar waits for its trigger; nothing is masked.
    Waiting,
    /// The text is not complete: the end is not allowed yet.
    Incomplete,
    /// The text is complete: it may end here, and it may go on.
    Complete,
    /// The text is complete, and nothing but the end is allowed: stop here.
    Finished,
}

/// A lazy grammar that waits for a pattern: `std::regex` goes over all text so far, by recursion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// Stack for each byte.
    per_byte: usize,
    /// Bytes accepted so far.
    bytes: usize,
}

impl SamplerChain {
    /// Where the grammars of the chain are; `None` without grammars. With several, what all of them allow counts.
    ///
    /// A finished grammar is no error: what ends there is the text. What is one, [`ErrorKind::DeadEnd`], comes from
    /// selecting when no candidate fits.
    ///
    /// Goes through the vocabulary, as a grammar does when a token is selected. In a vocabulary without a token that
    /// ends the generation, a grammar that allows no token is [`Finished`](GrammarState::Finished).
    ///
    /// ```
    /// # use llama_core::{GrammarState, Model, ModelParams, SamplerChain, TokenizeOptions};
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

    /// The error for candidates that have all been masked.
    pub(super) fn dead_end(&self) -> Error {
        let (name, reason) = if self.grammars().next().is_some() {
            let reason = "no candidate fits the grammar here: put it before samplers that remove candidates, or end the \
                          text here. `reset` begins anew";
            ("grammar", reason)
        } else {
            ("chain", "every candidate has been masked")
        };
        ErrorKind::DeadEnd { name, reason }.into()
    }

    /// The grammars, with their places in the chain.
    fn grammars(&self) -> impl Iterator<Item = (i32, &Model)> {
        (0..).zip(self.samplers.iter()).filter_map(|(index, sampler)| match sampler {
            Sampler::Grammar(grammar) => Some((index, &grammar.model)),
            _ => None,
        })
    }

    /// Refuses a token that a grammar does not allow: C would throw, half of the chain having accepted it.
    pub(super) fn check_grammars(&mut self, token: Token) -> Result<()> {
        let samplers = Arc::clone(&self.samplers);
        for (index, sampler) in (0..).zip(samplers.iter()) {
            let Sampler::Grammar(grammar) = sampler else { continue };
            let mut data = llama_sys::llama_token_data { id: token.get(), logit: 0.0, p: 0.0 };
            self.apply_one(index, core::slice::from_mut(&mut data))?;
            // Tokens without text are masked, but C accepts them and stays where it is.
            if data.logit == f32::NEG_INFINITY && !piece(&grammar.model, token)?.is_empty() {
                let text = String::from_utf8_lossy(&piece(&grammar.model, token)?).into_owned();
                let reason = format!("it does not allow token {token} ({text:?}) here");
                return Err(sampler_error("grammar", reason));
            }
        }
        Ok(())
    }

    /// Counts the token's text while a lazy grammar waits for a pattern, and returns the stack that looking
    /// for the pattern may need.
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
            "no trigger in {} bytes, and the patterns cannot be looked for in more: give words or tokens as triggers",
            waiting.bytes
        );
        Err(sampler_error("grammar", reason))
    }

    /// Whether every lazy grammar masks something, and so has found its trigger.
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

/// Whether llama.cpp has thrown because what follows a lazy grammar's trigger does not fit it (llama-grammar.cpp,
/// `llama_grammar_accept_token`): the one way in which accepting a token that was checked fails.
pub(super) fn is_misfit(error: &Error) -> bool {
    let ErrorKind::Exception { message } = error.kind() else {
        return false;
    };
    message.starts_with("Unexpected empty grammar stack")
}

/// What is left of such a chain: samplers before the grammar have accepted the token, and those after it have not.
pub(super) fn misfit() -> ErrorKind {
    let reason = "what follows the trigger does not fit the grammar: `reset` begins anew, or copy_state_from an earlier \
                  copy";
    ErrorKind::DeadEnd { name: "grammar", reason }
}

impl Waiting {
    /// The state of a chain whose grammars wait for patterns, `None` without such grammars.
    pub(super) fn of(samplers: &[Sampler]) -> Option<Self> {
        let triggers = samplers.iter().filter_map(|sampler| match sampler {
            Sampler::Grammar(grammar) => grammar.triggers.as_ref(),
            _ => None,
        });
        let per_byte =
            triggers.flat_map(|it| &it.patterns).map(|pattern| large_stack::per_byte(pattern)).max()?;
        Some(Self { per_byte, bytes: 0 })
    }

    /// The state after a change of the samplers, when `before` was the state.
    pub(super) fn after_change(before: Option<Self>, samplers: &[Sampler], added: bool) -> Option<Self> {
        // Without a state, the grammars that have been there have found their triggers.
        if before.is_none() && !added {
            return None;
        }
        let bytes = before.map_or(0, |before| before.bytes);
        Self::of(samplers).map(|waiting| Self { bytes, ..waiting })
    }
}

/// A candidate with the logit 0 for each token.
fn all_tokens(model: &Model) -> Vec<llama_sys::llama_token_data> {
    let all = 0..model.vocab().n_tokens_raw();
    all.map(|id| llama_sys::llama_token_data { id, logit: 0.0, p: 0.0 }).collect()
}

/// The text of a token as grammars see it.
fn piece(model: &Model, token: Token) -> Result<Vec<u8>> {
    let mut bytes = model.vocab().token_to_bytes(token, true)?;
    if bytes.first() == Some(&0) {
        // C stops at a NUL byte.
        bytes.clear();
    }
    Ok(bytes)
}
