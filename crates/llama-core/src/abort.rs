//! Stopping a computation from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ffi::exit;

/// A switch that stops the computations of the contexts that it was given to: [`Context::set_abort_flag`](crate::Context::set_abort_flag). Cheap to
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
