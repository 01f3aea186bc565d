//! Describing a generation before it begins.

use core::future::poll_fn;
use core::ops::ControlFlow;
use core::pin::Pin;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use futures_core::Stream as _;
use llama_core::{LoraAdapter, Token, TokenizeOptions};

use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, ParameterProblem, Result};
use crate::event::{ChosenToken, Event};
use crate::finish::Finish;
use crate::generator::Generator;
use crate::interrupt::Interrupt;
use crate::lora::Adapters;
use crate::model::Llama;
use crate::params::{GenerationParams, GrammarParams, SamplingParams};
use crate::prompt::Prompt;
use crate::run::Run;
use crate::slots::Slots;
use crate::stop::{Criterion, StopCriterion};
use crate::stream::EventStream;
use crate::when_full::WhenFull;

/// A generation that has been described and not begun. Made by [`Llama::generate`].
#[derive(Clone, Debug)]
#[must_use = "nothing is generated until `stream` or `complete` is called"]
pub struct Generate {
    pub(crate) llama: Llama,
    prompt: Prompt,
    pub(crate) params: GenerationParams,
    pub(crate) criterion: Option<Criterion>,
    pub(crate) adapters: Adapters,
    pub(crate) interrupt: Interrupt,
    pub(crate) when_full: WhenFull,
    pub(crate) wanted: Wanted,
    pub(crate) cache_prompt: bool,
    pub(crate) checkpoints: Vec<usize>,
    /// Where the context comes from and goes back to; `None` for the model's own.
    pub(crate) home: Option<Arc<Slots>>,
    /// Special tokens whose names are part of the text.
    pub(crate) shown: Vec<Token>,
}

/// The events that are not always there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) progress: bool,
    pub(crate) tokens: bool,
    /// Probabilities, and how many alternatives.
    pub(crate) alternatives: Option<usize>,
}

impl Generate {
    pub(crate) fn new(llama: Llama, prompt: Prompt) -> Self {
        Self {
            llama,
            prompt,
            params: GenerationParams::default(),
            criterion: None,
            adapters: Adapters::default(),
            interrupt: Interrupt::default(),
            when_full: WhenFull::default(),
            wanted: Wanted::default(),
            cache_prompt: true,
            checkpoints: Vec::new(),
            home: None,
            shown: Vec::new(),
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
    pub fn seed(mut self, seed: impl Into<Option<u32>>) -> Self {
        self.params.sampling.seed = seed.into();
        self
    }

    /// A grammar that the text has to fit; a text is GBNF that begins with the rule `root`. See [`GrammarParams`].
    ///
    /// ```
    /// use llama_gen::Llama;
    ///
    /// # fn main() -> Result<(), llama_gen::Error> {
    /// # let llm = Llama::load(test_models::Tiny::Llama.path())?;
    /// let answer = llm.generate("Yes or no?").grammar(r#"root ::= "yes" | "no""#).complete()?;
    /// assert!(["yes", "no"].contains(&answer.text()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn grammar(mut self, grammar: impl Into<GrammarParams>) -> Self {
        self.params.sampling.grammar = Some(grammar.into());
        self
    }

    /// Adds a text that ends the generation.
    pub fn stop(mut self, stop: impl Into<String>) -> Self {
        self.params.stop.push(stop.into());
        self
    }

    /// See [`GenerationParams::parse_special`]. A prompt of tokens is refused with it.
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

    /// Adds a LoRA adapter: 1.0 for all of it, 0.0 for nothing. The adapters that a generation names are those it is
    /// computed with, and no others; without any it is the model as it is. See [`Llama::load_lora`].
    ///
    /// What is in memory of a generation with other adapters is not used again. Where generations with several take
    /// turns, [`LlamaBuilder::idle_contexts`](crate::LlamaBuilder::idle_contexts) keeps a context for each.
    pub fn lora(mut self, adapter: &LoraAdapter, scale: f32) -> Self {
        self.adapters.push(adapter, scale);
        self
    }

    /// Lets `token` cancel the generation, also in the middle of the prompt: on the CPU after any operation, on other
    /// devices after a part of `n_ubatch` tokens.
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.interrupt.cancel = Some(token.clone());
        self
    }

    /// Ends the generation at this time, with [`FinishReason::Deadline`](crate::FinishReason::Deadline) and what it has by
    /// then.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.interrupt.deadline = Some(deadline);
        self
    }

    /// As [`deadline`](Self::deadline), that much later than the generation begins. See
    /// [`GenerationParams::max_time`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.params.max_time = Some(timeout);
        self
    }

    /// What happens when the context is full. Default: the generation ends.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Whether there are events of [`Progress`](crate::Progress), one for each `n_ubatch` tokens of the prompt.
    /// Default: no.
    pub fn progress(mut self, progress: bool) -> Self {
        self.wanted.progress = progress;
        self
    }

    /// Whether there is an event for each [token](crate::ChosenToken), with its id and bytes. Default: no.
    pub fn tokens(mut self, tokens: bool) -> Self {
        self.wanted.tokens = tokens;
        self
    }

    /// Adds events as [`tokens`](Self::tokens) does, with the token's log-probability and the `alternatives` likeliest
    /// tokens in its place: the softmax over the model's own logits, before any sampler. The whole row of logits is looked
    /// at for each; [`Timings::probabilities`](crate::Timings::probabilities) tells how long that took.
    pub fn log_probabilities(mut self, alternatives: usize) -> Self {
        self.wanted.alternatives = Some(alternatives);
        self
    }

    /// Whether what is in memory of an earlier generation may be used. Default: yes.
    ///
    /// What was computed in other parts than now may differ in the last bits of its logits, and so, once in a while, in
    /// a token. Without it, the same prompt, parameters and seed give the same text, always.
    pub fn cache_prompt(mut self, cache: bool) -> Self {
        self.cache_prompt = cache;
        self
    }

    /// Keeps a checkpoint after that many tokens of the prompt, for models whose memory cannot be cut (recurrent, hybrid,
    /// sliding window): where the part ends that prompts have in common. Others need none. Can be called several times.
    ///
    /// Without it, checkpoints are kept before the last token of a prompt and after each thousand or so.
    pub fn checkpoint_at(mut self, n_tokens: usize) -> Self {
        self.checkpoints.push(n_tokens);
        self
    }

    /// Returns the tokens of the prompt as the model reads it, special ones included. The tokenizer runs for each call.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPrompt`] for a prompt without tokens or with a NUL byte, and for tokens with
    /// [`parse_special`](Self::parse_special), [`ErrorKind::Core`] when tokenising fails.
    pub fn prompt_tokens(&self) -> Result<Vec<Token>> {
        self.tokenize_whole(&Interrupt::begun(self, Instant::now()))
    }

    /// Begins: checks parameters and prompt. The events are computed as they are asked for, on the thread that asks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameters`], [`ErrorKind::InvalidPrompt`] for a prompt without tokens or with a NUL byte,
    /// [`ErrorKind::PromptTooLong`], [`ErrorKind::CannotShift`], [`ErrorKind::Compactor`], [`ErrorKind::Core`].
    pub fn stream(self) -> Result<Generator> {
        Ok(Generator::new(Run::start(self)?))
    }

    /// As [`stream`](Self::stream), for asynchronous code: the events are computed on a thread of their own.
    ///
    /// ```
    /// use futures::{StreamExt as _, executor::block_on};
    /// use llama_gen::Llama;
    ///
    /// # fn main() -> Result<(), llama_gen::Error> {
    /// # let llm = Llama::load(test_models::Tiny::Llama.path())?;
    /// let mut events = llm.generate("Once upon a time").max_tokens(8).stream_async()?;
    /// block_on(async {
    ///     while let Some(event) = events.next().await {
    ///         print!("{}", event?.text());
    ///     }
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameters`] and [`ErrorKind::Thread`] at once; what else [`stream`](Self::stream) may say, as
    /// the only item of the stream.
    pub fn stream_async(self) -> Result<EventStream> {
        EventStream::start(self)
    }

    /// Runs to the end and returns the whole: text, tokens with the probabilities that were asked for, and how it ended.
    ///
    /// # Errors
    ///
    /// As [`Generate::stream`], and what an event may bring. [`ErrorKind::InvalidParameters`] for
    /// [`progress`](Self::progress), which only events tell.
    pub fn complete(self) -> Result<Completion> {
        let events = self.collected()?.stream()?;
        let mut parts = Parts::default();
        let prompt = events.shared_prompt();
        for event in events {
            if let Some(finish) = parts.take(event?) {
                return Ok(parts.whole(&prompt, finish));
            }
        }
        unreachable!("a generation without an error ends with a finish event")
    }

    /// As [`complete`](Self::complete), for asynchronous code. Dropping the future cancels the generation.
    ///
    /// # Errors
    ///
    /// As [`Generate::stream_async`], and what an event may bring. [`ErrorKind::InvalidParameters`] for
    /// [`progress`](Self::progress), which only events tell.
    pub async fn complete_async(self) -> Result<Completion> {
        let mut events = self.collected()?.stream_async()?;
        let mut parts = Parts::default();
        while let Some(event) = poll_fn(|context| Pin::new(&mut events).poll_next(context)).await {
            if let Some(finish) = parts.take(event?) {
                return Ok(parts.whole(events.prompt().unwrap_or_default(), finish));
            }
        }
        unreachable!("a generation without an error ends with a finish event")
    }

    /// Refuses checkpoints where there is nothing to go back to.
    pub(crate) fn check_without_checkpoints(&self) -> Result<()> {
        if self.checkpoints.is_empty() {
            return Ok(());
        }
        let expected = "unset for completions and beam search, whose contexts keep no checkpoints";
        Err(ParameterProblem::new("checkpoint_at", format!("{:?}", self.checkpoints), expected).into())
    }

    /// This generation with the events that a [`Completion`] is made of.
    fn collected(self) -> Result<Self> {
        if self.wanted.progress {
            let expected = "false for `complete`, which returns no events: use `stream` or `stream_async`";
            return Err(ParameterProblem::new("progress", true, expected).into());
        }
        Ok(self.tokens(true))
    }

    /// Makes tokens of the prompt, unless that is interrupted.
    pub(crate) fn tokenize(&self, interrupt: &Interrupt) -> Result<PromptTokens> {
        match self.tokenize_whole(interrupt) {
            Err(error) if is_cancelled(&error) => Ok(PromptTokens::cut_off()),
            tokens => Ok(PromptTokens { tokens: tokens?, is_cut_off: false }),
        }
    }

    /// Makes tokens of the prompt. An interrupt is an error.
    fn tokenize_whole(&self, interrupt: &Interrupt) -> Result<Vec<Token>> {
        let tokens = match &self.prompt {
            Prompt::Tokens(_) if self.params.parse_special => {
                let reason =
                    "it is tokens already, which parse_special cannot change: leave parse_special false";
                return Err(ErrorKind::InvalidPrompt { reason: reason.to_owned() }.into());
            }
            Prompt::Tokens(tokens) => tokens.clone(),
            Prompt::Text(text) => self.tokenize_text(text, interrupt)?,
        };
        if tokens.is_empty() {
            let reason =
                "it has no tokens, and this model adds none of its own: give it at least one character";
            return Err(ErrorKind::InvalidPrompt { reason: reason.to_owned() }.into());
        }
        Ok(tokens)
    }

    fn tokenize_text(&self, text: &str, interrupt: &Interrupt) -> Result<Vec<Token>> {
        if let Some(position) = text.find('\0') {
            let reason =
                format!("it has a NUL byte at position {position}, which no model was trained on: remove it");
            return Err(ErrorKind::InvalidPrompt { reason }.into());
        }
        let options = TokenizeOptions::default().parse_special(self.params.parse_special);
        // The first part of a text is always tokenised, so that a short prompt is counted in the usage.
        let mut is_first = true;
        let mut go_on = || {
            if std::mem::replace(&mut is_first, false) || interrupt.reason().is_none() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        self.llama.tokenizer().tokenize_with(text, options, &mut go_on)
    }
}

/// The tokens of a prompt.
pub(crate) struct PromptTokens {
    /// At least one.
    pub(crate) tokens: Vec<Token>,
    /// Whether the generation was interrupted before the text was tokenised. The token stands for nothing then.
    is_cut_off: bool,
}

impl PromptTokens {
    fn cut_off() -> Self {
        Self { tokens: vec![Token::new(0)], is_cut_off: true }
    }

    /// The number of tokens of the prompt, as the usage has it.
    pub(crate) fn count(&self) -> usize {
        if self.is_cut_off { 0 } else { self.tokens.len() }
    }
}

fn is_cancelled(error: &Error) -> bool {
    let ErrorKind::Core(error) = error.kind() else { return false };
    matches!(error.kind(), llama_core::ErrorKind::TokenizeCancelled { .. })
}

/// What has come of a [`Completion`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    text: String,
    tokens: Vec<ChosenToken>,
}

impl Parts {
    /// Adds what an event brings; what the last event says.
    pub(crate) fn take(&mut self, event: Event) -> Option<Finish> {
        match event {
            Event::Text(more) => self.text.push_str(&more.text),
            Event::Token(token) => self.tokens.push(token),
            Event::Finish(finish) => return Some(finish),
            // Progress was refused, and the finish tells what was shortened.
            Event::Progress(_) | Event::Shortened(_) => {}
        }
        None
    }

    pub(crate) fn whole(self, prompt: &[Token], finish: Finish) -> Completion {
        Completion { prompt: prompt.to_vec(), text: self.text, tokens: self.tokens, finish }
    }
}

/// A whole generation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Completion {
    /// The tokens of the prompt, special ones included; before [`WhenFull`] has shortened it.
    pub prompt: Vec<Token>,
    /// The text.
    pub text: String,
    /// The tokens that were generated, the one that ended it included: with their log-probabilities and alternatives where
    /// [`log_probabilities`](Generate::log_probabilities) asked for them.
    pub tokens: Vec<ChosenToken>,
    /// Why it ended, with tokens and times.
    pub finish: Finish,
}

impl Completion {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The ids of the tokens that were generated, the one that ended it included.
    pub fn token_ids(&self) -> impl ExactSizeIterator<Item = Token> {
        self.tokens.iter().map(|chosen| chosen.token.id)
    }
}
