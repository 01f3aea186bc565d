//! Stopping a computation from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ffi::exit;

/// A switch that stops the computations of the contexts that it was given to: [`Context::set_abort_flag`](crate::Context::set_abort_flag). Cheap to
/// clone; clones are the same switch.
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
