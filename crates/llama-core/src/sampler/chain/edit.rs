//! Edits of a chain and of its state.

use std::sync::Arc;

use super::grammars::Waiting;
use super::{SamplerChain, sampler_error};
use crate::error::{ParameterProblem, Result};
use crate::ffi::guard::guarded;
use crate::log;
use crate::sampler::kind::Sampler;
use crate::sampler::raw::RawChain;
use crate::sampler::{check, create};

impl SamplerChain {
    /// Inserts a sampler before the one at `index`; the others keep their states. Since the last sampler selects the
    /// token, nothing can be inserted after it: see [`replace`](SamplerChain::replace).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameter`](crate::ErrorKind::InvalidParameter) for an index past the end, [`ErrorKind::InvalidSamplers`](crate::ErrorKind::InvalidSamplers) if the samplers
    /// would not be a valid chain, [`ErrorKind::Sampler`](crate::ErrorKind::Sampler) if llama.cpp could not create the sampler; the chain is
    /// unchanged. [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned), and the errors of containment.
    ///
    /// # Panics
    ///
    /// Resumes a panic of [`CustomSampler`](crate::sampler::CustomSampler)'s `clone`.
    ///
    /// Corresponds to `llama_sampler_chain_add`.
    pub fn insert(&mut self, index: usize, sampler: Sampler) -> Result<()> {
        self.check_index(index, self.len() + 1)?;
        let mut samplers = self.samplers.to_vec();
        samplers.insert(index, sampler);
        self.edit(index, samplers, 0)
    }

    /// Removes the sampler at `index` and its state, and returns the sampler.
    ///
    /// # Errors
    ///
    /// The errors of [`SamplerChain::insert`]; the last sampler can be replaced but not removed.
    ///
    /// Corresponds to `llama_sampler_chain_remove`.
    pub fn remove(&mut self, index: usize) -> Result<Sampler> {
        self.check_index(index, self.len())?;
        let mut samplers = self.samplers.to_vec();
        let sampler = samplers.remove(index);
        self.edit(index, samplers, 1)?;
        Ok(sampler)
    }

    /// Replaces the sampler at `index`, and returns the old one. The new sampler starts in its initial state; the
    /// others keep their states.
    ///
    /// # Errors
    ///
    /// The errors of [`SamplerChain::insert`].
    ///
    /// # Panics
    ///
    /// Panics like [`SamplerChain::insert`].
    ///
    /// Corresponds to `llama_sampler_chain_remove` and `llama_sampler_chain_add`.
    pub fn replace(&mut self, index: usize, sampler: Sampler) -> Result<Sampler> {
        self.check_index(index, self.len())?;
        let mut samplers = self.samplers.to_vec();
        let before = core::mem::replace(&mut samplers[index], sampler);
        self.edit(index, samplers, 1)?;
        Ok(before)
    }

    /// Copies the state of another chain: its recent tokens, random numbers and positions in grammars. Both chains
    /// must have the same samplers with the same values, as a chain and its [copy](SamplerChain::try_clone) do.
    ///
    /// To go back to an earlier state, keep a copy, and copy its state to the chain as often as needed. The random
    /// numbers of adaptive-p restart.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sampler`](crate::ErrorKind::Sampler) for other samplers, and the errors of [`SamplerChain::try_clone`]; the chain is
    /// unchanged. [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned) if either chain is poisoned, and the errors of containment.
    ///
    /// # Panics
    ///
    /// Resumes a panic of [`CustomSampler`](crate::sampler::CustomSampler)'s `clone`; that sampler keeps its own state.
    ///
    /// Corresponds to `llama_sampler_copy`.
    pub fn copy_state_from(&mut self, source: &Self) -> Result<()> {
        self.check_whole()?;
        source.check_poison()?;
        source.check_not_pending()?;
        if self.samplers != source.samplers {
            let reason = "the samplers of the other chain, or their values, differ: copy between a chain and its copies";
            return Err(sampler_error("chain", reason.to_owned()));
        }
        let copied = source.copy_state_to(&self.raw);
        self.poison_after(copied)?;
        self.pending = false;
        self.drawn = Arc::clone(&source.drawn);
        self.waiting = source.waiting;
        self.highest = source.highest;
        self.stuck = false;
        Ok(())
    }

    /// Gives the C chain these samplers: keeps the first `index`, drops `removed`, and inserts the new ones there.
    fn edit(&mut self, index: usize, samplers: Vec<Sampler>, removed: usize) -> Result<()> {
        self.check_poison()?;
        let n_vocab = check::check(&samplers)?.or(self.n_vocab);
        let n_added = samplers.len() + removed - self.len();
        let added: Vec<_> = samplers[index..index + n_added].iter().map(Sampler::with_drawn_seed).collect();
        // Created in a separate chain first: if one cannot be created, or cloning a value panics, nothing has
        // changed.
        let mut made = RawChain::new(false)?;
        log::explain(|| added.iter().try_for_each(|it| create::add(&mut made, it, n_vocab)))?;
        let is_added = Waiting::of(&added).is_some();
        let mut drawn = self.drawn.to_vec();
        drawn.splice(index..index + removed, added);
        let exchanged = self.raw.exchange(c_index(index), removed, &mut made);
        self.poison_after(exchanged)?;
        self.waiting = Waiting::after_change(self.waiting, &samplers, is_added);
        self.pending &= index + n_added < samplers.len();
        self.samplers = samplers.into();
        self.drawn = drawn.into();
        self.n_vocab = n_vocab;
        self.tell_n_vocab();
        Ok(())
    }

    /// Copies the samplers' states to a C chain with the same samplers.
    pub(in crate::sampler) fn copy_state_to(&self, target: &RawChain) -> Result<()> {
        let (from, to) = (self.raw.borrow(), target.borrow());
        let n_samplers = c_index(self.len());
        let copied = log::explain(|| {
            (0..n_samplers).try_for_each(|index| {
                // SAFETY: both chains are valid, differ, and have samplers of the same kind and configuration there.
                unsafe { guarded!(llama_sampler_copy(from.sampler(index), to.sampler(index))) }
            })
        });
        self.raise()?;
        copied
    }

    fn check_index(&self, index: usize, end: usize) -> Result<()> {
        self.check_poison()?;
        if index < end {
            return Ok(());
        }
        let expected = format!("in 0..{end}: the chain has {} samplers", self.len());
        Err(ParameterProblem::new("index", index, expected).into())
    }
}

/// Converts an index to C's type; chains have fewer samplers than `i32::MAX`.
fn c_index(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}
