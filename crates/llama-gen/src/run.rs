//! A generation at work, one step at a time: what every driver drives.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use llama_core::{DecodeError, ErrorKind as CoreErrorKind, Token};
use tracing::Span;
use tracing::field::Empty;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{ChosenToken, Event, FinishReason, Progress, Shortened};
use crate::finish::{Finish, MemoryReport, Usage};
use crate::generate::{Generate, Wanted};
use crate::interrupt::Interrupt;
use crate::model::Llama;
use crate::sequence::Sequence;
use crate::slot::Slot;
use crate::slots::Slots;
use crate::when_full::{Full, Gap, WhenFull, compact};

/// How far checkpoints of a long prompt are apart, in tokens.
const CHECKPOINT_STEP: usize = 1024;

/// A running generation. It has to be [finished](Run::finish) or [given back](Run::give_back): the next one goes on with
/// its context.
#[derive(Debug)]
pub(crate) struct Run {
    llama: Llama,
    home: Arc<Slots>,
    slot: Slot,
    sequence: Sequence,
    /// The prompt as it was given, before anything was shortened.
    prompt: Arc<[Token]>,
    /// The tokens that come after those in memory: the rest of the prompt, or the token that was chosen last.
    todo: Vec<Token>,
    /// How many of these are in memory by now.
    done: usize,
    /// How many tokens of the text are the prompt.
    n_prompt: usize,
    /// How the prompt was made to fit, to be told first.
    first_shortened: Option<Shortened>,
    /// How room was made, each time.
    shortened: Vec<Shortened>,
    /// Where in the prompt checkpoints were asked for.
    checkpoints: Vec<usize>,
    wanted: Wanted,
    when_full: WhenFull,
    interrupt: Interrupt,
    usage: Usage,
    clock: Clock,
    span: Span,
    /// The likeliest tokens; here so that it is not made anew.
    likeliest: Vec<(Token, f32)>,
}

impl Run {
    /// Checks parameters and prompt, and takes a context.
    pub(crate) fn start(generate: Generate) -> Result<Self> {
        let start = Instant::now();
        generate.params.validate()?;
        let interrupt = Interrupt::begun(&generate, start);
        let prompt = generate.tokenize(&interrupt)?;
        let prompt_tokens = prompt.count();
        let prompt = prompt.tokens;
        let mut sequence =
            Sequence::new(&generate.params, generate.llama.model(), generate.llama.tokenizer())?;
        sequence.stop_when(generate.criterion.clone());
        sequence.show(generate.shown.clone());
        sequence.accept_prompt(&prompt)?;
        let home = Arc::clone(generate.home.as_ref().unwrap_or_else(|| generate.llama.slots()));
        let mut slot =
            home.take_with(if generate.cache_prompt { &prompt } else { &[] }, &generate.adapters)?;
        let usage = Usage { prompt_tokens, ..Usage::default() };
        let from = prompt.len();
        let given: Arc<[Token]> = prompt[..prompt_tokens].into();
        let prompt = match ready(&generate, &mut slot, prompt) {
            Ok(prompt) => prompt,
            Err(error) => {
                home.give_back(slot);
                return Err(error);
            }
        };
        let Generate { llama, when_full, wanted, checkpoints, .. } = generate;
        if interrupt.is_possible() {
            let interrupt = interrupt.clone();
            slot.context().set_abort_callback(move || interrupt.reason().is_some())?;
        }
        let n_prompt = prompt.len();
        let shortened = (n_prompt != from).then_some(Shortened { from, to: n_prompt });
        let reused = slot.prepare(&prompt)?;
        let usage = Usage { reused_tokens: reused, ..usage };
        let span = span(&usage);
        let mut todo = prompt;
        todo.drain(..reused);
        Ok(Self {
            llama,
            home,
            slot,
            sequence,
            prompt: given,
            todo,
            done: 0,
            n_prompt,
            first_shortened: shortened,
            shortened: shortened.into_iter().collect(),
            checkpoints,
            wanted,
            when_full,
            interrupt,
            usage,
            clock: Clock::started(start),
            span,
            likeliest: Vec::new(),
        })
    }

    /// The tokens of the prompt, as it was given.
    pub(crate) fn prompt(&self) -> Arc<[Token]> {
        Arc::clone(&self.prompt)
    }

    /// Goes on by a part of the prompt, or a token. `Some` when that was the end.
    pub(crate) fn work(&mut self, events: &mut VecDeque<Event>) -> Result<Option<FinishReason>> {
        let span = self.span.clone();
        let _entered = span.enter();
        self.clock.resume();
        let result = self.step(events);
        self.clock.pause();
        result
    }

    fn step(&mut self, events: &mut VecDeque<Event>) -> Result<Option<FinishReason>> {
        events.extend(self.first_shortened.take().map(Event::Shortened));
        let mut end = self.interrupt.reason();
        if end.is_none() && self.slot.len() + self.rest() > self.slot.n_ctx() {
            end = self.make_room(events)?;
        }
        if end.is_none() {
            end = self.decode_part()?;
        }
        if let Some(reason) = end {
            // What was kept back is shown when the end comes from outside the text.
            events.extend(self.sequence.flush().map(Event::Text));
            return Ok(Some(reason));
        }
        let is_prompt = self.sequence.n_generated() == 0;
        if is_prompt && self.wanted.progress {
            let done = self.slot.len();
            events.push_back(Event::Progress(Progress { done, total: done + self.rest() }));
        }
        if self.rest() > 0 { Ok(None) } else { self.choose(events) }
    }

    /// How many tokens are still to be computed before one can be chosen.
    fn rest(&self) -> usize {
        self.todo.len() - self.done
    }

    /// Computes as many tokens as at once are. `Some` when that was interrupted.
    fn decode_part(&mut self) -> Result<Option<FinishReason>> {
        let start = Instant::now();
        let (is_prompt, next) = (self.sequence.n_generated() == 0, self.next_checkpoint());
        let n = self.rest().min(self.slot.n_ubatch()).min(next.unwrap_or(usize::MAX) - self.slot.len());
        let is_last = n == self.rest();
        if let Err(error) = self.slot.decode(&self.todo[self.done..self.done + n], is_last) {
            let reason = self.interrupt.reason().filter(|_| is_aborted(&error));
            return reason.map(Some).ok_or(error);
        }
        self.done += n;
        // Without it the next prompt takes longer, and that is all.
        if Some(self.slot.len()) == next
            && let Err(error) = self.slot.checkpoint()
        {
            tracing::warn!("a checkpoint could not be kept: {error}");
        }
        if is_prompt {
            // Devices that compute on their own would be given the whole prompt, and could not be stopped any more.
            if is_last || self.interrupt.is_possible() || self.wanted.progress {
                self.slot.context().synchronize()?;
            }
            self.usage.evaluated_tokens += n;
            self.clock.add_prompt(start.elapsed());
        }
        Ok(None)
    }

    /// The next place for a checkpoint: where it was asked for, every so often, and before the last token, from where the
    /// same text can be gone on with in another way.
    fn next_checkpoint(&self) -> Option<usize> {
        if self.todo.len() < 2 || !self.slot.has_checkpoints() {
            return None;
        }
        let (at, end) = (self.slot.len(), self.slot.len() + self.rest());
        let asked = self.checkpoints.iter().copied();
        let places = asked.chain([(at / CHECKPOINT_STEP + 1) * CHECKPOINT_STEP, end - 1]);
        places.filter(|place| (at + 1..end).contains(place)).min()
    }

    /// Does what is to be done when the context is full. `Some` when that is to end.
    fn make_room(&mut self, events: &mut VecDeque<Event>) -> Result<Option<FinishReason>> {
        let n_ctx = self.slot.n_ctx();
        let from = self.slot.len() + self.rest();
        let vocab = self.llama.model().vocab();
        match &self.when_full {
            WhenFull::Stop => return Ok(Some(FinishReason::ContextFull)),
            WhenFull::Error => return Err(ErrorKind::ContextFull { n_ctx }.into()),
            WhenFull::Shift { keep } => {
                let gap = Gap::new(self.slot.tokens(), *keep, vocab, n_ctx);
                self.slot.shift(gap.keep, gap.discard)?;
            }
            WhenFull::Compact(compactor) => {
                let old = [self.slot.tokens(), &self.todo[self.done..]].concat();
                let full = Full { tokens: &old, n_prompt: self.n_prompt, n_ctx, vocab };
                self.todo = compact(compactor.as_ref(), &full)?;
                let same = old.iter().zip(&self.todo).take_while(|(old, new)| old == new).count();
                self.n_prompt = self.n_prompt.min(same);
                self.done = self.slot.prepare(&self.todo)?;
            }
        }
        let to = self.slot.len() + self.rest();
        tracing::debug!(from, to, "the context was full");
        self.shortened.push(Shortened { from, to });
        events.push_back(Event::Shortened(Shortened { from, to }));
        Ok(None)
    }

    /// Chooses the next token and makes its events. `Some` when it was the last.
    fn choose(&mut self, events: &mut VecDeque<Event>) -> Result<Option<FinishReason>> {
        let before = Instant::now();
        let output = self.slot.output();
        let token = self.sequence.choose(&self.slot.context().logits(output)?)?;
        self.clock.chosen(before);
        if self.wanted.describes_tokens() {
            let before = Instant::now();
            events.push_back(Event::Token(self.describe(token)?));
            self.clock.described(self.wanted, before);
        }
        let step = self.sequence.step(self.llama.model().vocab(), self.llama.tokenizer(), token)?;
        events.extend(step.text.map(Event::Text));
        self.todo.clear();
        self.todo.push(step.token);
        self.done = 0;
        Ok(step.finish)
    }

    /// What there is to say of a token that was just chosen.
    fn describe(&mut self, token: Token) -> Result<ChosenToken> {
        let output = self.slot.output();
        let logits = self.slot.context().logits(output)?;
        self.wanted.describe(&self.llama, &logits, token, &mut self.likeliest)
    }

    /// Ends: says how it was, and gives the context back.
    pub(crate) fn finish(mut self, reason: FinishReason) -> Finish {
        self.usage.completion_tokens = self.sequence.n_generated();
        // A prebuilt library may not be able to tell.
        let devices = self.slot.context().memory_use().unwrap_or_default();
        let memory = MemoryReport { devices, checkpoints: self.slot.checkpoint_bytes() };
        let finish = Finish {
            reason,
            usage: self.usage,
            timings: self.clock.timings(),
            memory,
            seed: self.sequence.seed(),
            shortened: core::mem::take(&mut self.shortened),
        };
        record(&self.span, &finish);
        self.give_back();
        finish
    }

    /// Ends without a word.
    pub(crate) fn give_back(self) {
        let Self { home, mut slot, interrupt, .. } = self;
        if interrupt.is_possible() && slot.context().clear_abort_callback().is_err() {
            return;
        }
        home.give_back(slot);
    }
}

/// Makes a prompt fit into a context, or says why that cannot be.
fn ready(generate: &Generate, slot: &mut Slot, prompt: Vec<Token>) -> Result<Vec<Token>> {
    generate.when_full.check(slot)?;
    if !generate.cache_prompt {
        slot.forget()?;
    }
    generate.when_full.shorten(prompt, slot.n_ctx(), generate.llama.model().vocab())
}

fn is_aborted(error: &Error) -> bool {
    let ErrorKind::Core(error) = error.kind() else { return false };
    matches!(error.kind(), CoreErrorKind::Decode(DecodeError::Aborted))
}

fn span(usage: &Usage) -> Span {
    tracing::info_span!(
        "generation",
        prompt_tokens = usage.prompt_tokens,
        reused_tokens = usage.reused_tokens,
        completion_tokens = Empty,
        reason = Empty,
        first_token_ms = Empty,
        prompt_tokens_per_second = Empty,
        generation_tokens_per_second = Empty,
    )
}

fn record(span: &Span, finish: &Finish) {
    span.record("completion_tokens", finish.usage.completion_tokens);
    span.record("reason", tracing::field::debug(&finish.reason));
    span.record("first_token_ms", finish.timings.first_token.as_secs_f64() * 1000.0);
    span.record("prompt_tokens_per_second", finish.prompt_tokens_per_second());
    span.record("generation_tokens_per_second", finish.generation_tokens_per_second());
}
