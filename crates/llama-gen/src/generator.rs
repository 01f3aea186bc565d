//! The blocking driver: one sequence, on the caller's thread.

use std::collections::VecDeque;
use std::time::Instant;

use llama_core::{Batch, Context, Pos, SeqId, Token, TokenizeOptions};

use crate::cancel::CancelToken;
use crate::error::{ErrorKind, Result};
use crate::event::{Event, Finish, FinishReason, Timings, Usage};
use crate::model::Llama;
use crate::params::{GenerationParams, SamplingParams};
use crate::sequence::Sequence;
use crate::stop::{Criterion, StopCriterion};

const SEQUENCE: SeqId = SeqId::new(0);

/// A generation that has been described and not begun. Made by [`Llama::generate`].
#[derive(Clone, Debug)]
#[must_use = "nothing is generated until `stream` or `complete` is called"]
pub struct Generate {
    llama: Llama,
    prompt: String,
    params: GenerationParams,
    cancel: CancelToken,
    criterion: Option<Criterion>,
}

impl Generate {
    pub(crate) fn new(llama: Llama, prompt: String) -> Self {
        Self {
            llama,
            prompt,
            params: GenerationParams::default(),
            cancel: CancelToken::new(),
            criterion: None,
        }
    }

    /// All parameters at once.
    pub fn params(mut self, params: GenerationParams) -> Self {
        self.params = params;
        self
    }

    /// How tokens are chosen.
    pub fn sampling(mut self, sampling: SamplingParams) -> Self {
        self.params.sampling = sampling;
        self
    }

    /// The most tokens to generate, at least 1.
    pub fn max_tokens(mut self, max_tokens: u32) -> Self {
        self.params.max_tokens = Some(max_tokens);
        self
    }

    /// See [`SamplingParams::temperature`].
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.params.sampling.temperature = Some(temperature);
        self
    }

    /// See [`SamplingParams::top_k`].
    pub fn top_k(mut self, top_k: u32) -> Self {
        self.params.sampling.top_k = Some(top_k);
        self
    }

    /// See [`SamplingParams::top_p`].
    pub fn top_p(mut self, top_p: f32) -> Self {
        self.params.sampling.top_p = Some(top_p);
        self
    }

    /// See [`SamplingParams::min_p`].
    pub fn min_p(mut self, min_p: f32) -> Self {
        self.params.sampling.min_p = Some(min_p);
        self
    }

    /// See [`SamplingParams::seed`].
    pub fn seed(mut self, seed: u32) -> Self {
        self.params.sampling.seed = Some(seed);
        self
    }

    /// Adds a text that ends the generation.
    pub fn stop(mut self, stop: impl Into<String>) -> Self {
        self.params.stop.push(stop.into());
        self
    }

    /// See [`GenerationParams::parse_special`].
    pub fn parse_special(mut self, parse: bool) -> Self {
        self.params.parse_special = parse;
        self
    }

    /// See [`GenerationParams::ignore_eos`].
    pub fn ignore_eos(mut self, ignore: bool) -> Self {
        self.params.ignore_eos = ignore;
        self
    }

    /// Ends the text when a criterion of your own says so, asked after each token. One criterion: the last one given.
    pub fn stop_when(mut self, criterion: impl StopCriterion + Clone + 'static) -> Self {
        self.criterion = Some(Criterion::new(criterion));
        self
    }

    /// Lets `token` cancel the generation.
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = token.clone();
        self
    }

    /// Begins: checks parameters and prompt. The events are computed as they are asked for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameters`], [`ErrorKind::InvalidPrompt`] for a prompt without tokens or with a NUL byte,
    /// [`ErrorKind::PromptTooLong`], [`ErrorKind::Core`].
    pub fn stream(self) -> Result<Generator> {
        self.params.validate()?;
        let prompt = self.tokenize()?;
        let mut sequence = Sequence::new(&self.params, self.llama.model())?.stop_when(self.criterion);
        sequence.accept_prompt(&prompt)?;
        let context = self.llama.take_context()?;
        let n_ctx = context.n_ctx_seq();
        if prompt.len() >= n_ctx as usize {
            self.llama.give_context(context);
            return Err(ErrorKind::PromptTooLong { n_prompt: prompt.len(), n_ctx }.into());
        }
        Ok(Generator {
            context: Some(context),
            llama: self.llama,
            sequence,
            batch: Batch::new(),
            clock: Clock::start(prompt.len()),
            next: Next::Prompt(prompt),
            n_past: 0,
            events: VecDeque::new(),
            cancel: self.cancel,
        })
    }

    /// Runs to the end and returns the whole text.
    ///
    /// # Errors
    ///
    /// As [`Generate::stream`], and what an event may bring.
    pub fn complete(self) -> Result<Completion> {
        let mut text = String::new();
        for event in self.stream()? {
            match event? {
                Event::Text(more) => text.push_str(&more.text),
                Event::Finish(finish) => return Ok(Completion { text, finish }),
            }
        }
        unreachable!("a generation without an error ends with a finish event")
    }

    fn tokenize(&self) -> Result<Vec<Token>> {
        if let Some(position) = self.prompt.find('\0') {
            let reason =
                format!("it has a NUL byte at position {position}, which no model was trained on: remove it");
            return Err(ErrorKind::InvalidPrompt { reason }.into());
        }
        let options = TokenizeOptions::default().parse_special(self.params.parse_special);
        let tokens = self.llama.model().vocab().tokenize(&self.prompt, options)?;
        if tokens.is_empty() {
            let reason =
                "it has no tokens, and this model adds none of its own: give it at least one character";
            return Err(ErrorKind::InvalidPrompt { reason: reason.to_owned() }.into());
        }
        Ok(tokens)
    }
}

/// A whole generation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Completion {
    /// The text.
    pub text: String,
    /// Why it ended, with tokens and times.
    pub finish: Finish,
}

impl Completion {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A running generation: an iterator over its events. The last event is [`Event::Finish`], or an error. Dropping it
/// ends the generation.
#[derive(Debug)]
pub struct Generator {
    llama: Llama,
    /// `None` once the generation has ended.
    context: Option<Context>,
    sequence: Sequence,
    batch: Batch,
    next: Next,
    n_past: usize,
    events: VecDeque<Event>,
    cancel: CancelToken,
    clock: Clock,
}

/// What is to be computed next.
#[derive(Debug)]
enum Next {
    Prompt(Vec<Token>),
    Token(Token),
}

/// The times of a generation.
#[derive(Debug)]
struct Clock {
    start: Instant,
    prompt_tokens: usize,
    first: Option<Instant>,
    timings: Timings,
}

impl Clock {
    fn start(prompt_tokens: usize) -> Self {
        Self { start: Instant::now(), prompt_tokens, first: None, timings: Timings::default() }
    }
}

impl Iterator for Generator {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.events.is_empty() {
            let mut context = self.context.take()?;
            match self.advance(&mut context) {
                Ok(None) => self.context = Some(context),
                Ok(Some(reason)) => {
                    self.llama.give_context(context);
                    self.finish(reason);
                }
                Err(error) => {
                    self.llama.give_context(context);
                    return Some(Err(error));
                }
            }
        }
        self.events.pop_front().map(Ok)
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        if let Some(context) = self.context.take() {
            self.llama.give_context(context);
        }
    }
}

impl Generator {
    /// Computes one token further. `Some` when that was the last.
    fn advance(&mut self, context: &mut Context) -> Result<Option<FinishReason>> {
        if self.cancel.is_cancelled() {
            return Ok(Some(self.end_early(FinishReason::Cancelled)));
        }
        match &mut self.next {
            Next::Prompt(tokens) => {
                let tokens = core::mem::take(tokens);
                if !self.decode_prompt(context, &tokens)? {
                    return Ok(Some(self.end_early(FinishReason::Cancelled)));
                }
            }
            Next::Token(_) if self.n_past >= context.n_ctx_seq() as usize => {
                return Ok(Some(self.end_early(FinishReason::ContextFull)));
            }
            Next::Token(token) => {
                let token = *token;
                self.decode(context, &[token], true)?;
            }
        }
        self.choose(context)
    }

    /// Computes the prompt in parts; false when it was cancelled between two of them.
    fn decode_prompt(&mut self, context: &mut Context, tokens: &[Token]) -> Result<bool> {
        let part = context.n_batch().max(1) as usize;
        let n_parts = tokens.len().div_ceil(part);
        for (index, tokens) in tokens.chunks(part).enumerate() {
            if self.cancel.is_cancelled() {
                return Ok(false);
            }
            self.decode(context, tokens, index + 1 == n_parts)?;
        }
        context.synchronize()?;
        self.clock.timings.prompt = self.clock.start.elapsed();
        Ok(true)
    }

    fn decode(&mut self, context: &mut Context, tokens: &[Token], output: bool) -> Result<()> {
        let first = Pos::new(i32::try_from(self.n_past).unwrap_or(i32::MAX));
        self.batch.clear();
        self.batch.push_prompt(tokens, SEQUENCE, first)?;
        if !output {
            self.batch.set_output(tokens.len() - 1, false)?;
        }
        context.decode(&self.batch)?;
        self.n_past += tokens.len();
        Ok(())
    }

    /// Chooses the next token and makes its events. `Some` when it was the last.
    fn choose(&mut self, context: &mut Context) -> Result<Option<FinishReason>> {
        let before = Instant::now();
        let token = self.sequence.choose(&context.logits(self.batch.last_output())?)?;
        let now = Instant::now();
        self.clock.timings.sampling += now - before;
        self.clock.first.get_or_insert(now);
        let step = self.sequence.step(self.llama.model().vocab(), token)?;
        self.events.extend(step.text.map(Event::Text));
        self.next = Next::Token(step.token);
        Ok(step.finish)
    }

    /// Shows what was kept back, when the end comes from outside the text.
    fn end_early(&mut self, reason: FinishReason) -> FinishReason {
        self.events.extend(self.sequence.flush().map(Event::Text));
        reason
    }

    fn finish(&mut self, reason: FinishReason) {
        let mut timings = self.clock.timings;
        if let Some(first) = self.clock.first {
            timings.first_token = first - self.clock.start;
            timings.generation = first.elapsed();
        }
        let usage =
            Usage { prompt_tokens: self.clock.prompt_tokens, completion_tokens: self.sequence.n_generated() };
        self.events.push_back(Event::Finish(Finish { reason, usage, timings }));
    }
}
