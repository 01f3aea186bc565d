//! Requests: everything that says what to generate, without a model.

use core::time::Duration;
use std::time::Instant;

use llama_core::{LoraAdapter, Token};

use crate::cancel::CancelToken;
use crate::error::{ParameterProblem, Result, refuse};
use crate::interrupt::Interrupt;
use crate::lora::Adapters;
use crate::params::{GenerationParams, GrammarParams, SamplingParams};
use crate::prompt::Prompt;
use crate::stop::{Criterion, StopCriterion};
use crate::when_full::WhenFull;

/// A prompt with everything that says how to go on from it. It has no model: the same request can be given to several.
///
/// [`Llama::generate`](crate::Llama::generate) takes one, or a prompt, and has the same methods.
///
/// ```
/// use llama_gen::{Llama, Request};
///
/// # fn main() -> Result<(), llama_gen::Error> {
/// # let path = test_models::Tiny::Llama.path();
/// let request = Request::new("Once upon a time").max_tokens(8).temperature(0.0);
/// let llm = Llama::load(path)?;
/// let completion = llm.generate(request.clone()).complete()?;
/// assert_eq!(completion.text(), llm.generate(request).complete()?.text());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is given to a model"]
pub struct Request {
    pub(crate) prompt: Prompt,
    pub(crate) params: GenerationParams,
    pub(crate) criterion: Option<Criterion>,
    pub(crate) adapters: Adapters,
    pub(crate) interrupt: Interrupt,
    pub(crate) when_full: WhenFull,
    pub(crate) wanted: Wanted,
    pub(crate) cache_prompt: bool,
    pub(crate) checkpoints: Vec<usize>,
    /// Special tokens whose names are part of the text.
    pub(crate) shown_tokens: Vec<Token>,
}

/// The events that a generation yields only when they are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) progress: bool,
    pub(crate) tokens: bool,
    /// Log-probabilities, and how many alternatives to each token.
    pub(crate) alternatives: Option<usize>,
}

impl Wanted {
    /// Whether there are events for tokens.
    pub(crate) fn describes_tokens(self) -> bool {
        self.tokens || self.alternatives.is_some()
    }

    /// Adds the events that whole texts are made of. Refuses progress, which only events tell; `way_out` says how to get
    /// those.
    pub(crate) fn collected(self, way_out: &str) -> Result<Self> {
        if self.progress {
            let expected = format!("false for `complete`, which returns no events: {way_out}");
            return Err(ParameterProblem::new("progress", true, expected).into());
        }
        Ok(Self { tokens: true, ..self })
    }
}

impl<P: Into<Prompt>> From<P> for Request {
    fn from(prompt: P) -> Self {
        Self::new(prompt)
    }
}

impl Request {
    /// Creates a request with this prompt and default parameters.
    pub fn new(prompt: impl Into<Prompt>) -> Self {
        Self {
            prompt: prompt.into(),
            params: GenerationParams::default(),
            criterion: None,
            adapters: Adapters::default(),
            interrupt: Interrupt::default(),
            when_full: WhenFull::default(),
            wanted: Wanted::default(),
            cache_prompt: true,
            checkpoints: Vec::new(),
            shown_tokens: Vec::new(),
        }
    }

    /// Sets all parameters at once. Parameters that were set before stay where these are open; see
    /// [`GenerationParams::or`].
    pub fn params(mut self, params: GenerationParams) -> Self {
        self.params = params.or(&self.params);
        self
    }

    /// Sets how tokens are chosen. Sampling parameters that were set before stay where these are open.
    pub fn sampling(mut self, sampling: SamplingParams) -> Self {
        self.params.sampling = sampling.or(&self.params.sampling);
        self
    }

    /// Sets the most tokens to generate, at least 1.
    pub fn max_tokens(mut self, max_tokens: u32) -> Self {
        self.params.max_tokens = Some(max_tokens);
        self
    }

    /// Sets [`SamplingParams::temperature`].
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.params.sampling.temperature = Some(temperature);
        self
    }

    /// Sets [`SamplingParams::top_k`].
    pub fn top_k(mut self, top_k: u32) -> Self {
        self.params.sampling.top_k = Some(top_k);
        self
    }

    /// Sets [`SamplingParams::top_p`].
    pub fn top_p(mut self, top_p: f32) -> Self {
        self.params.sampling.top_p = Some(top_p);
        self
    }

    /// Sets [`SamplingParams::min_p`].
    pub fn min_p(mut self, min_p: f32) -> Self {
        self.params.sampling.min_p = Some(min_p);
        self
    }

    /// Sets [`SamplingParams::seed`].
    pub fn seed(mut self, seed: impl Into<Option<u32>>) -> Self {
        self.params.sampling.seed = seed.into();
        self
    }

    /// Sets a grammar that the text has to fit. A string is GBNF that begins with the rule `root`; see [`GrammarParams`].
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

    /// Adds a string that ends the text.
    pub fn stop(mut self, stop: impl Into<String>) -> Self {
        self.params.stop.push(stop.into());
        self
    }

    /// Sets [`GenerationParams::parse_special`]. A prompt of tokens is refused with it.
    pub fn parse_special(mut self, parse: bool) -> Self {
        self.params.parse_special = parse;
        self
    }

    /// Sets [`GenerationParams::ignore_eos`].
    pub fn ignore_eos(mut self, ignore: bool) -> Self {
        self.params.ignore_eos = ignore;
        self
    }

    /// Ends the text when a criterion of your own says so, asked after each token. Only the last criterion given counts.
    pub fn stop_when(mut self, criterion: impl StopCriterion + Clone + 'static) -> Self {
        self.criterion = Some(Criterion::new(criterion));
        self
    }

    /// Adds a LoRA adapter with a scale: 1.0 applies it fully, 0.0 not at all. A generation is computed with the adapters
    /// that it names and no others; without any, with the model as it is. See
    /// [`Llama::load_lora`](crate::Llama::load_lora).
    ///
    /// Memory that was computed with other adapters is not reused. Where generations with different adapters take turns,
    /// [`LlamaBuilder::idle_contexts`](crate::LlamaBuilder::idle_contexts) keeps a context for each.
    pub fn lora(mut self, adapter: &LoraAdapter, scale: f32) -> Self {
        self.adapters.push(adapter, scale);
        self
    }

    /// Lets `token` cancel the generation, also in the middle of the prompt: on the CPU after any operation, on other
    /// devices after a part of `n_ubatch` tokens.
    pub fn cancel_token(mut self, token: &CancelToken) -> Self {
        self.interrupt.cancel = Some(token.clone());
        self
    }

    /// Ends the generation at this time, with [`FinishReason::Deadline`](crate::FinishReason::Deadline) and the text so
    /// far.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.interrupt.deadline = Some(deadline);
        self
    }

    /// Ends the generation this long after its beginning, as [`deadline`](Self::deadline) does. Sets
    /// [`GenerationParams::max_time`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.params.max_time = Some(timeout);
        self
    }

    /// Sets what happens when the context is full. Default: the generation ends.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Sets whether there are events of [`Progress`](crate::Progress), one for each `n_ubatch` tokens of the prompt.
    /// Default: no.
    pub fn progress(mut self, progress: bool) -> Self {
        self.wanted.progress = progress;
        self
    }

    /// Sets whether there is an event for each [token](crate::ChosenToken), with its id and bytes. Default: no.
    pub fn tokens(mut self, tokens: bool) -> Self {
        self.wanted.tokens = tokens;
        self
    }

    /// Adds an event for each token as [`tokens`](Self::tokens) does, with its log-probability and the `alternatives`
    /// likeliest tokens in its place: the softmax over the model's own logits, before any sampler. Each needs a pass over
    /// the whole row of logits; [`Timings::probabilities`](crate::Timings::probabilities) tells how long that took.
    pub fn log_probabilities(mut self, alternatives: usize) -> Self {
        self.wanted.alternatives = Some(alternatives);
        self
    }

    /// Sets whether the memory of an earlier generation may be reused. Default: yes.
    ///
    /// A prefix that was computed in other parts than now may differ in the last bits of its logits and so, rarely, lead to
    /// another token. Without reuse, the same prompt, parameters and seed always give the same text.
    pub fn cache_prompt(mut self, cache: bool) -> Self {
        self.cache_prompt = cache;
        self
    }

    /// Keeps a checkpoint after that many tokens of the prompt, where the common prefix of several prompts ends. Only
    /// models whose memory cannot be cut (recurrent, hybrid, sliding window) need one. Can be called several times.
    ///
    /// Without it, checkpoints are kept before the last token of a prompt and after every 1,024 tokens.
    pub fn checkpoint_at(mut self, n_tokens: usize) -> Self {
        self.checkpoints.push(n_tokens);
        self
    }

    /// Refuses what sequences that share their memory cannot do: go back in it, or drop a part of it.
    pub(crate) fn check_for_shared_memory(&self) -> Result<()> {
        let mut problems = Vec::new();
        if !self.checkpoints.is_empty() {
            let expected = "unset for completions and beam search, whose contexts keep no checkpoints";
            problems.push(ParameterProblem::new(
                "checkpoint_at",
                format!("{:?}", self.checkpoints),
                expected,
            ));
        }
        if matches!(self.when_full, WhenFull::Shift { .. } | WhenFull::Compact(_)) {
            let (value, expected) =
                (format!("{:?}", self.when_full), "Stop or Error for sequences that share memory");
            problems.push(ParameterProblem::new("when_full", value, expected));
        }
        refuse(problems)
    }
}
