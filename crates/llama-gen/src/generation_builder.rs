//! A request and the model that it is for.

use core::future::poll_fn;
use core::pin::Pin;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use futures_core::Stream as _;
use llama_core::{LoraAdapter, Token};

use crate::cancel::CancelToken;
use crate::completion::{Completion, Parts};
use crate::drivers::{self, Generator};
use crate::drivers::{Beam, BeamParams, Completions, EventStream};
use crate::error::Result;
use crate::memory::Idle;
use crate::model::Llama;
use crate::params::{GenerationParams, GrammarParams, SamplingParams};
use crate::request::Request;
use crate::stop::StopCriterion;
use crate::when_full::WhenFull;

/// A [`Request`] with the model that runs it. Made by [`Llama::generate`].
#[derive(Clone, Debug)]
#[must_use = "nothing is generated until `stream` or `complete` is called"]
pub struct GenerationBuilder {
    pub(crate) llama: Llama,
    pub(crate) request: Request,
    /// The pool that the context comes from and goes back to; `None` for the model's own.
    pub(crate) pool: Option<Arc<Idle>>,
}

/// Passes setters on to the request.
macro_rules! setters {
    ($($name:ident($argument:ident: $type:ty),)*) => {
        $(
            #[doc = concat!("See [`Request::", stringify!($name), "`].")]
            pub fn $name(mut self, $argument: $type) -> Self {
                self.request = self.request.$name($argument);
                self
            }
        )*
    };
}

impl GenerationBuilder {
    pub(crate) fn new(llama: Llama, request: Request) -> Self {
        Self { llama, request, pool: None }
    }

    setters! {
        params(params: GenerationParams),
        sampling(sampling: SamplingParams),
        max_tokens(max_tokens: u32),
        temperature(temperature: f32),
        top_k(top_k: u32),
        top_p(top_p: f32),
        min_p(min_p: f32),
        seed(seed: impl Into<Option<u32>>),
        grammar(grammar: impl Into<GrammarParams>),
        stop(stop: impl Into<String>),
        parse_special(parse: bool),
        ignore_eos(ignore: bool),
        stop_when(criterion: impl StopCriterion + Clone + 'static),
        cancel_token(token: &CancelToken),
        deadline(deadline: Instant),
        timeout(timeout: Duration),
        when_full(when_full: WhenFull),
        progress(progress: bool),
        tokens(tokens: bool),
        log_probabilities(alternatives: usize),
        cache_prompt(cache: bool),
        checkpoint_at(n_tokens: usize),
    }

    /// See [`Request::lora`].
    pub fn lora(mut self, adapter: &LoraAdapter, scale: f32) -> Self {
        self.request = self.request.lora(adapter, scale);
        self
    }

    /// Returns the request, for another model for example.
    pub fn into_request(self) -> Request {
        self.request
    }

    /// Returns the tokens of the prompt as the model reads it, special ones included. Each call tokenises it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPrompt`](crate::ErrorKind::InvalidPrompt) for a prompt without tokens or with a NUL byte, and
    /// for tokens with [`parse_special`](Self::parse_special), [`ErrorKind::Core`](crate::ErrorKind::Core) when tokenising
    /// fails.
    pub fn prompt_tokens(&self) -> Result<Vec<Token>> {
        drivers::tokenize_whole(self)
    }

    /// Begins the generation: checks parameters and prompt. Its events are computed as they are asked for, on the thread
    /// that asks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameters`](crate::ErrorKind::InvalidParameters),
    /// [`ErrorKind::InvalidPrompt`](crate::ErrorKind::InvalidPrompt) for a prompt without tokens or with a NUL byte,
    /// [`ErrorKind::PromptTooLong`](crate::ErrorKind::PromptTooLong),
    /// [`ErrorKind::CannotShift`](crate::ErrorKind::CannotShift), [`ErrorKind::Compactor`](crate::ErrorKind::Compactor),
    /// [`ErrorKind::Core`](crate::ErrorKind::Core).
    pub fn stream(self) -> Result<Generator> {
        Generator::start(&self)
    }

    /// Begins the generation on a thread of its own, for asynchronous code.
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
    /// [`ErrorKind::InvalidParameters`](crate::ErrorKind::InvalidParameters) and
    /// [`ErrorKind::Thread`](crate::ErrorKind::Thread) at once. All other errors of [`stream`](Self::stream) come as the
    /// only item of the stream.
    pub fn stream_async(self) -> Result<EventStream> {
        EventStream::start(self)
    }

    /// Runs the generation to its end and returns all of it: text, tokens with the log-probabilities that were asked for,
    /// and how it ended.
    ///
    /// # Errors
    ///
    /// The errors of [`stream`](Self::stream) and of its events.
    /// [`ErrorKind::InvalidParameters`](crate::ErrorKind::InvalidParameters) for [`progress`](Self::progress), which only
    /// events tell.
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

    /// Runs the generation to its end as [`complete`](Self::complete) does, for asynchronous code. Dropping the future
    /// cancels it.
    ///
    /// # Errors
    ///
    /// The errors of [`stream_async`](Self::stream_async) and of its events.
    /// [`ErrorKind::InvalidParameters`](crate::ErrorKind::InvalidParameters) for [`progress`](Self::progress), which only
    /// events tell.
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

    /// Begins `n` generations of this prompt, 1 to 256, that are computed together: the prompt once, then a token of each
    /// at a time, for which the weights are read once. The first has the seed that was given or drawn, the second the
    /// next number, and so on, with 0 after `u32::MAX`: [`Finish::seed`](crate::Finish::seed) tells each.
    ///
    /// They have a context of their own, with room for the prompt and `n` answers: set
    /// [`max_tokens`](Self::max_tokens), or it is as large as `n` contexts. When the context is full they stop, or it is
    /// an error; the other choices of [`when_full`](Self::when_full) are refused, and so is
    /// [`checkpoint_at`](Self::checkpoint_at), since nothing goes back in their memory. Events of
    /// [`progress`](Self::progress) have the number 0.
    ///
    /// Their texts are those of `n` single generations with these seeds, as far as tokens that are computed together have
    /// the same results as alone: the last bits of logits may differ.
    ///
    /// ```
    /// use llama_gen::Llama;
    ///
    /// # fn main() -> Result<(), llama_gen::Error> {
    /// # let path = test_models::Tiny::Llama.path();
    /// let llm = Llama::load(path)?;
    /// let three = llm.generate("Once upon a time").max_tokens(8).seed(1).completions(3)?.complete()?;
    /// assert_eq!(three.len(), 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`stream`](Self::stream), and
    /// [`ErrorKind::InvalidParameters`](crate::ErrorKind::InvalidParameters) for another number of them.
    pub fn completions(self, n: usize) -> Result<Completions> {
        Completions::start(&self, n)
    }

    /// Searches for likely texts: continues the `width` best hypotheses at once, each with every token, and returns as
    /// many texts, the best first, or fewer when there are no more. With a width of 1 it is the greedy text.
    ///
    /// Probabilities are the model's own, with `logit_bias` and `ignore_eos`. Every beam has its tokens and their
    /// log-probabilities.
    ///
    /// Refused are samplers, which choose by chance or depend on the tokens before (a beam search has a temperature of
    /// 0), a seed, a grammar, a criterion of your own, a repetition guard, alternatives to tokens, events of progress, and
    /// checkpoints.
    ///
    /// The texts share the memory of their common prefixes, in a context of their own: see
    /// [`completions`](Self::completions).
    ///
    /// ```
    /// use llama_gen::{BeamParams, Llama};
    ///
    /// # fn main() -> Result<(), llama_gen::Error> {
    /// # let path = test_models::Tiny::Llama.path();
    /// let llm = Llama::load(path)?;
    /// let beams = llm.generate("Once upon a time").max_tokens(8).beam_search(&BeamParams::default().width(3))?;
    /// assert_eq!(beams.len(), 3);
    /// assert!(beams[0].score >= beams[1].score);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`complete`](Self::complete). A search that was cancelled, or whose time is over, returns the best
    /// texts so far.
    pub fn beam_search(self, params: &BeamParams) -> Result<Vec<Beam>> {
        drivers::beam_search(&self, params)
    }

    fn collected(mut self) -> Result<Self> {
        let way_out = "use `stream` or `stream_async`";
        self.request.wanted = self.request.wanted.collected(way_out)?;
        Ok(self)
    }
}
