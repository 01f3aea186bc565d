//! Samplers that the context runs itself, on the device that computes its logits.

use core::cell::Cell;
use core::ops::Deref;
use std::collections::BTreeMap;

use super::Context;
use crate::batch::Batch;
use crate::error::{ErrorKind, ParameterProblem, Result};
use crate::ffi::guard::guarded;
use crate::sampler::{SamplerChain, check_sampled};
use crate::token::{SeqId, Token};

/// Maximum number of samplers on the device, counted for each output that a batch can have. Each adds up to thirty
/// nodes to the graph, for each of which ggml's scheduler reserves 20 kB (ggml-backend.cpp,
/// `ggml_backend_sched_new`).
const MAX_IN_GRAPH: usize = 4096;

/// The samplers of a context's sequences. C has pointers to their chains, so they are freed after the context.
#[derive(Default)]
pub(super) struct Samplers {
    chains: BTreeMap<i32, SamplerChain>,
    /// The sequence whose sampler has processed each entry of the last batch; empty if there were no samplers.
    rows: Vec<Option<i32>>,
    /// Number of outputs that a batch has for each sequence, kept to reuse the memory.
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

    /// Records which entries of a decoded batch were sampled.
    pub(super) fn set_rows(&mut self, batch: &Batch, outputs: &[bool]) {
        if self.is_empty() {
            return;
        }
        let seq_of = |seq_ids: &[i32]| seq_ids.first().copied().filter(|it| self.chains.contains_key(it));
        let rows = batch.entries().zip(outputs);
        self.rows.extend(rows.map(|(entry, output)| seq_of(entry.seq_ids).filter(|_| *output)));
    }
}

/// Mutable access to the sampler of a sequence. It dereferences to its [`SamplerChain`].
#[derive(Debug)]
pub struct AttachedSampler<'c> {
    chain: &'c mut SamplerChain,
}

impl AttachedSampler<'_> {
    /// Accepts a token that was not [sampled](Context::sample): see [`SamplerChain::accept`].
    ///
    /// # Errors
    ///
    /// The errors of [`SamplerChain::accept`].
    pub fn accept(&mut self, token: Token) -> Result<()> {
        self.chain.accept(token)
    }

    /// Accepts the tokens of a prompt: see [`SamplerChain::accept_prompt`].
    ///
    /// # Errors
    ///
    /// The errors of [`SamplerChain::accept_prompt`].
    pub fn accept_prompt(&mut self, tokens: &[Token]) -> Result<()> {
        self.chain.accept_prompt(tokens)
    }

    /// Restores the initial state: see [`SamplerChain::reset`].
    ///
    /// # Errors
    ///
    /// The errors of [`SamplerChain::reset`].
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
    /// Attaches a chain that samples the sequence's tokens on the device that computes their logits, as part of
    /// every batch. The device then returns a token rather than a row as long as the vocabulary. The context owns
    /// the chain.
    ///
    /// The leading samplers of the chain run on the device, up to the first one that the device does not support, or
    /// whose result would differ there from the CPU's. [`sample`](Context::sample) runs the remaining ones on the
    /// CPU. Devices support greedy, dist, top-k, top-p, min-p, temperature and its dynamic form, penalties, and
    /// logit bias. With random numbers the distribution equals the CPU's, but the token may differ.
    ///
    /// The results of the last batch are discarded, and [`logits`](Context::logits) of the sequence's tokens are no
    /// longer available. A batch can have at most
    /// [`n_outputs_max_per_seq`](crate::ContextParams::n_outputs_max_per_seq) outputs of the sequence, and none for
    /// tokens that the sequence shares with others. llama.cpp plans its buffers again at the next batch, so set
    /// samplers before the first one.
    ///
    /// Returns the previous chain in its current state, unless it is unusable.
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
    /// [`ErrorKind::Unsupported`] if none of the chain's samplers would run on the device, which
    /// [`n_samplers_for_device`](Context::n_samplers_for_device) tells beforehand. [`ErrorKind::Sampler`] for a
    /// chain of another vocabulary, and the errors of [`SamplerChain::try_clone`]. [`ErrorKind::InvalidParameter`]
    /// if the samplers of all sequences, times `n_outputs_max_per_seq`, are too many for a graph.
    /// [`ErrorKind::InvalidSeqId`], [`ErrorKind::Poisoned`].
    ///
    /// # Panics
    ///
    /// Resumes a panic of [`CustomSampler`](crate::sampler::CustomSampler)'s `clone`.
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
            // It is unusable.
            Err(_) if self.sampler(seq_id).is_some_and(|chain| !chain.is_usable()) => None,
            before => before?,
        };
        self.discard_outputs()?;
        let sampler = attached.as_ptr();
        // SAFETY: the context and the chain are valid, and the chain is freed after the context, or after the
        // context has been told to forget it. It is in the form for contexts, and has not been passed to one before.
        if self.call(|raw| unsafe { guarded!(llama_set_sampler(raw, seq_id.get(), sampler)) })? {
            self.attached.samplers.chains.insert(seq_id.get(), attached);
            return Ok(before);
        }
        // C has forgotten the previous one nevertheless (llama-context.cpp, set_sampler).
        self.attached.samplers.chains.remove(&seq_id.get());
        let reason = "llama.cpp refused the sampler: sample on the CPU".to_owned();
        Err(ErrorKind::Unsupported { operation: "sampling on the device", reason }.into())
    }

    /// Removes the sequence's sampler, if it has one, and returns it in its current state. The results of the last
    /// batch are discarded.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidSeqId`], [`ErrorKind::Poisoned`], and the errors of [`SamplerChain::try_clone`]. A chain
    /// whose error says that it is unusable is dropped.
    ///
    /// # Panics
    ///
    /// Panics like [`Context::set_sampler`].
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

    /// Returns how many leading samplers of a chain this context could run on its device; 0 if
    /// [`set_sampler`](Context::set_sampler) would refuse the chain for that reason.
    #[must_use]
    pub fn n_samplers_for_device(&self, chain: &SamplerChain) -> usize {
        if !self.has_memory() || self.model().params().splits_tensors() {
            return 0;
        }
        chain.n_for_device(self.n_vocab(), self.outputs_per_seq())
    }

    /// Returns the sequence's sampler, or `None` for a sequence without one.
    #[must_use]
    pub fn sampler(&self, seq_id: SeqId) -> Option<&SamplerChain> {
        self.attached.samplers.chains.get(&seq_id.get())
    }

    /// Returns mutable access to the sequence's sampler, or `None` for a sequence without one.
    pub fn sampler_mut(&mut self, seq_id: SeqId) -> Option<AttachedSampler<'_>> {
        self.attached.samplers.chains.get_mut(&seq_id.get()).map(|chain| AttachedSampler { chain })
    }

    /// Selects a token from the device's result for the token at `index` in the last batch, with the samplers of its
    /// sequence that run on the CPU, and accepts it. Call it once for each output, in the order of the batch.
    ///
    /// # Errors
    ///
    /// The errors of [`Context::sampled`] and [`SamplerChain::sample_logits`].
    ///
    /// # Panics
    ///
    /// Panics like [`SamplerChain::sample_logits`].
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

    /// Returns the sequence whose sampler has processed an entry of the last batch.
    pub(crate) fn sampled_seq(&self, index: i32) -> Option<i32> {
        let index = usize::try_from(index).ok()?;
        self.attached.samplers.rows.get(index).copied().flatten()
    }

    /// Refuses batches that C refuses with code -1, or would compute without the samplers.
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
                    "sequence {seq_id} has a sampler on the device: ask for outputs only of tokens that it does not share"
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

    /// Refuses samplers that would make the graph too large.
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

    /// Returns the number of outputs per sequence, as resolved in llama-context.cpp.
    fn outputs_per_seq(&self) -> u32 {
        self.params.outputs_per_seq(self.limits.n_outputs_max)
    }

    fn why_no_sampler(&self, chain: &SamplerChain) -> String {
        if !self.has_memory() {
            return "models without memory do not support samplers on the device".to_owned();
        }
        if self.model().params().splits_tensors() {
            return "its tensors are split among several devices (SplitMode::Tensor)".to_owned();
        }
        let first = chain.samplers().first().map_or("chain", crate::Sampler::name);
        format!(
            "the chain starts with {first}, which runs on the CPU with these values: use the chain itself"
        )
    }
}
