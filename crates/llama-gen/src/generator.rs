//! The blocking driver: one sequence, on the caller's thread.

use std::collections::VecDeque;
use std::sync::Arc;

use llama_core::Token;

use crate::error::Result;
use crate::event::Event;
use crate::run::Run;

/// A running generation: an iterator over its events. The last event is [`Event::Finish`], or an error. Dropping it
/// ends the generation.
#[derive(Debug)]
pub struct Generator {
    /// `None` once the generation has ended.
    run: Option<Run>,
    prompt: Arc<[Token]>,
    events: VecDeque<Event>,
}

impl Generator {
    pub(crate) fn new(run: Run) -> Self {
        Self { prompt: run.prompt(), run: Some(run), events: VecDeque::new() }
    }

    /// The tokens of the prompt, special ones included; before [`WhenFull`](crate::WhenFull) has shortened it.
    #[must_use]
    pub fn prompt(&self) -> &[Token] {
        &self.prompt
    }

    /// The prompt for whoever keeps it longer than the generation.
    pub(crate) fn shared_prompt(&self) -> Arc<[Token]> {
        Arc::clone(&self.prompt)
    }
}

impl Iterator for Generator {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.events.is_empty() {
            let mut run = self.run.take()?;
            match run.work(&mut self.events) {
                Ok(None) => self.run = Some(run),
                Ok(Some(reason)) => self.events.push_back(Event::Finish(run.finish(reason))),
                Err(error) => {
                    run.give_back();
                    return Some(Err(error));
                }
            }
        }
        self.events.pop_front().map(Ok)
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            run.give_back();
        }
    }
}
