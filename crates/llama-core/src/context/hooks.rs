//! Callbacks that llama.cpp calls while a context computes: the abort callback and the observer of tensors.

use core::ffi::c_void;
use core::ops::ControlFlow;
use std::ptr::NonNull;

use crate::abort::Abort;
use crate::error::{DecodeError, ErrorKind, Result};
use crate::ffi::callback::Callback;
use crate::observer::{Observer, TensorInfo};

/// The callbacks of one context. C holds its address, so it must not move. It is only used by the thread that has
/// the context: ggml calls the abort callback on its thread 0, which is the one that computes (ggml-cpu.c,
/// `ggml_graph_compute_thread`; with OpenMP that is the thread that opens the parallel region), Metal and the
/// scheduler call on the calling thread too (ggml-metal-context.m, ggml-backend.cpp).
pub(super) struct Hooks {
    abort: Option<Callback<Abort>>,
    observer: Option<Callback<Box<dyn Observer>>>,
    /// Copies of tensors on other devices, aligned for every type of element.
    copy: Vec<u64>,
    /// Whether the computation may be stopped.
    can_stop: bool,
    /// Whether the observer has requested to stop.
    cancelled: bool,
}

/// The owner of the hooks.
pub(super) struct OwnedHooks(NonNull<Hooks>);

impl OwnedHooks {
    pub(super) fn new(observer: Option<Box<dyn Observer>>) -> Self {
        let hooks = Hooks {
            abort: None,
            observer: observer.map(Callback::new),
            copy: Vec::new(),
            can_stop: true,
            cancelled: false,
        };
        Self(NonNull::from(Box::leak(Box::new(hooks))))
    }

    /// Returns the data pointer for C.
    pub(super) fn as_data(&self) -> *mut c_void {
        self.0.as_ptr().cast::<c_void>()
    }

    #[inline]
    fn get(&mut self) -> &mut Hooks {
        // SAFETY: valid until dropped, and only borrowed by C's callbacks during calls, when `self` is not.
        unsafe { self.0.as_mut() }
    }

    /// Replaces what can abort computations. Returns the callback for C, `None` when nothing can.
    pub(super) fn set_abort(&mut self, abort: Option<Abort>) -> llama_sys::ggml_abort_callback {
        let hooks = self.get();
        let stops = abort.is_some() || hooks.observer.is_some();
        hooks.abort = abort.map(Callback::new);
        stops.then_some(on_abort as unsafe extern "C-unwind" fn(*mut c_void) -> bool)
    }

    /// Prepares for a computation, unless there is no need to begin.
    #[inline]
    pub(super) fn begin(&mut self, can_stop: bool) -> Result<()> {
        let hooks = self.get();
        if hooks.abort.as_ref().is_some_and(|abort| abort.closure.is_raised()) {
            return Err(ErrorKind::Decode(DecodeError::Aborted).into());
        }
        hooks.can_stop = can_stop;
        hooks.cancelled = false;
        Ok(())
    }

    /// Returns whether the observer has cancelled the last computation.
    #[inline]
    pub(super) fn is_cancelled(&mut self) -> bool {
        self.get().cancelled
    }

    /// Resumes a panic of the last computation's callbacks.
    #[inline]
    pub(super) fn resume_panic(&mut self) {
        let hooks = self.get();
        if let Some(abort) = &mut hooks.abort {
            abort.resume_and_keep();
        }
        if let Some(observer) = &mut hooks.observer {
            observer.resume_and_keep();
        }
    }
}

impl Drop for OwnedHooks {
    fn drop(&mut self) {
        // SAFETY: created by `Box::leak`, and the context that held the address has been freed (`Context`'s drop).
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl Hooks {
    fn should_abort(&mut self) -> bool {
        if !self.can_stop {
            return false;
        }
        self.cancelled || self.abort.as_mut().is_some_and(|abort| abort.call(true, Abort::ask))
    }

    fn wants(&mut self, tensor: &TensorInfo<'_>) -> bool {
        let Some(observer) = self.observer.as_mut().filter(|_| !self.cancelled) else { return false };
        let wanted = observer.call(None, |observer| Some(observer.wants(tensor)));
        // No answer means that it has panicked.
        self.cancelled |= wanted.is_none();
        wanted.unwrap_or(false)
    }

    /// Passes the tensor to the observer, and returns whether to continue.
    fn show(&mut self, tensor: TensorInfo<'_>) -> bool {
        let Some(observer) = self.observer.as_mut().filter(|_| !self.cancelled) else {
            return !self.can_stop;
        };
        let copy = &mut self.copy;
        let flow = observer.call(ControlFlow::Break(()), |observer| match tensor.data(copy) {
            Ok(Some(data)) => observer.observe(&data),
            Ok(None) => ControlFlow::Continue(()),
            Err(error) => {
                tracing::error!("reading tensor {} failed: {error}", tensor.name());
                ControlFlow::Break(())
            }
        });
        self.cancelled |= flow.is_break();
        !(self.cancelled && self.can_stop)
    }
}

/// The `ggml_abort_callback` function.
pub(super) unsafe extern "C-unwind" fn on_abort(data: *mut c_void) -> bool {
    // SAFETY: the context passes its own hooks, which live as long as it and are only used by its thread.
    unsafe { &mut *data.cast::<Hooks>() }.should_abort()
}

/// The `ggml_backend_sched_eval_callback` function.
pub(super) unsafe extern "C-unwind" fn on_tensor(
    tensor: *mut llama_sys::ggml_tensor,
    ask: bool,
    data: *mut c_void,
) -> bool {
    // SAFETY: as in `on_abort`.
    let hooks = unsafe { &mut *data.cast::<Hooks>() };
    // SAFETY: the scheduler passes a node of its graph, which does not change during the call (ggml-backend.cpp,
    // ggml_backend_sched_compute_splits).
    let tensor = TensorInfo::new(unsafe { &*tensor });
    if ask { hooks.wants(&tensor) } else { hooks.show(tensor) }
}
