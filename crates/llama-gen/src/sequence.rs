//! One running sequence: its sampler, its text, and its reasons to end.

use llama_core::{Model, Token, Vocab};

use crate::error::Result;
use crate::event::{FinishReason, Text};
use crate::params::GenerationParams;
use crate::request::Request;
use crate::sampler::TokenSampler;
use crate::stop::{Criterion, Repetition, SoFar};
use crate::text_state::{Pushed, TextState};
use crate::tokenizer::Tokenizer;

/// The state of one sequence between two tokens. Whoever drives it computes the logits, calls
/// [`choose`](Sequence::choose) and [`accept`](Sequence::accept), and [`flush`](Sequence::flush) when the end comes from
/// outside: a deadline, a full context.
#[derive(Debug)]
pub(crate) struct Sequence {
    sampler: TokenSampler,
    text: TextState,
    max_tokens: Option<usize>,
    repetition: Option<Repetition>,
    own: Option<Own>,
    n_generated: usize,
}

/// A user's criterion and what it looks at.
#[derive(Debug)]
struct Own {
    criterion: Criterion,
    tokens: Vec<Token>,
    text: String,
}

/// The effect of a chosen token.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Text that can be shown now.
    pub(crate) text: Option<Text>,
    /// Why the sequence has ended, if it has.
    pub(crate) finish: Option<FinishReason>,
}

impl Sequence {
    /// Creates the sequence of a request, whose sampling parameters are replaced by `params`. Samplers that look back are
    /// told about the prompt.
    pub(crate) fn new(
        request: &Request,
        params: &GenerationParams,
        prompt: &[Token],
        model: &Model,
        tokenizer: &dyn Tokenizer,
    ) -> Result<Self> {
        let mut sampler = TokenSampler::new(params, model, tokenizer)?;
        sampler.accept_prompt(prompt)?;
        let own = |criterion| Own { criterion, tokens: Vec::new(), text: String::new() };
        Ok(Self {
            sampler,
            text: TextState::new(params, &request.shown_tokens),
            max_tokens: params.max_tokens.map(|tokens| tokens as usize),
            repetition: params.repetition_guard.map(Repetition::new),
            own: request.criterion.clone().map(own),
            n_generated: 0,
        })
    }

    /// Returns the number of tokens so far.
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
    pub(crate) fn accept(
        &mut self,
        vocab: Vocab<'_>,
        tokenizer: &dyn Tokenizer,
        token: Token,
    ) -> Result<Accepted> {
        self.n_generated += 1;
        let (text, mut shown) = match self.text.push(vocab, tokenizer, token)? {
            Pushed::Text { text, shown } => (text, shown),
            Pushed::EndToken { reason, shown } => {
                return Ok(Accepted { text: piece(shown, None), finish: Some(reason) });
            }
            Pushed::StopString { reason, shown } => {
                return Ok(Accepted { text: piece(shown, Some(token)), finish: Some(reason) });
            }
        };
        let finish = self.reason_to_end(token, &text)?;
        // Held-back text alone belongs to no token.
        let of_token = (!shown.is_empty()).then_some(token);
        if finish.is_some() {
            shown.push_str(&self.text.flush());
        }
        Ok(Accepted { text: piece(shown, of_token), finish })
    }

    /// Why the sequence ends after a token that is part of the text.
    fn reason_to_end(&mut self, token: Token, text: &str) -> Result<Option<FinishReason>> {
        let is_loop = self.repetition.as_mut().is_some_and(|repetition| repetition.push(token));
        let is_last = self.max_tokens.is_some_and(|most| self.n_generated >= most);
        Ok(if self.sampler.is_finished()? {
            Some(FinishReason::GrammarFinished)
        } else if self.own.as_mut().is_some_and(|own| own.should_stop(token, text)) {
            Some(FinishReason::Criterion)
        } else if is_loop {
            Some(FinishReason::Repetition)
        } else {
            is_last.then_some(FinishReason::MaxTokens)
        })
    }

    /// Returns the text that was held back, when the sequence ends for a reason from outside.
    pub(crate) fn flush(&mut self) -> Option<Text> {
        piece(self.text.flush(), None)
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
