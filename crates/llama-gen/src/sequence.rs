//! One running sequence: what is done with each new token, whoever computes it.

use llama_core::{Context, SamplerChain, Token, Vocab};

use crate::detokenize::Detokenizer;
use crate::error::Result;
use crate::event::{FinishReason, Text};
use crate::params::GenerationParams;
use crate::stop::StopMatcher;

/// The state of one sequence between two tokens. It has no context, thread or clock of its own: a driver computes the
/// logits and calls [`step`](Sequence::step).
#[derive(Debug)]
pub(crate) struct Sequence {
    sampler: SamplerChain,
    detokenizer: Detokenizer,
    stop: StopMatcher,
    max_tokens: Option<usize>,
    ignore_eos: bool,
    n_generated: usize,
}

/// What came of one step.
#[derive(Debug)]
pub(crate) struct Step {
    /// The token that was chosen.
    pub(crate) token: Token,
    /// Text that can be shown now.
    pub(crate) text: Option<Text>,
    /// Whether and why the sequence has ended.
    pub(crate) finish: Option<FinishReason>,
}

impl Sequence {
    pub(crate) fn new(params: &GenerationParams) -> Result<Self> {
        Ok(Self {
            sampler: params.sampling.to_chain()?,
            detokenizer: Detokenizer::default(),
            stop: StopMatcher::new(params.stop.clone()),
            max_tokens: params.max_tokens.map(|tokens| tokens as usize),
            ignore_eos: params.ignore_eos,
            n_generated: 0,
        })
    }

    /// Tells the samplers that look back about the prompt.
    pub(crate) fn accept_prompt(&mut self, tokens: &[Token]) -> Result<()> {
        Ok(self.sampler.accept_prompt(tokens)?)
    }

    /// The number of tokens so far.
    pub(crate) fn n_generated(&self) -> usize {
        self.n_generated
    }

    /// Chooses the next token from the logits of the token at `index` of the last batch.
    pub(crate) fn sample(&mut self, context: &mut Context, index: Option<usize>) -> Result<Token> {
        Ok(self.sampler.sample(context, index)?)
    }

    /// Takes the chosen token: its text, and whether it ends the sequence.
    pub(crate) fn step(&mut self, vocab: Vocab<'_>, token: Token) -> Result<Step> {
        self.n_generated += 1;
        if vocab.is_eog(token) && !self.ignore_eos {
            return Ok(self.end(token, FinishReason::EndOfGeneration(token)));
        }
        vocab.append_token_bytes(token, false, self.detokenizer.buffer())?;
        let (mut text, mut shown) = (String::new(), String::new());
        self.detokenizer.take(&mut text);
        if let Some(stop) = self.stop.push(&text, &mut shown) {
            let finish = Some(FinishReason::StopString(stop));
            return Ok(Step { token, text: piece(shown, Some(token)), finish });
        }
        if self.max_tokens.is_some_and(|most| self.n_generated >= most) {
            let mut step = self.end(token, FinishReason::MaxTokens);
            shown.push_str(step.text.as_ref().map_or("", |rest| &rest.text));
            step.text = piece(shown, Some(token));
            return Ok(step);
        }
        Ok(Step { token, text: piece(shown, Some(token)), finish: None })
    }

    /// What was kept back, when the sequence ends for a reason outside of it.
    pub(crate) fn flush(&mut self) -> Option<Text> {
        let (mut text, mut shown) = (String::new(), String::new());
        self.detokenizer.finish(&mut text);
        // What ends a character's bytes cannot complete a stop string: it is U+FFFD, or nothing.
        if self.stop.push(&text, &mut shown).is_none() {
            self.stop.finish(&mut shown);
        }
        piece(shown, None)
    }

    fn end(&mut self, token: Token, reason: FinishReason) -> Step {
        Step { token, text: self.flush(), finish: Some(reason) }
    }
}

fn piece(text: String, token: Option<Token>) -> Option<Text> {
    (!text.is_empty()).then_some(Text { text, token })
}
