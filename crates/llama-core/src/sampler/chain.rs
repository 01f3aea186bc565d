//! The chain at work.

use core::ffi::CStr;
use std::sync::Arc;

use super::builder::SamplerChainBuilder;
use super::candidates::{Candidate, Candidates, Flaw};
use super::kind::Sampler;
use super::perf::SamplerPerf;
use super::raw::RawChain;
use super::{check, create, large_stack};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::guard::guard;
use crate::model::Model;
use crate::token::Token;
use crate::{backend, log};

/// Samplers that work one after the other, the last of which selects the token. Corresponds to
/// `llama_sampler_chain_init`.
///
/// Samplers have a state (random numbers, the last tokens, the place in a grammar), so that a chain belongs
/// to one sequence. It keeps the models that its samplers were made for. It can move to another thread but
/// not be used by two at once: `Send`, not `Sync`.
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
    perf: bool,
    /// The size of the vocabulary that samplers were made for.
    n_vocab: Option<usize>,
    /// The row that is sampled from; here so that it is not made anew.
    candidates: Candidates,
    waiting: Option<Waiting>,
    /// Whether adaptive-p has selected a token that was not accepted yet.
    pending: bool,
    poison: Option<String>,
}

/// A lazy grammar that waits for a pattern: `std::regex` goes over all text so far, by recursion.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// Stack for each byte.
    per_byte: usize,
    /// Bytes accepted so far.
    bytes: usize,
}

impl SamplerChain {
    /// The seed that stands for one drawn at random, again with every [`reset`](SamplerChain::reset).
    ///
    /// Corresponds to `LLAMA_DEFAULT_SEED`.
    pub const RANDOM_SEED: u32 = llama_sys::LLAMA_DEFAULT_SEED;

    /// Begins a chain.
    pub fn builder() -> SamplerChainBuilder {
        SamplerChainBuilder::default()
    }

    pub(super) fn new(builder: SamplerChainBuilder) -> Result<Self> {
        backend::init();
        let SamplerChainBuilder { samplers, perf } = builder;
        let n_vocab = check::check(&samplers)?;
        let mut raw = RawChain::new(perf)?;
        for sampler in &samplers {
            create::add(&mut raw, sampler, n_vocab)?;
        }
        let waiting = waiting(&samplers);
        Ok(Self {
            raw,
            samplers: samplers.into(),
            perf,
            n_vocab,
            candidates: Candidates::new(),
            waiting,
            pending: false,
            poison: None,
        })
    }

    /// Selects a token from the logits of the token at `index` in the context's last batch, and accepts it:
    /// it counts for penalties, grammars and so on. [`Batch::last_output`](crate::Batch::last_output) can be
    /// given as it is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoOutput`] when the token has no logits; as [`SamplerChain::sample_logits`] for the rest.
    ///
    /// Corresponds to `llama_sampler_sample`.
    pub fn sample(&mut self, context: &mut Context, index: impl Into<Option<usize>>) -> Result<Token> {
        self.check_poison()?;
        self.sample_logits(&context.logits(index)?)
    }

    /// Selects a token from a row of logits, the first of which is token 0's, and accepts it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sampler`] when the row is not as long as the vocabulary that the chain was made for, has
    /// logits that are not numbers, or has none above negative infinity, and when the samplers have masked
    /// every candidate, as a grammar does that no token fits. The chain can be used again then, after a
    /// [`reset`](SamplerChain::reset) at the latest. [`ErrorKind::Poisoned`], and the errors of containment.
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

    /// Lets the samplers work on candidates, and select one. Nothing is accepted: random numbers are used up,
    /// the rest of the samplers' state stays.
    ///
    /// # Errors
    ///
    /// As [`SamplerChain::sample_logits`]; [`ErrorKind::Sampler`] for no candidates, and for tokens that are
    /// outside the vocabulary that the chain was made for or negative.
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

    /// Tells the samplers that the sequence goes on with this token, for tokens that were not sampled here.
    /// [`sample`](SamplerChain::sample) does it by itself. For the tokens of a prompt, to which grammars do
    /// not apply, use [`accept_prompt`](SamplerChain::accept_prompt).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidToken`] and [`ErrorKind::Sampler`] for a token that is outside the vocabulary, or
    /// that a grammar of the chain does not allow here; the chain is as before. [`ErrorKind::Poisoned`], and
    /// the errors of containment: a lazy grammar may find that what follows its trigger does not fit.
    ///
    /// Corresponds to `llama_sampler_accept`.
    pub fn accept(&mut self, token: Token) -> Result<()> {
        self.check_poison()?;
        self.check_token(token)?;
        self.check_grammars(token)?;
        self.accept_checked(token)
    }

    /// Tells the samplers, all but grammars, which tokens come before the generation, so that penalties and
    /// DRY count them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidToken`] and [`ErrorKind::Sampler`] for a token outside the vocabulary; nothing is
    /// accepted then. [`ErrorKind::Poisoned`], and the errors of containment.
    ///
    /// Corresponds to `llama_sampler_accept`.
    pub fn accept_prompt(&mut self, tokens: &[Token]) -> Result<()> {
        self.check_poison()?;
        for token in tokens {
            self.check_token(*token)?;
        }
        let raw = self.raw.as_ptr();
        let samplers = Arc::clone(&self.samplers);
        self.pending = false;
        self.call(|| {
            for (index, _) in (0..).zip(samplers.iter()).filter(|(_, it)| !matches!(it, Sampler::Grammar(_)))
            {
                // SAFETY: the chain is valid and has a sampler for each of ours, in the same order.
                let sampler = unsafe { llama_sys::llama_sampler_chain_get(raw, index) };
                for token in tokens {
                    // SAFETY: the sampler is valid while the chain is.
                    unsafe { llama_sys::llama_sampler_accept(sampler, token.get()) };
                }
            }
        })
    }

    /// Puts the samplers into the state that they began with: no last tokens, random numbers from the seed
    /// on, grammars at their beginning.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`], and the errors of containment.
    ///
    /// Corresponds to `llama_sampler_reset`.
    pub fn reset(&mut self) -> Result<()> {
        self.check_poison()?;
        self.pending = false;
        self.waiting = waiting(&self.samplers);
        let chain = Shared(self.raw.as_ptr());
        // SAFETY: the chain is valid.
        let reset = move || unsafe { llama_sys::llama_sampler_reset(chain.get()) };
        match self.waiting {
            // Patterns are compiled again.
            Some(_) => self.call_on_large_stack(large_stack::needed(0, 0), reset),
            None => self.call(reset),
        }
    }

    /// An independent chain in the same state. Not `Clone`, because it can fail.
    ///
    /// The random numbers go on in both alike, with one exception in llama.cpp: those of adaptive-p begin
    /// again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sampler`] for a chain with adaptive-p between [`apply`](SamplerChain::apply) and
    /// [`accept`](SamplerChain::accept): llama.cpp does not copy what it needs then. [`ErrorKind::Poisoned`],
    /// and the errors of containment.
    ///
    /// Corresponds to `llama_sampler_clone`.
    pub fn try_clone(&self) -> Result<Self> {
        self.check_poison()?;
        if self.pending {
            let reason =
                "a token was selected and not accepted yet: accept one or reset before making a copy";
            return Err(sampler_error("adaptive-p", reason.to_owned()));
        }
        Ok(Self {
            raw: log::explain(|| self.raw.try_clone())?,
            samplers: Arc::clone(&self.samplers),
            perf: self.perf,
            n_vocab: self.n_vocab,
            candidates: Candidates::new(),
            waiting: self.waiting,
            pending: false,
            poison: None,
        })
    }

    /// The samplers, as they were given.
    #[must_use]
    pub fn samplers(&self) -> &[Sampler] {
        &self.samplers
    }

    /// The number of samplers. Corresponds to `llama_sampler_chain_n`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samplers.len()
    }

    /// Whether there are no samplers, which is never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samplers.is_empty()
    }

    /// llama.cpp's names of the samplers, in order. A sampler that is switched off by its values has a
    /// question mark in front: `?top-k`.
    ///
    /// Corresponds to `llama_sampler_chain_get` and `llama_sampler_name`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let name = |(index, _)| {
            // SAFETY: the chain is valid and has a sampler for each of ours; the name is a literal or a
            // string of the sampler.
            let name = unsafe {
                CStr::from_ptr(llama_sys::llama_sampler_name(llama_sys::llama_sampler_chain_get(
                    self.raw.as_ptr(),
                    index,
                )))
            };
            name.to_string_lossy().into_owned()
        };
        (0..).zip(self.samplers.iter()).map(name).collect()
    }

    /// The seed of the last sampler that uses random numbers, also when it was drawn; `None` without such a
    /// sampler, and for a drawn seed of XTC and adaptive-p, which llama.cpp does not tell.
    ///
    /// Corresponds to `llama_sampler_get_seed`.
    #[must_use]
    pub fn seed(&self) -> Option<u32> {
        let given = self.samplers.iter().rev().find_map(Sampler::seed)?;
        if given != Self::RANDOM_SEED {
            return Some(given);
        }
        // SAFETY: the chain is valid; the function reads numbers.
        let drawn = unsafe { llama_sys::llama_sampler_get_seed(self.raw.as_ptr()) };
        (drawn != Self::RANDOM_SEED).then_some(drawn)
    }

    /// llama.cpp's counters since the chain was made or they were reset; `None` unless the chain was built
    /// with [`perf(true)`](SamplerChainBuilder::perf).
    ///
    /// Corresponds to `llama_perf_sampler`.
    #[must_use]
    pub fn perf(&self) -> Option<SamplerPerf> {
        if !self.perf {
            return None;
        }
        // SAFETY: the sampler is a chain, as the function asserts; it copies numbers.
        let data = unsafe { llama_sys::llama_perf_sampler(self.raw.as_ptr()) };
        let n_sample = u32::try_from(data.n_sample).unwrap_or(0);
        Some(SamplerPerf { n_sample, time: crate::perf::milliseconds(data.t_sample_ms) })
    }

    /// Sets the counters to zero. Corresponds to `llama_perf_sampler_reset`.
    pub fn perf_reset(&mut self) {
        // SAFETY: the sampler is a chain, as the function asserts; it sets two numbers.
        unsafe { llama_sys::llama_perf_sampler_reset(self.raw.as_ptr()) };
    }

    /// Whether an earlier call failed inside llama.cpp, so that the chain cannot be used any more.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poison.is_some()
    }

    /// Applies the chain to candidates that have been checked.
    fn run(&mut self, candidates: &mut Candidates) -> Result<Candidate> {
        let raw = self.raw.as_ptr();
        let mut array = candidates.raw_array();
        // Before the call: it may fail after the selection.
        self.pending = matches!(self.samplers.last(), Some(Sampler::AdaptiveP(_)));
        // SAFETY: the chain is valid; the array points to as many candidates as it says, which nobody else
        // uses meanwhile, and C keeps to them: samplers shorten the array, or move its start forward.
        self.call(|| unsafe { llama_sys::llama_sampler_apply(raw, &raw mut array) })?;
        candidates.take_raw(&array);
        match candidates.selected() {
            // All arithmetic overflowed, or every candidate has been masked: what C selects then has no
            // meaning.
            Some(selected) if selected.logit > f32::NEG_INFINITY && !selected.p.is_nan() => Ok(selected),
            Some(selected) if selected.logit == f32::NEG_INFINITY => Err(self.dead_end()),
            _ => {
                let reason = "the probabilities are not numbers: the logits or the biases are too large";
                Err(sampler_error("chain", reason.to_owned()))
            }
        }
    }

    fn dead_end(&self) -> Error {
        let (name, reason) = if self.grammars().next().is_some() {
            let reason = "no candidate fits the grammar here: put it before samplers that remove candidates, or end the \
                          text here. `reset` begins anew";
            ("grammar", reason)
        } else {
            ("chain", "every candidate has been masked")
        };
        sampler_error(name, reason.to_owned())
    }

    /// The grammars, with their places in the chain.
    fn grammars(&self) -> impl Iterator<Item = (i32, &Model)> {
        (0..).zip(self.samplers.iter()).filter_map(|(index, sampler)| match sampler {
            Sampler::Grammar(grammar) => Some((index, &grammar.model)),
            _ => None,
        })
    }

    /// Refuses a token that a grammar does not allow: C would throw, half of the chain having accepted it.
    fn check_grammars(&mut self, token: Token) -> Result<()> {
        let samplers = Arc::clone(&self.samplers);
        for (index, sampler) in (0..).zip(samplers.iter()) {
            let Sampler::Grammar(grammar) = sampler else { continue };
            let mut data = llama_sys::llama_token_data { id: token.get(), logit: 0.0, p: 0.0 };
            self.apply_one(index, core::slice::from_mut(&mut data))?;
            // Tokens without text are masked, but C accepts them and stays where it is.
            if data.logit == f32::NEG_INFINITY && !piece(&grammar.model, token)?.is_empty() {
                let text = String::from_utf8_lossy(&piece(&grammar.model, token)?).into_owned();
                let reason = format!("it does not allow token {token} ({text:?}) here");
                return Err(sampler_error("grammar", reason));
            }
        }
        Ok(())
    }

    /// Applies the sampler at a place of the chain, and no other.
    pub(super) fn apply_one(&mut self, index: i32, data: &mut [llama_sys::llama_token_data]) -> Result<()> {
        let raw = self.raw.as_ptr();
        let mut array = llama_sys::llama_token_data_array {
            data: data.as_mut_ptr(),
            size: data.len(),
            selected: -1,
            sorted: false,
        };
        self.call(|| {
            // SAFETY: the chain is valid and has that sampler; the array is as long as it says and not empty.
            unsafe {
                llama_sys::llama_sampler_apply(
                    llama_sys::llama_sampler_chain_get(raw, index),
                    &raw mut array,
                );
            }
        })
    }

    fn accept_checked(&mut self, token: Token) -> Result<()> {
        let chain = Shared(self.raw.as_ptr());
        // SAFETY: the chain is valid, and the token was selected from its vocabulary or checked.
        let accept = move || unsafe { llama_sys::llama_sampler_accept(chain.get(), token.get()) };
        let stack = self.count(token)?;
        self.pending = false;
        match stack {
            Some(stack) => self.call_on_large_stack(stack, accept),
            None => self.call(accept),
        }
    }

    /// Counts the token's text while a lazy grammar waits for a pattern, and returns the stack that looking
    /// for the pattern may need.
    fn count(&mut self, token: Token) -> Result<Option<usize>> {
        let Some(mut waiting) = self.waiting else {
            return Ok(None);
        };
        let lengths = self.grammars().map(|(_, model)| piece(model, token).map(|piece| piece.len()));
        waiting.bytes += lengths.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or(0);
        let stack = large_stack::needed(waiting.per_byte, waiting.bytes);
        if stack <= large_stack::LIMIT {
            self.waiting = Some(waiting);
            return Ok(Some(stack));
        }
        if self.is_triggered()? {
            self.waiting = None;
            return Ok(None);
        }
        let reason = format!(
            "no trigger in {} bytes, and the patterns cannot be looked for in more: give words or tokens as triggers",
            waiting.bytes
        );
        Err(sampler_error("grammar", reason))
    }

    /// Whether every lazy grammar masks something, and so has found its trigger.
    fn is_triggered(&mut self) -> Result<bool> {
        let samplers = Arc::clone(&self.samplers);
        for (index, sampler) in (0..).zip(samplers.iter()) {
            let Sampler::Grammar(grammar) = sampler else { continue };
            let all = 0..grammar.model.vocab().n_tokens_raw();
            let mut data: Vec<_> =
                all.map(|id| llama_sys::llama_token_data { id, logit: 0.0, p: 0.0 }).collect();
            self.apply_one(index, &mut data)?;
            if data.iter().all(|data| data.logit == 0.0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn check_row(&self, length: usize) -> Result<()> {
        match self.n_vocab {
            Some(n_vocab) if n_vocab != length => {
                let reason = format!(
                    "it was made for a vocabulary of {n_vocab} tokens and the row has {length} logits: use the same model"
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
        let n_vocab = self.n_vocab.and_then(|n| i32::try_from(n).ok());
        if (0..n_vocab.unwrap_or(i32::MAX)).contains(&token.get()) {
            return Ok(());
        }
        match n_vocab {
            Some(n_vocab) => Err(ErrorKind::InvalidToken { token: token.get(), n_vocab }.into()),
            None => {
                Err(sampler_error("chain", format!("token {token} is out of range: no vocabulary has it")))
            }
        }
    }

    /// Runs a call into the chain. When it is contained the chain is poisoned.
    fn call<R>(&mut self, call: impl FnOnce() -> R) -> Result<R> {
        let result = log::explain(|| guard(call));
        self.poison_after(result)
    }

    fn call_on_large_stack(&mut self, stack: usize, call: impl FnOnce() + Send) -> Result<()> {
        // Not running the call leaves the chain as it was.
        let result = large_stack::run(stack, || log::explain(|| guard(call)))?;
        self.poison_after(result)
    }

    fn poison_after<R>(&mut self, result: Result<R>) -> Result<R> {
        if let Err(error) = &result {
            self.poison = Some(error.kind().to_string());
        }
        result
    }

    pub(super) fn check_poison(&self) -> Result<()> {
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

/// The chain's pointer on its way to the thread with the large stack.
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

/// The state of a chain whose grammars wait for patterns, `None` without such grammars.
fn waiting(samplers: &[Sampler]) -> Option<Waiting> {
    let triggers = samplers.iter().filter_map(|sampler| match sampler {
        Sampler::Grammar(grammar) => grammar.triggers.as_ref(),
        _ => None,
    });
    let per_byte =
        triggers.flat_map(|it| &it.patterns).map(|pattern| large_stack::per_byte(pattern)).max()?;
    Some(Waiting { per_byte, bytes: 0 })
}

/// The text of a token as grammars see it.
fn piece(model: &Model, token: Token) -> Result<Vec<u8>> {
    let mut bytes = model.vocab().token_to_bytes(token, true)?;
    if bytes.first() == Some(&0) {
        // C stops at a NUL byte.
        bytes.clear();
    }
    Ok(bytes)
}

fn flawed(flaw: Flaw) -> Error {
    let reason = match flaw {
        Flaw::NotANumber => "some logits are not numbers (NaN): the computation before it went wrong",
        Flaw::AllMasked => "no logit is above negative infinity: there is nothing to select from",
    };
    sampler_error("chain", reason.to_owned())
}

fn sampler_error(name: &'static str, reason: String) -> Error {
    ErrorKind::Sampler { name, reason }.into()
}
