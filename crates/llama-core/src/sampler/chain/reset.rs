//! The reset of a chain to its initial state, and the random seeds that are drawn again then.

use std::sync::Arc;

use super::grammars::Waiting;
use super::{SamplerChain, Shared};
use crate::error::Result;
use crate::ffi::guard::guarded;
use crate::sampler::kind::Sampler;
use crate::sampler::raw::RawChain;
use crate::sampler::{create, large_stack};

/// Returns the samplers with numbers in place of random seeds.
pub(super) fn with_drawn_seeds(samplers: &Arc<[Sampler]>) -> Arc<[Sampler]> {
    if samplers.iter().any(Sampler::has_random_seed) {
        samplers.iter().map(Sampler::with_drawn_seed).collect()
    } else {
        Arc::clone(samplers)
    }
}

impl SamplerChain {
    /// Restores the initial state of the samplers: no recent tokens, grammars at their start, random numbers from
    /// the seed. [Random](crate::sampler::Seed::Random) seeds are drawn again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned), and the errors of containment.
    ///
    /// Corresponds to `llama_sampler_reset`.
    pub fn reset(&mut self) -> Result<()> {
        self.check_whole()?;
        self.pending = false;
        self.stuck = false;
        self.waiting = Waiting::of(&self.samplers);
        let chain = Shared(self.raw.as_ptr());
        // SAFETY: the chain is valid.
        let reset = move || unsafe { guarded!(llama_sampler_reset(chain.get())) };
        match self.waiting {
            // Patterns are compiled again.
            Some(_) => self.call_on_large_stack(large_stack::needed(0, 0), reset)?,
            None => self.call(reset)?,
        }
        self.draw_seeds()
    }

    /// Draws random seeds again, for samplers that have just been reset.
    fn draw_seeds(&mut self) -> Result<()> {
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

    /// Gives the sampler at an index the state of a new one of its kind.
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
