//! Stopping a computation from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::context::Context;
use crate::error::Result;
use crate::ffi::exit;

/// A switch that stops the computations of the contexts that it was given to: [`Context::set_abort_flag`]. Cheap to
/// clone; clones are the same switch.
///
/// It stays on until [`reset`](AbortFlag::reset), so that it cannot be raised too early: what begins while it is on
/// ends at once.
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
    /// A switch that is off.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the computations, from any thread. Returns at once.
    pub fn abort(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is on.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Turns it off.
    pub fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What is asked whether to stop.
pub(crate) enum Abort {
    Flag(AbortFlag),
    Callback(Box<dyn FnMut() -> bool + Send>),
}

impl Abort {
    /// Whether there is no need to begin.
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
    /// Lets the flag stop this context's computations: [`decode`](Context::decode) and [`encode`](Context::encode) then
    /// end with [`DecodeError::Aborted`](crate::DecodeError::Aborted). It takes the place of an earlier flag or
    /// callback.
    ///
    /// Only computations on the CPU can be stopped, after any of their operations (about ten in each layer); Metal looks
    /// after a part of the graph, and other GPUs not at all: there, what stops between two parts of a batch is a
    /// smaller `n_ubatch`. Nor can a batch that follows a change of positions ([`Memory::seq_add`],
    /// [`Memory::seq_div`]) be stopped, because half-moved keys would be left in memory.
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

    /// Lets a function that answers whether to stop end this context's computations, as
    /// [`set_abort_flag`](Context::set_abort_flag) lets a flag. It is called after every operation, by the thread that decodes,
    /// so that it should be quick.
    ///
    /// The callback must not call llama.cpp: what loads, creates, computes or tokenises returns
    /// [`ErrorKind::InCallback`](crate::ErrorKind::InCallback) inside of it, and what has no error to return, such as
    /// [`devices`](crate::devices), logs it and returns nothing. Dropping models, contexts and adapters is possible. An
    /// [`Observer`](crate::Observer) may call llama.cpp.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned).
    ///
    /// # Panics
    ///
    /// A panic of the callback stops the computation and is resumed by `decode` or `encode`, which leave memory as
    /// after an abort.
    pub fn set_abort_callback(&mut self, callback: impl FnMut() -> bool + Send + 'static) -> Result<()> {
        self.set_abort(Some(Abort::Callback(Box::new(callback))))
    }

    /// Takes the flag or callback away.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned).
    pub fn clear_abort_callback(&mut self) -> Result<()> {
        self.set_abort(None)
    }
}
