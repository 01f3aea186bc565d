//! Sampler chains.

mod attached;
mod edit;
mod grammars;
#[cfg(test)]
mod poison_tests;
mod reset;

use std::sync::Arc;

pub(crate) use attached::check_sampled;
pub use grammars::GrammarState;
use grammars::Waiting;
use reset::with_drawn_seeds;

use super::builder::SamplerChainBuilder;
use super::candidates::{Candidate, Candidates, Flaw};
use super::custom::Trouble;
use super::kind::Sampler;
use super::raw::RawChain;
use super::seed::Seed;
use super::{create, custom, large_stack};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::guard::{guarded, or_logged};
use crate::token::Token;
use crate::{backend, log};

/// Samplers that run one after the other; the last one selects the token. Corresponds to `llama_sampler_chain_init`.
///
/// Samplers have a state (random numbers, recent tokens, the position in a grammar), so a chain belongs to one
/// sequence. It keeps the models alive that its samplers were made for. It can move to another thread but cannot be
/// used by two threads at once: `Send`, not `Sync`.
///
/// ```
/// # use llama_core::SamplerChain;
/// let mut chain = SamplerChain::builder().greedy().build()?;
/// std::thread::spawn(move || chain.sample_logits(&[0.0, 1.0])).join().unwrap()?;
/// # Ok::<(), llama_core::Error>(())
/// ```
///
/// ```compile_fail
/// # use llama_core::SamplerChain;
/// let chain = SamplerChain::builder().greedy().build()?;
/// std::thread::scope(|scope| { scope.spawn(|| chain.len()); });
/// # Ok::<(), llama_core::Error>(())
/// ```
///
/// After a call that failed inside llama.cpp (an assertion, an exception) the chain is poisoned: later calls
/// return [`ErrorKind::Poisoned`]. Models, contexts and other chains are not affected.
pub struct SamplerChain {
    // First, so that it is freed before the models that it points into.
    raw: RawChain,
    pub(super) samplers: Arc<[Sampler]>,
    /// The samplers with the numbers drawn for random seeds.
    pub(super) drawn: Arc<[Sampler]>,
    perf: bool,
    /// Size of the vocabulary that samplers were made for.
    n_vocab: Option<usize>,
    /// Candidates of the row being sampled, kept to reuse their memory.
    candidates: Candidates,
    waiting: Option<Waiting>,
    /// Whether adaptive-p has selected a token that has not been accepted yet.
    pending: bool,
    /// Highest accepted token, -1 before the first.
    highest: i32,
    /// Number of samplers planned for the device, if a context runs the chain.
    planned: Option<usize>,
    /// Whether a grammar has reached a state that nothing fits; true until the chain is reset.
    stuck: bool,
    poison: Option<String>,
}

/// llama.cpp's counters of a chain. Corresponds to `llama_perf_sampler_data`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SamplerPerf {
    /// Number of accepted tokens.
    pub n_sample: u32,
    /// Time spent in the samplers.
    pub time: core::time::Duration,
}

impl SamplerChain {
    /// Creates a builder.
    pub fn builder() -> SamplerChainBuilder {
        SamplerChainBuilder::default()
    }

    /// Creates a chain from checked samplers for a vocabulary of `n_vocab` tokens.
    pub(super) fn new(builder: SamplerChainBuilder, n_vocab: Option<usize>) -> Result<Self> {
        backend::init();
        let SamplerChainBuilder { samplers, perf } = builder;
        let mut raw = RawChain::new(perf)?;
        let samplers: Arc<[Sampler]> = samplers.into();
        let drawn = with_drawn_seeds(&samplers);
        drawn.iter().try_for_each(|sampler| create::add(&mut raw, sampler, n_vocab))?;
        let waiting = Waiting::of(&samplers);
        let chain = Self {
            raw,
            samplers,
            drawn,
            perf,
            n_vocab,
            candidates: Candidates::new(),
            waiting,
            pending: false,
            highest: -1,
            planned: None,
            stuck: false,
            poison: None,
        };
        chain.tell_n_vocab();
        Ok(chain)
    }

    /// Selects a token from the logits at `index` of the context's last batch, and accepts it, so that penalties,
    /// grammars and other samplers take it into account. [`Batch::last_output`](crate::Batch::last_output) can be
    /// passed as `index`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoOutput`] if the token at `index` has no logits, and the errors of
    /// [`SamplerChain::sample_logits`].
    ///
    /// Corresponds to `llama_sampler_sample`.
    pub fn sample(&mut self, context: &Context, index: impl Into<Option<usize>>) -> Result<Token> {
        self.check_poison()?;
        self.sample_logits(&context.logits(index)?)
    }

    /// Selects a token from a row of logits, which starts with token 0, and accepts it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sampler`] if the length of the row differs from the size of the vocabulary that the chain was
    /// made for, or if the row contains NaN. [`ErrorKind::DeadEnd`] if no logit is above negative infinity, or if
    /// the samplers have masked every candidate, as a grammar does when no token fits. Also the errors of
    /// [`SamplerChain::accept`]. After these errors the chain is usable again, at the latest after a
    /// [`reset`](SamplerChain::reset). [`ErrorKind::Poisoned`], and the errors of containment.
    ///
    /// # Panics
    ///
    /// Resumes a panic of a [`CustomSampler`](crate::sampler::CustomSampler).
    pub fn sample_logits(&mut self, logits: &[f32]) -> Result<Token> {
        self.check_poison()?;
        self.check_row(logits.len())?;
        let mut candidates = core::mem::take(&mut self.candidates);
        let selected = match candidates.fill(logits) {
            Some(flaw) => Err(flawed(flaw)),
            None => self.run(&mut candidates),
        };
        self.candidates = candidates;
        let token = selected?.token;
        self.check_grammars(token)?;
        self.accept_checked(token)?;
        Ok(token)
    }

    /// Runs the samplers on candidates and selects one. Nothing is accepted: random numbers are consumed, but the
    /// rest of the samplers' state does not change.
    ///
    /// # Errors
    ///
    /// The errors of [`SamplerChain::sample_logits`], and [`ErrorKind::Sampler`] for no candidates and for tokens
    /// that are negative or outside of the vocabulary that the chain was made for.
    ///
    /// Corresponds to `llama_sampler_apply`.
    pub fn apply(&mut self, candidates: &mut Candidates) -> Result<()> {
        self.check_poison()?;
        if candidates.is_empty() || i32::try_from(candidates.len()).is_err() {
            return Err(sampler_error("chain", format!("there are {} candidates", candidates.len())));
        }
        for candidate in candidates.as_slice() {
            self.check_token(candidate.token)?;
        }
        if let Some(flaw) = candidates.check() {
            return Err(flawed(flaw));
        }
        self.run(candidates).map(drop)
    }

    /// Tells the samplers that the sequence continues with this token, which was not sampled here.
    /// [`sample`](SamplerChain::sample) accepts its token by itself. For the tokens of a prompt, to which grammars
    /// do not apply, use [`accept_prompt`](SamplerChain::accept_prompt).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidToken`] and [`ErrorKind::Sampler`] for a token that is outside of the vocabulary or that
    /// a grammar of the chain does not allow here; the chain is unchanged. [`ErrorKind::DeadEnd`] if a lazy grammar
    /// finds that the text after its trigger does not fit; from then on all calls except
    /// [`reset`](SamplerChain::reset) return this error. [`ErrorKind::Poisoned`], and the errors of containment.
    ///
    /// Corresponds to `llama_sampler_accept`.
    pub fn accept(&mut self, token: Token) -> Result<()> {
        self.check_poison()?;
        self.check_token(token)?;
        self.check_grammars(token)?;
        self.accept_checked(token)
    }

    /// Tells all samplers except grammars which tokens precede the generation, so that penalties and DRY count them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidToken`] and [`ErrorKind::Sampler`] for a token outside of the vocabulary; then no token
    /// is accepted. [`ErrorKind::Poisoned`], and the errors of containment.
    ///
    /// Corresponds to `llama_sampler_accept`.
    pub fn accept_prompt(&mut self, tokens: &[Token]) -> Result<()> {
        self.check_poison()?;
        for token in tokens {
            self.check_token(*token)?;
            self.highest = self.highest.max(token.get());
        }
        let raw = self.raw.borrow();
        let samplers = Arc::clone(&self.samplers);
        self.pending = false;
        self.call(|| {
            for (index, _) in (0..).zip(samplers.iter()).filter(|(_, it)| !matches!(it, Sampler::Grammar(_)))
            {
                let first = tokens.as_ptr().cast::<llama_sys::llama_token>();
                // SAFETY: the sampler is valid as long as the chain is; `tokens` are transparent `i32`s, and the length is
                // theirs.
                unsafe { guarded!(llama_shim_sampler_accept_all(raw.sampler(index), first, tokens.len())) }?;
            }
            Ok(())
        })
    }

    /// Returns an independent chain in the same state. Not `Clone`, because it can fail.
    ///
    /// Both chains continue with the same random numbers, except those of adaptive-p, which llama.cpp restarts.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sampler`] for a chain with adaptive-p between [`apply`](SamplerChain::apply) and
    /// [`accept`](SamplerChain::accept), since llama.cpp does not copy the state needed there.
    /// [`ErrorKind::Poisoned`], and the errors of containment.
    ///
    /// Corresponds to `llama_sampler_clone`.
    pub fn try_clone(&self) -> Result<Self> {
        self.check_poison()?;
        self.check_not_pending()?;
        if self.planned.is_some() {
            return self.detached();
        }
        let raw = log::explain(|| self.raw.try_clone());
        self.raise()?;
        Ok(self.with_raw(raw?, self.n_vocab, None))
    }

    /// Returns a copy of this chain with other C samplers.
    pub(super) fn with_raw(&self, raw: RawChain, n_vocab: Option<usize>, planned: Option<usize>) -> Self {
        let chain = Self {
            raw,
            samplers: Arc::clone(&self.samplers),
            drawn: Arc::clone(&self.drawn),
            perf: self.perf,
            n_vocab,
            candidates: Candidates::new(),
            waiting: self.waiting,
            pending: false,
            highest: self.highest,
            planned,
            stuck: false,
            poison: None,
        };
        chain.tell_n_vocab();
        chain
    }

    /// Returns the samplers as they were given.
    #[must_use]
    pub fn samplers(&self) -> &[Sampler] {
        &self.samplers
    }

    /// Returns the number of samplers. Corresponds to `llama_sampler_chain_n`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samplers.len()
    }

    /// Returns whether there are no samplers, which is never the case.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samplers.is_empty()
    }

    /// Returns llama.cpp's names of the samplers, in order. The name of a sampler that its values switch off starts
    /// with a question mark: `?top-k`.
    ///
    /// Corresponds to `llama_sampler_chain_get` and `llama_sampler_name`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        (0..).zip(self.samplers.iter()).map(|(index, _)| self.raw.name(index)).collect()
    }

    /// Returns the seed of the last sampler that uses random numbers, also if it was drawn, or `None` without such a
    /// sampler.
    ///
    /// Corresponds to `llama_sampler_get_seed`, and also returns the seeds of XTC and adaptive-p.
    #[must_use]
    pub fn seed(&self) -> Option<u32> {
        self.drawn.iter().rev().find_map(Sampler::seed).map(Seed::number)
    }

    /// Returns llama.cpp's counters since the chain was created or they were reset, or `None` unless the chain was
    /// built with [`perf(true)`](SamplerChainBuilder::perf).
    ///
    /// Corresponds to `llama_perf_sampler`.
    #[must_use]
    pub fn perf(&self) -> Option<SamplerPerf> {
        if !self.perf {
            return None;
        }
        // SAFETY: the sampler is a chain, as the function asserts; it copies numbers.
        let data = or_logged(unsafe { guarded!(llama_perf_sampler(self.raw.as_ptr())) }.map(Some), None)?;
        let n_sample = u32::try_from(data.n_sample).unwrap_or(0);
        Some(SamplerPerf { n_sample, time: crate::perf::milliseconds(data.t_sample_ms) })
    }

    /// Sets the counters to zero. Corresponds to `llama_perf_sampler_reset`.
    pub fn reset_perf(&mut self) {
        // SAFETY: the sampler is a chain, as the function asserts; it sets two numbers.
        or_logged(unsafe { guarded!(llama_perf_sampler_reset(self.raw.as_ptr())) }, ());
    }

    /// Returns whether an earlier call failed inside llama.cpp, which makes the chain unusable.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poison.is_some()
    }

    /// Applies the chain to candidates that have been checked.
    fn run(&mut self, candidates: &mut Candidates) -> Result<Candidate> {
        let raw = self.raw.as_ptr();
        let mut array = candidates.raw_array();
        // Set before the call, which may fail after the selection.
        self.pending = matches!(self.samplers.last(), Some(Sampler::AdaptiveP(_)));
        // SAFETY: the chain is valid; the array points to as many candidates as it says, which nobody else uses
        // meanwhile, and C stays within them: samplers shorten the array or move its start forward.
        self.call(|| unsafe { guarded!(llama_sampler_apply(raw, &raw mut array)) })?;
        candidates.take_raw(&array);
        match candidates.selected() {
            // When all arithmetic overflowed or every candidate is masked, C's selection is meaningless.
            Some(selected) if selected.logit > f32::NEG_INFINITY && !selected.p.is_nan() => Ok(selected),
            Some(selected) if selected.logit == f32::NEG_INFINITY => Err(self.dead_end()),
            _ => {
                let reason = "the probabilities are NaN: the logits or the biases are too large";
                Err(sampler_error("chain", reason.to_owned()))
            }
        }
    }

    /// Applies only the sampler at an index of the chain.
    pub(super) fn apply_one(&mut self, index: i32, data: &mut [llama_sys::llama_token_data]) -> Result<()> {
        let raw = self.raw.borrow();
        let mut array = llama_sys::llama_token_data_array {
            data: data.as_mut_ptr(),
            size: data.len(),
            selected: -1,
            sorted: false,
        };
        self.call(|| {
            // SAFETY: the chain is valid and has that sampler; the array is as long as it says and not empty.
            unsafe { guarded!(llama_sampler_apply(raw.sampler(index), &raw mut array)) }
        })
    }

    fn accept_checked(&mut self, token: Token) -> Result<()> {
        let chain = Shared(self.raw.as_ptr());
        // SAFETY: the chain is valid, and the token was selected from its vocabulary or checked.
        let accept = move || unsafe { guarded!(llama_sampler_accept(chain.get(), token.get())) };
        let stack = self.count(token)?;
        self.pending = false;
        self.highest = self.highest.max(token.get());
        let result = match stack {
            Some(stack) => large_stack::run(stack, move || log::explain(accept))?,
            None => log::explain(accept),
        };
        match result {
            Err(error) if grammars::is_misfit(&error) => {
                self.stuck = true;
                self.raise()?;
                Err(error.map_kind(|_| grammars::misfit()))
            }
            result => self.finish(result),
        }
    }

    pub(super) fn check_not_pending(&self) -> Result<()> {
        if !self.pending {
            return Ok(());
        }
        let reason = "a token was selected but not accepted: accept one or reset before making a copy";
        Err(sampler_error("adaptive-p", reason.to_owned()))
    }

    fn check_row(&self, length: usize) -> Result<()> {
        match self.n_vocab {
            Some(n_vocab) if n_vocab != length => {
                let reason = format!(
                    "it was made for a vocabulary of {n_vocab} tokens, but the row has {length} logits: use the same model"
                );
                Err(sampler_error("chain", reason))
            }
            _ if length == 0 || i32::try_from(length).is_err() => {
                Err(sampler_error("chain", format!("the row has {length} logits")))
            }
            _ => Ok(()),
        }
    }

    fn check_token(&self, token: Token) -> Result<()> {
        match self.n_vocab {
            Some(n_vocab) => token.check(n_vocab),
            None if (0..i32::MAX).contains(&token.get()) => Ok(()),
            None => {
                Err(sampler_error("chain", format!("token {token} is out of range: no vocabulary has it")))
            }
        }
    }

    /// Runs a call into the chain. A contained failure poisons the chain.
    fn call<R>(&mut self, call: impl FnOnce() -> Result<R>) -> Result<R> {
        let result = log::explain(call);
        self.finish(result)
    }

    fn call_on_large_stack(&mut self, stack: usize, call: impl FnOnce() -> Result<()> + Send) -> Result<()> {
        // If the call does not run, the chain is unchanged.
        let result = large_stack::run(stack, || log::explain(call))?;
        self.finish(result)
    }

    fn finish<R>(&mut self, result: Result<R>) -> Result<R> {
        let result = self.poison_after(result);
        self.raise()?;
        result
    }

    fn poison_after<R>(&mut self, result: Result<R>) -> Result<R> {
        if let Err(error) = &result
            && !error.is_before_call()
        {
            self.poison = Some(error.kind().to_string());
        }
        result
    }

    /// Tells custom samplers the size of the vocabulary that the other samplers were made for.
    fn tell_n_vocab(&self) {
        let Some(n_vocab) = self.n_vocab else { return };
        for index in self.customs() {
            // SAFETY: the chain has a C sampler for each of `samplers`, at the same index.
            unsafe { custom::set_n_vocab(&self.raw, index, n_vocab) };
        }
    }

    /// Returns the indices of custom samplers.
    fn customs(&self) -> impl Iterator<Item = i32> {
        let all = (0..).zip(self.samplers.iter());
        all.filter(|(_, sampler)| matches!(sampler, Sampler::Custom(_))).map(|(index, _)| index)
    }

    /// Resumes a panic of a custom sampler, or returns the error that one has recorded.
    fn raise(&self) -> Result<()> {
        let mut result = Ok(());
        for index in self.customs() {
            // SAFETY: the chain has a C sampler for each of `samplers`, at the same index.
            match unsafe { custom::take_trouble(&self.raw, index) } {
                Some(Trouble::Panic(payload)) => std::panic::resume_unwind(payload),
                Some(Trouble::Flaw(name, flaw)) => {
                    result = Err(sampler_error("custom", format!("`{name}`: {flaw}")));
                }
                None => {}
            }
        }
        result
    }

    /// Refuses a chain that is poisoned or that can only be reset.
    pub(super) fn check_poison(&self) -> Result<()> {
        self.check_whole()?;
        if self.stuck { Err(grammars::misfit().into()) } else { Ok(()) }
    }

    /// Refuses a poisoned chain.
    pub(super) fn check_whole(&self) -> Result<()> {
        match &self.poison {
            None => Ok(()),
            Some(cause) => Err(ErrorKind::Poisoned { object: "sampler chain", cause: cause.clone() }.into()),
        }
    }
}

impl core::fmt::Debug for SamplerChain {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SamplerChain")
            .field("samplers", &self.samplers)
            .field("n_vocab", &self.n_vocab)
            .field("poison", &self.poison)
            .finish_non_exhaustive()
    }
}

/// The chain's pointer, sent to the thread with the large stack.
#[derive(Clone, Copy)]
struct Shared(*mut llama_sys::llama_sampler);

// SAFETY: the chain may be used by any one thread at a time (see `RawChain`), and the thread that sends the
// pointer waits for the other one.
unsafe impl Send for Shared {}

impl Shared {
    fn get(self) -> *mut llama_sys::llama_sampler {
        self.0
    }
}

fn flawed(flaw: Flaw) -> Error {
    match flaw {
        Flaw::NotANumber => {
            let reason = "some logits are NaN: the computation before it went wrong";
            sampler_error("chain", reason.to_owned())
        }
        Flaw::AllMasked => {
            let reason = "no logit is above negative infinity: there is nothing to select from";
            ErrorKind::DeadEnd { name: "chain", reason }.into()
        }
    }
}

fn sampler_error(name: &'static str, reason: String) -> Error {
    ErrorKind::Sampler { name, reason }.into()
}
