//! The contexts of ended generations, kept for the next ones.

use core::cell::RefCell;

use llama_core::{Context, ContextParams, Model, Token};
use parking_lot::ReentrantMutex;

use crate::error::Result;
use crate::lora::Adapters;
use crate::slot::Slot;

/// Contexts of one model that nobody uses now, with the tokens in their memory.
#[derive(Debug)]
pub(crate) struct Slots {
    model: Model,
    params: ContextParams,
    /// The most that are kept.
    most: usize,
    /// The most bytes of checkpoints of each.
    checkpoint_bytes: usize,
    /// The longest unused first. A thread that comes here again while it looks through them, from a log subscriber, finds none.
    idle: ReentrantMutex<RefCell<Vec<Slot>>>,
}

impl Slots {
    /// Contexts are made for results of one token of a batch, which is all that a generation needs.
    pub(crate) fn new(model: Model, params: ContextParams, most: usize, checkpoint_bytes: usize) -> Self {
        let params = params.plan_outputs(1);
        Self { model, params, most, checkpoint_bytes, idle: ReentrantMutex::default() }
    }

    /// How contexts are made.
    pub(crate) fn params(&self) -> &ContextParams {
        &self.params
    }

    /// Takes a context for the model as it is, with room for the results of that many tokens of a batch. It may have
    /// something in memory.
    pub(crate) fn take_for_outputs(&self, n_outputs: u32) -> Result<Slot> {
        let params = self.params.clone().plan_outputs(n_outputs);
        let (found, oldest) = self.take_room(n_outputs);
        // Its memory is given back before more is taken.
        drop(oldest);
        let slot = match found {
            Some(slot) => slot,
            None => Slot::new(Context::new(&self.model, &params)?, self.checkpoint_bytes)?,
        };
        self.adapted(slot, &Adapters::default())
    }

    /// The context that has the most of the prompt in memory, or a new one, with these adapters.
    pub(crate) fn take_with(&self, prompt: &[Token], adapters: &Adapters) -> Result<Slot> {
        let slot = match self.take_idle(prompt, adapters)? {
            Some(slot) => slot,
            None => Slot::new(Context::new(&self.model, &self.params)?, self.checkpoint_bytes)?,
        };
        self.adapted(slot, adapters)
    }

    /// The context with these adapters.
    fn adapted(&self, mut slot: Slot, adapters: &Adapters) -> Result<Slot> {
        match slot.adapt(adapters) {
            Ok(()) => Ok(slot),
            Err(error) => {
                self.give_back(slot);
                Err(error)
            }
        }
    }

    /// Others of the same kind, with room for one context.
    #[cfg(feature = "chat")]
    pub(crate) fn alone(&self) -> Self {
        Self::new(self.model.clone(), self.params.clone(), 1, self.checkpoint_bytes)
    }

    /// A context that nobody uses now, the longest unused first.
    #[cfg(feature = "chat")]
    pub(crate) fn take_oldest(&self) -> Option<Slot> {
        let idle = self.idle.lock();
        let mut idle = idle.try_borrow_mut().ok()?;
        (!idle.is_empty()).then(|| idle.remove(0))
    }

    /// A context with an empty memory.
    #[cfg(feature = "chat")]
    pub(crate) fn new_context(&self) -> Result<Context> {
        Ok(Context::new(&self.model, &self.params)?)
    }

    /// The most bytes of checkpoints of each context.
    #[cfg(feature = "chat")]
    pub(crate) fn checkpoint_bytes(&self) -> usize {
        self.checkpoint_bytes
    }

    /// Takes out a context with room for the results of that many tokens, or else the one that must go for a new one.
    fn take_room(&self, n_outputs: u32) -> (Option<Slot>, Option<Slot>) {
        let idle = self.idle.lock();
        let Ok(mut idle) = idle.try_borrow_mut() else { return (None, None) };
        let has_room = |slot: &mut Slot| {
            let params = slot.context().params();
            params.n_outputs_max >= n_outputs.min(params.n_batch)
        };
        if let Some(index) = idle.iter_mut().position(has_room) {
            return (Some(idle.remove(index)), None);
        }
        let is_full = !idle.is_empty() && idle.len() >= self.most;
        (None, is_full.then(|| idle.remove(0)))
    }

    /// A context that is there; `None` when another is to be made, so that what is in memory is not lost: while there is
    /// room, and for a prompt that has less than half of it in common.
    fn take_idle(&self, prompt: &[Token], adapters: &Adapters) -> Result<Option<Slot>> {
        let idle = self.idle.lock();
        let Ok(mut idle) = idle.try_borrow_mut() else { return Ok(None) };
        let mut best = None;
        for (index, slot) in idle.iter_mut().enumerate() {
            let reusable = if adapters.are_set(slot.context()) { slot.reusable(prompt)? } else { 0 };
            if best.is_none_or(|(_, most)| reusable > most) {
                best = Some((index, reusable));
            }
        }
        let Some((index, reusable)) = best else { return Ok(None) };
        if idle.len() < self.most && reusable * 2 < idle[index].len() {
            return Ok(None);
        }
        Ok(Some(idle.remove(index)))
    }

    /// Adds a context; the one that has to go for it.
    fn put(&self, slot: Slot) -> Option<Slot> {
        let idle = self.idle.lock();
        let Ok(mut idle) = idle.try_borrow_mut() else { return Some(slot) };
        let oldest = (idle.len() >= self.most).then(|| idle.remove(0));
        idle.push(slot);
        oldest
    }

    /// Takes a context back for the next prompt, with what is in its memory.
    pub(crate) fn give_back(&self, mut slot: Slot) {
        if slot.context().is_poisoned() || self.most == 0 {
            return;
        }
        // Freeing a context takes a while, and is done when the lock is free again.
        drop(self.put(slot));
    }
}
