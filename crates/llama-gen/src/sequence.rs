//! One running sequence: what is done with each new token, whoever computes it.

use llama_core::{Model, Token, Vocab};

use crate::detokenize::Detokenizer;
use crate::error::Result;
use crate::event::{FinishReason, Text};
use crate::params::GenerationParams;
use crate::sampler::TokenSampler;
use crate::stop::{Criterion, Repetition, SoFar, StopMatcher};
use crate::tokenizer::Tokenizer;

/// The state of one sequence between two tokens. It has no context, thread or clock of its own: a driver computes the
/// logits, calls [`choose`](Sequence::choose) and [`step`](Sequence::step), and [`flush`](Sequence::flush) when the end
/// comes from outside: a deadline, a full context.
#[derive(Debug)]
pub(crate) struct Sequence {
    sampler: TokenSampler,
    detokenizer: Detokenizer,
    stop: StopMatcher,
    stop_tokens: Vec<Token>,
    max_tokens: Option<usize>,
    ignore_eos: bool,
    repetition: Option<Repetition>,
    own: Option<Own>,
    shown: Vec<Token>,
    n_generated: usize,
}

/// A user's criterion and what it looks at.
#[derive(Debug)]
struct Own {
    criterion: Criterion,
    tokens: Vec<Token>,
    text: String,
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
    pub(crate) fn new(params: &GenerationParams, model: &Model, tokenizer: &dyn Tokenizer) -> Result<Self> {
        Ok(Self {
            sampler: TokenSampler::new(params, model, tokenizer)?,
            detokenizer: Detokenizer::default(),
            stop: StopMatcher::new(params.stop.iter().cloned()),
            stop_tokens: params.stop_tokens.clone(),
            max_tokens: params.max_tokens.map(|tokens| tokens as usize),
            ignore_eos: params.ignore_eos,
            repetition: params.repetition_guard.map(Repetition::new),
            own: None,
            shown: Vec::new(),
            n_generated: 0,
        })
    }

    /// Adds a user's criterion.
    pub(crate) fn stop_when(&mut self, criterion: Option<Criterion>) {
        let own = |criterion| Own { criterion, tokens: Vec::new(), text: String::new() };
        self.own = criterion.map(own);
    }

    /// Makes the names of these special tokens part of the text.
    pub(crate) fn show(&mut self, tokens: Vec<Token>) {
        self.shown = tokens;
    }

    /// Tells the samplers that look back about the prompt.
    pub(crate) fn accept_prompt(&mut self, tokens: &[Token]) -> Result<()> {
        self.sampler.accept_prompt(tokens)
    }

    /// The number of tokens so far.
    pub(crate) fn n_generated(&self) -> usize {
        self.n_generated
    }

    /// Returns the seed of its random numbers; `None` when tokens are not chosen by chance.
    pub(crate) fn seed(&self) -> Option<u32> {
        self.sampler.seed()
    }

    /// Chooses the next token from a row of logits.
    pub(crate) fn choose(&mut self, logits: &[f32]) -> Result<Token> {
        self.sampler.choose(logits)
    }

    /// Takes the chosen token: its text, and whether it ends the sequence. Of several reasons the first of these counts:
    /// tokens that end it, stop strings, the grammar, the criterion, the repetition, the limit.
    pub(crate) fn step(&mut self, vocab: Vocab<'_>, tokenizer: &dyn Tokenizer, token: Token) -> Result<Step> {
        self.n_generated += 1;
        if vocab.is_eog(token) && !self.ignore_eos {
            return Ok(self.end(token, String::new(), FinishReason::EndOfGeneration(token)));
        }
        if self.stop_tokens.contains(&token) {
            return Ok(self.end(token, String::new(), FinishReason::StopToken(token)));
        }
        let is_shown = self.shown.contains(&token);
        tokenizer.append_token_bytes(token, is_shown, self.detokenizer.buffer())?;
        let (mut text, mut shown) = (String::new(), String::new());
        self.detokenizer.take(&mut text);
        if let Some(stop) = self.stop.push(&text, &mut shown) {
            let finish = Some(FinishReason::StopString(stop.to_owned()));
            return Ok(Step { token, text: piece(shown, Some(token)), finish });
        }
        let is_loop = self.repetition.as_mut().is_some_and(|repetition| repetition.push(token));
        let is_last = self.max_tokens.is_some_and(|most| self.n_generated >= most);
        let reason = if self.sampler.is_finished()? {
            FinishReason::GrammarFinished
        } else if self.own.as_mut().is_some_and(|own| own.should_stop(token, &text)) {
            FinishReason::Criterion
        } else if is_loop {
            FinishReason::Repetition
        } else if is_last {
            FinishReason::MaxTokens
        } else {
            return Ok(Step { token, text: piece(shown, Some(token)), finish: None });
        };
        Ok(self.end(token, shown, reason))
    }

    /// What was kept back, when the sequence ends for a reason outside of it.
    pub(crate) fn flush(&mut self) -> Option<Text> {
        piece(self.rest(), None)
    }

    fn rest(&mut self) -> String {
        let (mut text, mut shown) = (String::new(), String::new());
        self.detokenizer.finish(&mut text);
        // What ends a character's bytes is U+FFFD, which hardly completes a stop string; the reason stays in any case.
        if self.stop.push(&text, &mut shown).is_none() {
            self.stop.finish(&mut shown);
        }
        shown
    }

    /// Ends the sequence with what was kept back. Its token is the one that the text is of, unless that has none.
    fn end(&mut self, token: Token, mut shown: String, reason: FinishReason) -> Step {
        let of_token = (!shown.is_empty()).then_some(token);
        shown.push_str(&self.rest());
        Step { token, text: piece(shown, of_token), finish: Some(reason) }
    }
}

impl Own {
    fn should_stop(&mut self, token: Token, text: &str) -> bool {
        self.tokens.push(token);
        self.text.push_str(text);
        self.criterion.should_stop(&SoFar { tokens: &self.tokens, text: &self.text })
    }
}

fn piece(text: String, token: Option<Token>) -> Option<Text> {
    (!text.is_empty()).then_some(Text { text, token })
}
