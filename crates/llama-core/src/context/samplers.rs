//! Samplers that the context runs itself, on the device where its logits are computed.

use core::cell::Cell;
use core::ops::Deref;
use std::collections::BTreeMap;

use super::Context;
use crate::batch::Batch;
use crate::error::{ErrorKind, ParameterProblem, Result};
use crate::ffi::guard::guarded;
use crate::sampler::{SamplerChain, check_sampled};
use crate::token::{SeqId, Token};

/// The most samplers on the device, counted for each result that a batch can have. Each is up to thirty nodes of the
/// graph, for each of which ggml's scheduler reserves 20 kB (ggml-backend.cpp, `ggml_backend_sched_new`).
const MAX_IN_GRAPH: usize = 4096;

/// The samplers of a context's sequences. C has pointers to their chains, so that they are freed after the context.
#[derive(Default)]
pub(super) struct Samplers {
    chains: BTreeMap<i32, SamplerChain>,
    /// For each entry of the last batch the sequence whose sampler has worked on it; empty when there were no samplers.
    rows: Vec<Option<i32>>,
    /// How many results a batch wants of each sequence; here so that it is not made anew.
    counts: Cell<Vec<u32>>,
}

impl Samplers {
    pub(super) fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// Forgets the last batch.
    pub(super) fn clear_rows(&mut self) {
        self.rows.clear();
    }

    /// Notes which entries of a batch that was decoded were sampled.
    pub(super) fn set_rows(&mut self, batch: &Batch, outputs: &[bool]) {
        if self.is_empty() {
            return;
        }
        let seq_of = |seq_ids: &[i32]| seq_ids.first().copied().filter(|it| self.chains.contains_key(it));
        let rows = batch.entries().zip(outputs);
        self.rows.extend(rows.map(|(entry, output)| seq_of(entry.seq_ids).filter(|_| *output)));
    }
}

/// The sampler of a sequence, to tell it of tokens. It is read as the [`SamplerChain`] that it is.
#[derive(Debug)]
pub struct AttachedSampler<'c> {
    chain: &'c mut SamplerChain,
}

impl AttachedSampler<'_> {
    /// As [`SamplerChain::accept`], for tokens that were not [sampled](Context::sample).
    ///
    /// # Errors
    ///
    /// As [`SamplerChain::accept`].
    pub fn accept(&mut self, token: Token) -> Result<()> {
        self.chain.accept(token)
    }

    /// As [`SamplerChain::accept_prompt`].
    ///
    /// # Errors
    ///
    /// As [`SamplerChain::accept_prompt`].
    pub fn accept_prompt(&mut self, tokens: &[Token]) -> Result<()> {
        self.chain.accept_prompt(tokens)
    }

    /// As [`SamplerChain::reset`].
    ///
    /// # Errors
    ///
    /// As [`SamplerChain::reset`].
    pub fn reset(&mut self) -> Result<()> {
        self.chain.reset()
    }
}

impl Deref for AttachedSampler<'_> {
    type Target = SamplerChain;

    fn deref(&self) -> &SamplerChain {
        self.chain
    }
}

impl Context {
    /// Lets a chain sample the sequence's tokens where their logits are computed, as part of every batch: what comes back
    /// is a token rather than a row as long as the vocabulary. The context owns the chain from then on.
    ///
    /// Of the chain, the samplers at its beginning run on the device, up to the first one that it has no functions for,
    /// or that would not do there what it does on the CPU; [`sample`](Context::sample) runs the rest on the CPU. On
    /// devices there are greedy, dist, top-k, top-p, min-p, temperature and its dynamic form, penalties, and logit bias.
    /// With random numbers the distribution is the same as on the CPU, but not in every case the token.
    ///
    /// The results of the last batch are gone, and [`logits`](Context::logits) of the sequence's tokens are not to be had
    /// any more. A batch can have as many results of the sequence as
    /// [`n_outputs_max_per_seq`](crate::ContextParams::n_outputs_max_per_seq) says, and no results of tokens that the
    /// sequence shares with others. llama.cpp plans its buffers anew with the next batch, so that the samplers are best
    /// set before the first one.
    ///
    /// Returns the chain that was there before, in its present state, unless it cannot be used any more.
    ///
    /// ```
    /// use llama_core::{Batch, Context, ContextParams, Model, ModelParams, Pos, SamplerChain, SeqId, TokenizeOptions};
    ///
    /// # fn main() -> Result<(), llama_core::Error> {
    /// # let model = Model::load(test_models::Tiny::Llama.path(), &ModelParams::default())?;
    /// let mut context = Context::new(&model, &ContextParams::default())?;
    /// let chain = SamplerChain::builder().top_k(40).top_p(0.95).temperature(0.8).dist(42).build()?;
    /// context.set_sampler(SeqId::new(0), chain)?;
    /// assert_eq!(context.sampler(SeqId::new(0)).map(SamplerChain::n_on_device), Some(4));
    ///
    /// let mut batch = Batch::new();
    /// batch.push_prompt(&model.vocab().tokenize("Hello", TokenizeOptions::default())?, SeqId::new(0), Pos::new(0))?;
    /// context.decode(&batch)?;
    /// let token = context.sample(batch.last_output())?;
    /// # let _ = token;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] when none of the chain's samplers would run on the device, which
    /// [`n_samplers_for_device`](Context::n_samplers_for_device) tells beforehand. [`ErrorKind::Sampler`] for a chain of
    /// another vocabulary, and as [`SamplerChain::try_clone`]. [`ErrorKind::InvalidParameter`] when all sequences' samplers
    /// together, times `n_outputs_max_per_seq`, are too many for a graph. [`ErrorKind::InvalidSeqId`],
    /// [`ErrorKind::Poisoned`].
    ///
    /// # Panics
    ///
    /// Goes on with a panic of copying a [`CustomSampler`](crate::CustomSampler).
    ///
    /// Corresponds to `llama_set_sampler`.
    #[allow(clippy::needless_pass_by_value, reason = "the context owns the chain, in another form")]
    pub fn set_sampler(&mut self, seq_id: SeqId, chain: SamplerChain) -> Result<Option<SamplerChain>> {
        self.check_poison()?;
        self.check_seq_id(seq_id)?;
        let attached = chain.for_device(self.n_vocab(), self.outputs_per_seq())?;
        if self.n_samplers_for_device(&chain) == 0 {
            let reason = self.why_no_sampler(&chain);
            return Err(ErrorKind::Unsupported { operation: "sampling on the device", reason }.into());
        }
        self.check_room(seq_id, &chain)?;
        let before = match self.detached(seq_id) {
            // It would not be of use to anybody.
            Err(_) if self.sampler(seq_id).is_some_and(|chain| !chain.is_usable()) => None,
            before => before?,
        };
        self.discard_outputs()?;
        let sampler = attached.as_ptr();
        // SAFETY: the context and the chain are valid, and the chain is freed after the context, or after the context
        // was told to forget it. It is in the form that can be given to a context, and new to one.
        if self.call(|raw| unsafe { guarded!(llama_set_sampler(raw, seq_id.get(), sampler)) })? {
            self.attached.samplers.chains.insert(seq_id.get(), attached);
            return Ok(before);
        }
        // C has forgotten the earlier one all the same (llama-context.cpp, set_sampler).
        self.attached.samplers.chains.remove(&seq_id.get());
        let reason = "llama.cpp refused the sampler: sample on the CPU".to_owned();
        Err(ErrorKind::Unsupported { operation: "sampling on the device", reason }.into())
    }

    /// Gives back the sequence's sampler, in its present state, if it has one. The results of the last batch are gone.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSeqId`], [`ErrorKind::Poisoned`], and as [`SamplerChain::try_clone`]. A chain that cannot be used
    /// any more, as its error says, is dropped.
    ///
    /// # Panics
    ///
    /// As [`Context::set_sampler`].
    ///
    /// Corresponds to `llama_set_sampler`.
    pub fn remove_sampler(&mut self, seq_id: SeqId) -> Result<Option<SamplerChain>> {
        self.check_poison()?;
        self.check_seq_id(seq_id)?;
        let Some(attached) = self.sampler(seq_id) else {
            return Ok(None);
        };
        let (is_usable, chain) = (attached.is_usable(), attached.detached());
        if is_usable && chain.is_err() {
            return chain.map(Some);
        }
        self.discard_outputs()?;
        // SAFETY: the context is valid; NULL makes it forget the sequence's sampler.
        self.call(|raw| unsafe { guarded!(llama_set_sampler(raw, seq_id.get(), core::ptr::null_mut())) })?;
        self.attached.samplers.chains.remove(&seq_id.get());
        chain.map(Some)
    }

    /// How many samplers of a chain, from the first one on, this context could run on its device; 0 when
    /// [`set_sampler`](Context::set_sampler) would refuse the chain for that.
    #[must_use]
    pub fn n_samplers_for_device(&self, chain: &SamplerChain) -> usize {
        if !self.has_memory() || self.model().params().splits_tensors() {
            return 0;
        }
        chain.n_for_device(self.n_vocab(), self.outputs_per_seq())
    }

    /// The sequence's sampler. `None` for a sequence without one.
    #[must_use]
    pub fn sampler(&self, seq_id: SeqId) -> Option<&SamplerChain> {
        self.attached.samplers.chains.get(&seq_id.get())
    }

    /// The sequence's sampler, to tell it of tokens. `None` for a sequence without one.
    pub fn sampler_mut(&mut self, seq_id: SeqId) -> Option<AttachedSampler<'_>> {
        self.attached.samplers.chains.get_mut(&seq_id.get()).map(|chain| AttachedSampler { chain })
    }

    /// Selects a token from what the device has left of the logits of the token at `index` in the last batch, with the
    /// samplers of its sequence that run on the CPU, and accepts it. Once for each output, in the order of the batch.
    ///
    /// # Errors
    ///
    /// As [`Context::sampled`] and [`SamplerChain::sample_logits`].
    ///
    /// # Panics
    ///
    /// As [`SamplerChain::sample_logits`].
    ///
    /// Corresponds to `llama_sampler_sample`.
    pub fn sample(&mut self, index: impl Into<Option<usize>>) -> Result<Token> {
        let index = index.into();
        let seq_id = self.check_output(index, "sampled token").map(|index| self.sampled_seq(index))?;
        let mut candidates = seq_id
            .and_then(|seq_id| self.attached.samplers.chains.get_mut(&seq_id))
            .map(|chain| core::mem::take(chain.candidates_mut()))
            .unwrap_or_default();
        let token = check_sampled(&self.sampled(index)?, &mut candidates)?;
        let Some(chain) = seq_id.and_then(|seq_id| self.attached.samplers.chains.get_mut(&seq_id)) else {
            // Changing the samplers discards the results.
            return Err(crate::logits::no_output(0, "sampled token", "its sequence has no sampler"));
        };
        let result = chain.finish_sampled(token, &mut candidates);
        *chain.candidates_mut() = candidates;
        result
    }

    /// The sequence whose sampler has worked on an entry of the last batch.
    pub(crate) fn sampled_seq(&self, index: i32) -> Option<i32> {
        let index = usize::try_from(index).ok()?;
        self.attached.samplers.rows.get(index).copied().flatten()
    }

    /// Refuses what C refuses with code -1, and what it would compute without the samplers.
    pub(super) fn check_samplers(&self, batch: &Batch, all_outputs: bool) -> Result<()> {
        if self.attached.samplers.chains.is_empty() {
            return Ok(());
        }
        let limit = self.outputs_per_seq();
        let mut counts = self.attached.samplers.counts.take();
        counts.clear();
        counts.resize(self.limits.n_seq_max as usize, 0);
        for (entry, _) in
            batch.entries().zip(&batch.outputs).filter(|(_, output)| all_outputs || **output != 0)
        {
            let mut sampled =
                entry.seq_ids.iter().filter(|it| self.attached.samplers.chains.contains_key(it));
            let Some(seq_id) = sampled.next() else { continue };
            if super::positions::is_shared(entry) {
                let reason = format!(
                    "sequence {seq_id} has a sampler on the device: ask for the results of tokens that are only its own"
                );
                return Err(
                    ErrorKind::Unsupported { operation: "a result for several sequences", reason }.into()
                );
            }
            let count = usize::try_from(*seq_id).ok().and_then(|seq_id| counts.get_mut(seq_id));
            if count.is_some_and(|count| core::mem::replace(count, *count + 1) >= limit) {
                let expected = format!(
                    "at least the results that the batch wants of sequence {seq_id}, which has a sampler on the device: \
                     ask for fewer, or create the context with a larger n_outputs_max_per_seq"
                );
                return Err(ParameterProblem::new("n_outputs_max_per_seq", limit, expected).into());
            }
        }
        self.attached.samplers.counts.set(counts);
        Ok(())
    }

    /// Refuses samplers that the graph would become too large with.
    fn check_room(&self, seq_id: SeqId, chain: &SamplerChain) -> Result<()> {
        let others = self
            .attached
            .samplers
            .chains
            .iter()
            .filter(|(id, _)| **id != seq_id.get())
            .map(|(_, chain)| chain);
        let n_samplers: usize = others.chain([chain]).map(|chain| self.n_samplers_for_device(chain)).sum();
        let outputs = self.outputs_per_seq();
        if n_samplers.saturating_mul(outputs as usize) <= MAX_IN_GRAPH {
            return Ok(());
        }
        let reason = format!(
            "smaller: the sequences have {n_samplers} samplers on the device, each of which is there for every result that a \
             batch can have of a sequence, and at most {MAX_IN_GRAPH} fit into a graph"
        );
        Err(ParameterProblem::new("n_outputs_max_per_seq", outputs, reason).into())
    }

    fn detached(&self, seq_id: SeqId) -> Result<Option<SamplerChain>> {
        self.sampler(seq_id).map(SamplerChain::detached).transpose()
    }

    /// As llama-context.cpp resolves it.
    fn outputs_per_seq(&self) -> u32 {
        self.params.outputs_per_seq(self.limits.n_outputs_max)
    }

    fn why_no_sampler(&self, chain: &SamplerChain) -> String {
        if !self.has_memory() {
            return "models without memory are computed without samplers".to_owned();
        }
        if self.model().params().splits_tensors() {
            return "its tensors are divided among several devices (SplitMode::Tensor)".to_owned();
        }
        let first = chain.samplers().first().map_or("chain", crate::Sampler::name);
        format!(
            "the chain begins with {first}, which runs on the CPU with these values: use the chain itself"
        )
    }
}
