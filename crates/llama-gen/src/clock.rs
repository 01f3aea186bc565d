//! The times of a generation.

use core::time::Duration;
use std::time::Instant;

use crate::finish::Timings;
use crate::generate::Wanted;

/// Adds up the time that a generation is at work.
#[derive(Debug)]
pub(crate) struct Clock {
    timings: Timings,
    /// Whether the first token has been chosen.
    has_token: bool,
    /// Since when it has been at work; `None` between two events.
    since: Option<Instant>,
}

impl Clock {
    /// Of a generation that was begun at that time.
    pub(crate) fn started(start: Instant) -> Self {
        let timings = Timings { total: start.elapsed(), ..Timings::default() };
        Self { timings, has_token: false, since: None }
    }

    /// Work begins.
    pub(crate) fn resume(&mut self) {
        self.since = Some(Instant::now());
    }

    /// Work is interrupted.
    pub(crate) fn pause(&mut self) {
        if let Some(since) = self.since.take() {
            self.add(since.elapsed());
        }
    }

    fn add(&mut self, time: Duration) {
        self.timings.total += time;
        if self.has_token {
            self.timings.generation += time;
        }
    }

    /// A part of the prompt took that long.
    pub(crate) fn add_prompt(&mut self, time: Duration) {
        self.timings.prompt += time;
    }

    /// A token has been chosen since that time.
    pub(crate) fn chosen(&mut self, since: Instant) {
        let now = Instant::now();
        self.timings.sampling += now - since;
        if !self.has_token {
            // What has passed so far is not for the tokens after the first.
            if let Some(since) = self.since.replace(now) {
                self.add(now - since);
            }
            self.has_token = true;
            self.timings.first_token = self.timings.total;
        }
    }

    /// A token has been described since that time, with the probabilities that were asked for.
    pub(crate) fn described(&mut self, wanted: Wanted, since: Instant) {
        if wanted.alternatives.is_some() {
            self.timings.probabilities += since.elapsed();
        }
    }

    pub(crate) fn timings(&self) -> Timings {
        self.timings
    }
}
