//! The text of one sequence as its tokens come: characters put together, and what ends it.

use llama_core::{Token, Vocab};

use crate::detokenize::Detokenizer;
use crate::error::Result;
use crate::event::FinishReason;
use crate::params::GenerationParams;
use crate::stop::StopMatcher;
use crate::tokenizer::Tokenizer;

/// Makes text of tokens, and finds end tokens, stop tokens and stop strings.
#[derive(Clone, Debug)]
pub(crate) struct TextState {
    detokenizer: Detokenizer,
    stop: StopMatcher,
    stop_tokens: Vec<Token>,
    ignore_eos: bool,
    /// Special tokens whose names are part of the text.
    shown_tokens: Vec<Token>,
}

/// The effect of a token on the text.
#[derive(Debug)]
pub(crate) enum Pushed {
    /// The text goes on.
    Text {
        /// All text that the token completes, also what may begin a stop string.
        text: String,
        /// The part of it that can be shown, with what was held back before.
        shown: String,
    },
    /// The token ends the text and is not part of it. What was held back can be shown.
    EndToken { reason: FinishReason, shown: String },
    /// The token completes a stop string. `shown` is the text before it.
    StopString { reason: FinishReason, shown: String },
}

impl TextState {
    pub(crate) fn new(params: &GenerationParams, shown_tokens: &[Token]) -> Self {
        Self {
            detokenizer: Detokenizer::default(),
            stop: StopMatcher::new(params.stop.iter().cloned()),
            stop_tokens: params.stop_tokens.clone(),
            ignore_eos: params.ignore_eos,
            shown_tokens: shown_tokens.to_vec(),
        }
    }

    /// Why this token ends a text, if it does.
    pub(crate) fn end_reason(&self, vocab: Vocab<'_>, token: Token) -> Option<FinishReason> {
        if vocab.is_eog(token) && !self.ignore_eos {
            return Some(FinishReason::EndOfGeneration(token));
        }
        self.stop_tokens.contains(&token).then_some(FinishReason::StopToken(token))
    }

    /// Takes the next token.
    pub(crate) fn push(
        &mut self,
        vocab: Vocab<'_>,
        tokenizer: &dyn Tokenizer,
        token: Token,
    ) -> Result<Pushed> {
        if let Some(reason) = self.end_reason(vocab, token) {
            return Ok(Pushed::EndToken { reason, shown: self.flush() });
        }
        let is_shown = self.shown_tokens.contains(&token);
        tokenizer.append_token_bytes(token, is_shown, self.detokenizer.buffer())?;
        let (mut text, mut shown) = (String::new(), String::new());
        self.detokenizer.take(&mut text);
        if let Some(stop) = self.stop.push(&text, &mut shown) {
            return Ok(Pushed::StopString { reason: FinishReason::StopString(stop.to_owned()), shown });
        }
        Ok(Pushed::Text { text, shown })
    }

    /// Ends the text and returns what was held back.
    pub(crate) fn flush(&mut self) -> String {
        let (mut text, mut shown) = (String::new(), String::new());
        self.detokenizer.finish(&mut text);
        // The bytes of an unfinished character become U+FFFD, which hardly completes a stop string; the reason of the end
        // stays in any case.
        if self.stop.push(&text, &mut shown).is_none() {
            self.stop.finish(&mut shown);
        }
        shown
    }
}
