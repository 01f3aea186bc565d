//! Tokens and times of one generation, as its `Finish` and its tracing span tell them.

use core::time::Duration;
use std::time::Instant;

use tracing::Span;
use tracing::field::{Empty, debug};

use crate::event::{FinishReason, Shortened};
use crate::finish::{Finish, MemoryReport, Timings, Usage};

/// Counts the tokens of a generation and adds up the time that it is at work.
#[derive(Debug)]
pub(crate) struct Meter {
    usage: Usage,
    timings: Timings,
    /// How the text was made shorter, each time.
    shortened: Vec<Shortened>,
    /// Whether the first token has been chosen.
    has_token: bool,
    /// Since when it has been at work; `None` between two events.
    since: Option<Instant>,
    span: Span,
}

impl Meter {
    /// Creates the meter of a generation that was begun `total` ago and has found `usage.reused_tokens` in memory.
    pub(crate) fn new(usage: Usage, total: Duration) -> Self {
        let timings = Timings { total, ..Timings::default() };
        let span = span(&usage);
        Self { usage, timings, shortened: Vec::new(), has_token: false, since: None, span }
    }

    /// The span that the work of the generation belongs to.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Begins to count time.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// Stops to count time.
    pub(crate) fn pause(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.add(now - since);
        }
    }

    fn add(&mut self, time: Duration) {
        self.timings.total += time;
        if self.has_token {
            self.timings.generation += time;
        }
    }

    /// Counts tokens of the prompt that were computed.
    pub(crate) fn evaluated(&mut self, n_tokens: usize, took: Duration) {
        self.usage.evaluated_tokens += n_tokens;
        self.timings.prompt += took;
    }

    /// Counts tokens of the prompt that another generation has computed.
    pub(crate) fn reused(&mut self, n_tokens: usize) {
        self.usage.reused_tokens += n_tokens;
    }

    /// Counts a token that was chosen between two times.
    pub(crate) fn chosen(&mut self, from: Instant, to: Instant) {
        self.usage.completion_tokens += 1;
        self.timings.sampling += to - from;
        if !self.has_token {
            // The time so far does not count for the tokens after the first.
            if let Some(since) = self.since.replace(to) {
                self.add(to - since);
            }
            self.has_token = true;
            self.timings.first_token = self.timings.total;
        }
    }

    /// Counts the time for the probabilities of a token.
    pub(crate) fn described(&mut self, took: Duration) {
        self.timings.probabilities += took;
    }

    /// Notes that the text was made shorter.
    pub(crate) fn shortened(&mut self, shortened: Shortened) {
        self.shortened.push(shortened);
    }

    /// Ends the generation: returns its figures and records them in its span.
    pub(crate) fn finish(
        &mut self,
        now: Instant,
        reason: FinishReason,
        memory: MemoryReport,
        seed: Option<u32>,
    ) -> Finish {
        self.pause(now);
        let shortened = core::mem::take(&mut self.shortened);
        let finish = Finish { reason, usage: self.usage, timings: self.timings, memory, seed, shortened };
        record(&self.span, &finish);
        finish
    }
}

fn span(usage: &Usage) -> Span {
    tracing::info_span!(
        "generation",
        prompt_tokens = usage.prompt_tokens,
        reused_tokens = Empty,
        completion_tokens = Empty,
        reason = Empty,
        first_token_ms = Empty,
        prompt_tokens_per_second = Empty,
        generation_tokens_per_second = Empty,
    )
}

fn record(span: &Span, finish: &Finish) {
    span.record("reused_tokens", finish.usage.reused_tokens);
    span.record("completion_tokens", finish.usage.completion_tokens);
    span.record("reason", debug(&finish.reason));
    span.record("first_token_ms", finish.timings.first_token.as_secs_f64() * 1000.0);
    span.record("prompt_tokens_per_second", finish.prompt_tokens_per_second());
    span.record("generation_tokens_per_second", finish.generation_tokens_per_second());
}
