//! Whole generations, put together from their events.

use llama_core::Token;
use serde::Serialize;

use crate::event::{ChosenToken, Event};
use crate::finish::Finish;

/// A whole generation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Completion {
    /// The tokens of the prompt, special ones included, before [`WhenFull`](crate::WhenFull) has shortened it.
    pub prompt: Vec<Token>,
    /// The generated text.
    pub text: String,
    /// The generated tokens, the one that ended the text included. They have log-probabilities and alternatives where
    /// [`log_probabilities`](crate::Request::log_probabilities) asked for them.
    pub tokens: Vec<ChosenToken>,
    /// Why it ended, with numbers of tokens and times.
    pub finish: Finish,
}

impl Completion {
    /// Returns the generated text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the ids of the generated tokens, the one that ended the text included.
    pub fn token_ids(&self) -> impl ExactSizeIterator<Item = Token> {
        self.tokens.iter().map(|chosen| chosen.token.id)
    }
}

/// The parts of a [`Completion`] so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    text: String,
    tokens: Vec<ChosenToken>,
}

impl Parts {
    /// Adds an event. Returns what the last event says.
    pub(crate) fn take(&mut self, event: Event) -> Option<Finish> {
        match event {
            Event::Text(more) => self.text.push_str(&more.text),
            Event::Token(token) => self.tokens.push(token),
            Event::Finish(finish) => return Some(finish),
            // Progress was refused, and the finish lists what was shortened.
            Event::Progress(_) | Event::Shortened(_) => {}
        }
        None
    }

    /// Puts the whole together.
    pub(crate) fn whole(self, prompt: &[Token], finish: Finish) -> Completion {
        Completion { prompt: prompt.to_vec(), text: self.text, tokens: self.tokens, finish }
    }
}
