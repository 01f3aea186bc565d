//! A running generation without its context, thread and clock: what to compute next, and what to make of the result.

use core::time::Duration;
use std::collections::VecDeque;
use std::time::Instant;

use llama_core::{Logits, Token};
use tracing::Span;

use crate::error::{ErrorKind, Result};
use crate::event::{ChosenToken, Event, FinishReason, Progress, Shortened, TokenProbability};
use crate::finish::{MemoryReport, Usage};
use crate::interrupt::Interrupt;
use crate::memory::SequenceIndex;
use crate::meter::Meter;
use crate::model::Llama;
use crate::request::{Request, Wanted};
use crate::sequence::Sequence;
use crate::step::{Clock, Member, Part, Pending, Plan, View};
use crate::when_full::{Full, WhenFull, compact, gap};

/// How far apart the checkpoints of a long prompt are, in tokens.
const CHECKPOINT_STEP: usize = 1024;

/// A running generation. It yields events, and computes nothing itself.
#[derive(Debug)]
pub(crate) struct Generation {
    llama: Llama,
    text: Sequence,
    /// The sequence of the board that holds it.
    sequence: SequenceIndex,
    /// The generation that computes the prompt for this one too.
    leader: Option<usize>,
    pending: Pending,
    /// How many tokens of the text are the prompt.
    n_prompt: usize,
    /// Places in the prompt where checkpoints were asked for.
    checkpoints: Vec<usize>,
    pub(crate) wanted: Wanted,
    when_full: WhenFull,
    interrupt: Interrupt,
    meter: Meter,
    events: VecDeque<Event>,
    is_running: bool,
    /// The likeliest tokens; kept so that they are not allocated anew.
    likeliest: Vec<(Token, f32)>,
}

/// How a generation begins.
#[derive(Debug)]
pub(crate) struct Opening {
    /// The sequence of the board that holds it.
    pub(crate) sequence: SequenceIndex,
    /// The tokens to read, after they were shortened where they had to be.
    pub(crate) prompt: Vec<Token>,
    /// How many of them are in memory.
    pub(crate) n_reused: usize,
    /// The number of tokens of the prompt as it was given; 0 when it was not tokenised to its end.
    pub(crate) n_given: usize,
    /// How the prompt was made to fit.
    pub(crate) shortened: Option<Shortened>,
    /// The time that the generation has taken so far.
    pub(crate) took: Duration,
}

impl Generation {
    /// Creates the generation of a request.
    pub(crate) fn new(
        llama: &Llama,
        request: &Request,
        text: Sequence,
        opening: Opening,
        interrupt: Interrupt,
    ) -> Self {
        let Opening { sequence, prompt, n_reused, n_given, shortened, took } = opening;
        let usage = Usage { prompt_tokens: n_given, reused_tokens: n_reused, ..Usage::default() };
        let mut meter = Meter::new(usage, took);
        if let Some(shortened) = shortened {
            meter.shortened(shortened);
        }
        let n_prompt = prompt.len();
        let mut pending = Pending::new(prompt);
        pending.take(n_reused);
        Self {
            llama: llama.clone(),
            text,
            sequence,
            leader: None,
            pending,
            n_prompt,
            checkpoints: request.checkpoints.clone(),
            wanted: request.wanted,
            when_full: request.when_full.clone(),
            interrupt,
            meter,
            events: shortened.map(Event::Shortened).into_iter().collect(),
            is_running: true,
            likeliest: Vec::new(),
        }
    }

    /// Lets another generation compute the prompt, which is the same, for this one too.
    pub(crate) fn follow(&mut self, leader: usize) {
        self.leader = Some(leader);
    }

    /// Takes the next event that has come of it.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Adds the last event.
    pub(crate) fn finish(&mut self, now: Instant, reason: FinishReason, memory: MemoryReport) {
        let finish = self.meter.finish(now, reason, memory, self.text.seed());
        self.events.push_back(Event::Finish(finish));
    }

    fn is_in_prompt(&self) -> bool {
        self.text.n_generated() == 0
    }

    /// The next part to compute: at most a chunk, and no further than the next checkpoint.
    fn next_part(&self, view: &View<'_>) -> Part {
        let len = view.tokens.len();
        let checkpoint = if view.has_checkpoints { self.next_checkpoint(len) } else { None };
        let rest = self.pending.len();
        let n = rest.min(view.n_chunk).min(checkpoint.unwrap_or(usize::MAX) - len);
        let is_last = n == rest;
        let is_looked_at = is_last || self.interrupt.is_possible() || self.wanted.progress;
        let waits = self.is_in_prompt() && is_looked_at;
        Part { n, is_last, keeps_checkpoint: checkpoint == Some(len + n), waits }
    }

    /// The next place for a checkpoint: where it was asked for, every [`CHECKPOINT_STEP`] tokens, and before the last
    /// token, from where the same text can go on in another way.
    fn next_checkpoint(&self, len: usize) -> Option<usize> {
        let rest = self.pending.len();
        if rest < 2 {
            return None;
        }
        let end = len + rest;
        let asked = self.checkpoints.iter().copied();
        let places = asked.chain([(len / CHECKPOINT_STEP + 1) * CHECKPOINT_STEP, end - 1]);
        places.filter(|place| (len + 1..end).contains(place)).min()
    }

    /// Decides what to do when the context is full.
    fn make_room(&mut self, view: &View<'_>) -> Result<Plan> {
        let vocab = self.llama.model().vocab();
        match &self.when_full {
            WhenFull::Stop => {
                self.flush();
                Ok(Plan::End(FinishReason::ContextFull))
            }
            WhenFull::Error => Err(ErrorKind::ContextFull { n_ctx: view.n_ctx }.into()),
            WhenFull::Shift { keep } => Ok(Plan::Shift(gap(view.tokens, *keep, vocab, view.n_ctx))),
            WhenFull::Compact(compactor) => {
                let old = [view.tokens, self.pending.tokens()].concat();
                let full = Full { tokens: &old, n_prompt: self.n_prompt, n_ctx: view.n_ctx, vocab };
                let new = compact(compactor.as_ref(), &full)?;
                let n_same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
                self.n_prompt = self.n_prompt.min(n_same);
                Ok(Plan::Replace(new))
            }
        }
    }

    /// Shows the text that was held back, when the end comes from outside.
    fn flush(&mut self) {
        self.events.extend(self.text.flush().map(Event::Text));
    }

    /// Describes a token that was just chosen: id, bytes, log-probability, alternatives.
    fn describe(&mut self, logits: &Logits<'_>, token: Token) -> Result<ChosenToken> {
        let tokenizer = self.llama.tokenizer();
        let Some(n) = self.wanted.alternatives else {
            let token = TokenProbability::new(tokenizer, token, None)?;
            return Ok(ChosenToken { token, alternatives: Vec::new() });
        };
        let softmax = logits.softmax();
        softmax.top_k(n, &mut self.likeliest);
        let alternatives =
            self.likeliest.iter().map(|(id, value)| TokenProbability::new(tokenizer, *id, Some(*value)));
        Ok(ChosenToken {
            token: TokenProbability::new(tokenizer, token, softmax.log_probability(token))?,
            alternatives: alternatives.collect::<Result<_>>()?,
        })
    }
}

impl Member for Generation {
    fn sequence(&self) -> SequenceIndex {
        self.sequence
    }

    fn is_running(&self) -> bool {
        self.is_running
    }

    fn set_ended(&mut self) {
        self.is_running = false;
    }

    fn span(&self) -> &Span {
        self.meter.span()
    }

    fn leader(&self) -> Option<usize> {
        self.leader
    }

    fn leave_leader(&mut self, n_shared: Option<usize>, took: Duration) {
        self.leader = None;
        if let Some(n) = n_shared {
            self.pending.take(n);
            self.meter.reused(n);
            self.meter.evaluated(0, took);
        }
    }

    fn resume(&mut self, now: Instant) {
        self.meter.resume(now);
    }

    fn pause(&mut self, now: Instant) {
        self.meter.pause(now);
    }

    fn interrupt(&mut self, now: Instant) -> Option<FinishReason> {
        let reason = self.interrupt.reason(now)?;
        self.flush();
        Some(reason)
    }

    fn pending(&mut self) -> &mut Pending {
        &mut self.pending
    }

    fn plan(&mut self, view: &View<'_>) -> Result<Plan> {
        if view.tokens.len() + self.pending.len() > view.n_ctx {
            return self.make_room(view);
        }
        Ok(Plan::Decode(self.next_part(view)))
    }

    fn made_room(&mut self, from: usize, to: usize) {
        tracing::debug!(from, to, "the context was full");
        let shortened = Shortened { from, to };
        self.meter.shortened(shortened);
        self.events.push_back(Event::Shortened(shortened));
    }

    fn decoded(&mut self, n: usize, len: usize, took: Duration) {
        if !self.is_in_prompt() {
            return;
        }
        self.meter.evaluated(n, took);
        if self.wanted.progress {
            let total = len + self.pending.len();
            self.events.push_back(Event::Progress(Progress { done: len, total }));
        }
    }

    fn take_row(&mut self, logits: &Logits<'_>, clock: Clock<'_>) -> Result<Option<FinishReason>> {
        let before = clock();
        let token = self.text.choose(logits)?;
        let chosen = clock();
        self.meter.chosen(before, chosen);
        if self.wanted.describes_tokens() {
            let event = Event::Token(self.describe(logits, token)?);
            self.events.push_back(event);
            if self.wanted.alternatives.is_some() {
                self.meter.described(clock() - chosen);
            }
        }
        let accepted = self.text.accept(self.llama.model().vocab(), self.llama.tokenizer(), token)?;
        self.events.extend(accepted.text.map(Event::Text));
        self.pending.set(token);
        Ok(accepted.finish)
    }
}
