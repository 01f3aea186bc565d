//! Stopping the computations of a context by a flag or a callback.

use super::Context;
use crate::abort::{Abort, AbortFlag};
use crate::error::Result;
use crate::ffi::guard::guarded;

impl Context {
    /// Sets a flag that stops this context's computations: [`decode`](Context::decode) and
    /// [`encode`](Context::encode) then fail with [`DecodeError::Aborted`](crate::DecodeError::Aborted). It replaces
    /// an earlier flag or callback.
    ///
    /// Only computations on the CPU can be stopped, after any of their operations (about ten in each layer). Metal
    /// checks after a part of the graph, and other GPUs not at all; there, use a smaller `n_ubatch` to stop between
    /// two parts of a batch. A batch that follows a change of positions ([`Memory::seq_add`], [`Memory::seq_div`])
    /// cannot be stopped either, because half-moved keys would be left in memory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned).
    ///
    /// Corresponds to `llama_set_abort_callback`.
    ///
    /// [`Memory::seq_add`]: crate::Memory::seq_add
    /// [`Memory::seq_div`]: crate::Memory::seq_div
    pub fn set_abort_flag(&mut self, flag: &AbortFlag) -> Result<()> {
        self.set_abort(Some(Abort::Flag(flag.clone())))
    }

    /// Sets a callback that stops this context's computations when it returns true, like a
    /// [flag](Context::set_abort_flag). It is called after every operation, by the thread that decodes, so it should
    /// be fast.
    ///
    /// The callback must not call llama.cpp: functions that load, create, compute or tokenise return
    /// [`ErrorKind::InCallback`](crate::ErrorKind::InCallback) inside it, and functions that cannot return an error,
    /// such as [`devices`](crate::device::devices), log it and return nothing. Dropping models, contexts and adapters is
    /// allowed. An [`Observer`](crate::Observer) may call llama.cpp.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned).
    ///
    /// # Panics
    ///
    /// A panic of the callback stops the computation and is resumed by `decode` or `encode`, which leave the memory
    /// as after an abort.
    pub fn set_abort_callback(&mut self, callback: impl FnMut() -> bool + Send + 'static) -> Result<()> {
        self.set_abort(Some(Abort::Callback(Box::new(callback))))
    }

    /// Removes the flag or callback.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned).
    pub fn clear_abort_callback(&mut self) -> Result<()> {
        self.set_abort(None)
    }

    fn set_abort(&mut self, abort: Option<Abort>) -> Result<()> {
        self.check_poison()?;
        let callback = self.raw.hooks.set_abort(abort);
        let data = self.raw.hooks.as_data();
        self.call(|raw| {
            // SAFETY: the context is valid, and its hooks are freed after it.
            unsafe { guarded!(llama_set_abort_callback(raw, callback, data)) }
        })
    }
}
