//! Stopping a computation from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::context::Context;
use crate::error::Result;
use crate::ffi::exit;

/// A flag that stops the computations of the contexts it is [set](Context::set_abort_flag) on. Cheap to clone;
/// clones share the flag.
///
/// It stays set until [`reset`](AbortFlag::reset), so it cannot be set too early: a computation that starts while it
/// is set ends at once.
///
/// ```
/// use llama_core::{AbortFlag, Batch, Context, ContextParams, DecodeError, ErrorKind, Model, ModelParams, Pos, SeqId, Token};
///
/// # fn main() -> Result<(), llama_core::Error> {
/// # let model = Model::load(test_models::Tiny::Llama.path(), &ModelParams::default())?;
/// let mut context = Context::new(&model, &ContextParams::default())?;
/// let flag = AbortFlag::new();
/// context.set_abort_flag(&flag)?;
/// let elsewhere = flag.clone();
/// std::thread::spawn(move || elsewhere.abort()).join().unwrap();
///
/// let mut batch = Batch::new();
/// batch.push_prompt(&[Token::new(5)], SeqId::new(0), Pos::new(0))?;
/// let error = context.decode(&batch).unwrap_err();
/// assert!(matches!(error.kind(), ErrorKind::Decode(DecodeError::Aborted)));
/// flag.reset();
/// context.decode(&batch)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct AbortFlag(Arc<AtomicBool>);

impl AbortFlag {
    /// Creates a flag that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the computations, from any thread. Returns at once.
    pub fn abort(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns whether the flag is set.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Clears the flag.
    pub fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The source that decides whether to stop.
pub(crate) enum Abort {
    Flag(AbortFlag),
    Callback(Box<dyn FnMut() -> bool + Send>),
}

impl Abort {
    /// Returns whether a computation need not even start.
    pub(crate) fn is_raised(&self) -> bool {
        matches!(self, Self::Flag(flag) if flag.is_aborted())
    }

    pub(crate) fn ask(&mut self) -> bool {
        match self {
            Self::Flag(flag) => flag.is_aborted(),
            Self::Callback(callback) => {
                let _aborting = exit::aborting();
                callback()
            }
        }
    }
}

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
    /// such as [`devices`](crate::devices), log it and return nothing. Dropping models, contexts and adapters is
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
}
