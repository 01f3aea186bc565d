//! The random numbers of a chain whose seeds are drawn.

use std::sync::Arc;

use super::SamplerChain;
use crate::error::Result;
use crate::ffi::guard::guarded;
use crate::sampler::create;
use crate::sampler::kind::Sampler;
use crate::sampler::raw::RawChain;

/// The samplers with numbers for random seeds.
pub(super) fn with_drawn_seeds(samplers: &Arc<[Sampler]>) -> Arc<[Sampler]> {
    if samplers.iter().any(Sampler::has_random_seed) {
        samplers.iter().map(Sampler::with_drawn_seed).collect()
    } else {
        Arc::clone(samplers)
    }
}

impl SamplerChain {
    /// Draws the random seeds anew, for samplers that have just been reset.
    pub(super) fn draw_seeds(&mut self) -> Result<()> {
        if !self.samplers.iter().any(Sampler::has_random_seed) {
            return Ok(());
        }
        let drawn = with_drawn_seeds(&self.samplers);
        for (index, sampler) in drawn.iter().enumerate() {
            if self.samplers[index].has_random_seed() {
                self.restart(index, sampler)?;
            }
        }
        self.drawn = drawn;
        Ok(())
    }

    /// Gives the sampler at a place the state of a new one of its kind.
    fn restart(&mut self, index: usize, sampler: &Sampler) -> Result<()> {
        let mut fresh = RawChain::new(false)?;
        create::add(&mut fresh, sampler, self.n_vocab)?;
        let (from, to) = (fresh.borrow(), self.raw.borrow());
        let index = i32::try_from(index).unwrap_or(i32::MAX);
        // SAFETY: both chains are valid, differ, and have a sampler of the same kind there, with the same values but for
        // the seed: `llama_sampler_copy` copies the state of the one, or puts a clone of it in the other's place
        // (llama-sampler.cpp).
        self.call(|| unsafe { guarded!(llama_sampler_copy(from.sampler(0), to.sampler(index))) })
    }
}
