//! What llama.cpp calls of a custom sampler.

use core::alloc::Layout;
use core::ffi::{c_char, c_void};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::panic::{self, AssertUnwindSafe};

use super::view::CandidatesMut;
use super::{Custom, Object};
use crate::error::Result;
use crate::ffi::guard::guarded;
use crate::sampler::raw::RawChain;
use crate::token::Token;

/// What a C sampler's `ctx` points to.
struct Live {
    /// `None` when it could not be copied.
    object: Option<Box<dyn Object>>,
    name: CString,
    /// One more than the highest token that candidates can have.
    end: Cell<i32>,
    trouble: RefCell<Option<Trouble>>,
}

/// What went wrong inside a callback, until C has returned.
pub(in crate::sampler) enum Trouble {
    Panic(Box<dyn Any + Send>),
    /// The sampler's name, and a sentence.
    Flaw(String, String),
}

/// Never written to, though C takes it as mutable. Without backend functions: it runs on the CPU.
static INTERFACE: llama_sys::llama_sampler_i = llama_sys::llama_sampler_i {
    name: Some(name),
    accept: Some(accept),
    apply: Some(apply),
    reset: Some(reset),
    clone: Some(clone),
    free: Some(free),
    backend_init: None,
    backend_accept: None,
    backend_apply: None,
    backend_set_input: None,
    backend_reset: None,
    copy_state: Some(copy_state),
};

/// Adds a C sampler that works on a copy of the value. A panic of copying it passes through, before C is called.
///
/// Corresponds to `llama_sampler_init`.
pub(in crate::sampler) fn add(chain: &mut RawChain, custom: &Custom) -> Result<()> {
    let (object, name) = custom.instance();
    let mut name = name.into_bytes();
    name.retain(|byte| *byte != 0);
    // Without NUL bytes nothing is lost.
    let name = CString::new(name).unwrap_or_default();
    let live = Live { object: Some(object), name, end: Cell::new(i32::MAX), trouble: RefCell::default() };
    // SAFETY: the sampler is new, and the chain's alone.
    unsafe { chain.add("custom", || init(live)) }
}

fn init(live: Live) -> Result<*mut llama_sys::llama_sampler> {
    let live = Box::into_raw(Box::new(live));
    let interface = core::ptr::from_ref(&INTERFACE).cast_mut();
    // SAFETY: the interface lives as long as the process and its functions take `ctx` for a `Live`. The sampler is its
    // owner now (`free`).
    let made = unsafe { guarded!(llama_sampler_init(interface, live.cast::<c_void>())) };
    if made.is_err() {
        // SAFETY: made above, and there is no sampler that has it.
        drop(unsafe { Box::from_raw(live) });
    }
    made
}

/// Takes what went wrong in the custom sampler at a place of the chain.
///
/// # Safety
///
/// The chain has a custom sampler there.
pub(in crate::sampler) unsafe fn take_trouble(chain: &RawChain, index: i32) -> Option<Trouble> {
    // SAFETY: by the caller's promise `ctx` is a `Live`; C is not in a call of the chain.
    unsafe { &*live(chain.borrow().sampler(index)) }.trouble.take()
}

/// Tells the custom sampler at a place of the chain how many tokens the vocabulary has, which other samplers look them up
/// in.
///
/// # Safety
///
/// The chain has a custom sampler there.
pub(in crate::sampler) unsafe fn set_n_vocab(chain: &RawChain, index: i32, n_vocab: usize) {
    // SAFETY: as in `take_trouble`.
    unsafe { &*live(chain.borrow().sampler(index)) }.end.set(i32::try_from(n_vocab).unwrap_or(i32::MAX));
}

/// The `Live` of a sampler of ours.
///
/// # Safety
///
/// The sampler was made by `init` and is not freed.
unsafe fn live(sampler: *const llama_sys::llama_sampler) -> *mut Live {
    // SAFETY: the sampler is valid by the caller's promise.
    unsafe { (*sampler).ctx }.cast::<Live>()
}

impl Live {
    /// Runs the user's code. After a panic, nothing is run until it was taken.
    fn run(&mut self, run: impl FnOnce(&mut dyn Object) -> Option<String>) {
        if matches!(self.trouble.get_mut(), Some(Trouble::Panic(_))) {
            return;
        }
        let Some(object) = &mut self.object else { return };
        match panic::catch_unwind(AssertUnwindSafe(|| run(object.as_mut()))) {
            Ok(None) => {}
            Ok(Some(flaw)) => {
                let name = self.name.to_string_lossy().into_owned();
                self.trouble.replace(Some(Trouble::Flaw(name, flaw)));
            }
            Err(payload) => {
                self.trouble.replace(Some(Trouble::Panic(payload)));
            }
        }
    }

    /// A copy of the object. A panic is kept here.
    fn copy(&self) -> Option<Box<dyn Object>> {
        let object = self.object.as_ref()?;
        match panic::catch_unwind(AssertUnwindSafe(|| object.boxed())) {
            Ok(copy) => Some(copy),
            Err(payload) => {
                self.trouble.replace(Some(Trouble::Panic(payload)));
                None
            }
        }
    }
}

/// Drops what is the user's, whose destructors may panic.
fn drop_quietly<T>(value: T) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // Its destructor may panic as well, and what that panics with too.
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            core::mem::forget(payload);
        }
        tracing::error!("a custom sampler panicked while it was dropped");
    }
}

unsafe extern "C-unwind" fn name(sampler: *const llama_sys::llama_sampler) -> *const c_char {
    // SAFETY: C passes a sampler with this interface, here and in all functions below.
    unsafe { &*live(sampler) }.name.as_ptr()
}

unsafe extern "C-unwind" fn accept(sampler: *mut llama_sys::llama_sampler, token: i32) {
    // SAFETY: as in `name`; the chain is used by one thread at a time, and its functions take it mutably.
    let live = unsafe { &mut *live(sampler) };
    live.run(|object| {
        object.accept(Token::new(token));
        None
    });
}

unsafe extern "C-unwind" fn apply(
    sampler: *mut llama_sys::llama_sampler,
    array: *mut llama_sys::llama_token_data_array,
) {
    // SAFETY: as in `accept`.
    let live = unsafe { &mut *live(sampler) };
    let end = live.end.get();
    live.run(|object| {
        // SAFETY: C passes the array that the chain is working on, and nobody else does meanwhile.
        let mut candidates = unsafe { CandidatesMut::new(&mut *array) };
        // Also after a panic, the samplers after this one go on with the array.
        let result = panic::catch_unwind(AssertUnwindSafe(|| object.apply(&mut candidates)));
        let flaw = candidates.settle(end);
        if let Err(payload) = result {
            panic::resume_unwind(payload);
        }
        flaw
    });
}

unsafe extern "C-unwind" fn reset(sampler: *mut llama_sys::llama_sampler) {
    // SAFETY: as in `accept`.
    let live = unsafe { &mut *live(sampler) };
    live.run(|object| {
        object.reset();
        None
    });
}

unsafe extern "C-unwind" fn clone(sampler: *const llama_sys::llama_sampler) -> *mut llama_sys::llama_sampler {
    // SAFETY: as in `name`.
    let live = unsafe { &*live(sampler) };
    let (object, name) = (live.copy(), live.name.clone());
    let copy = Live { object, name, end: live.end.clone(), trouble: RefCell::default() };
    // C makes no use of an answer that says no (llama-sampler.cpp, llama_sampler_chain_clone), and fails here as Rust does.
    init(copy).unwrap_or_else(|_| std::alloc::handle_alloc_error(Layout::new::<llama_sys::llama_sampler>()))
}

unsafe extern "C-unwind" fn copy_state(
    source: *const llama_sys::llama_sampler,
    target: *mut llama_sys::llama_sampler,
) {
    // SAFETY: C has checked that both have this interface, and that they are not one (llama_sampler_copy).
    let (source, target) = unsafe { (&*live(source), &mut *live(target)) };
    if let Some(copy) = source.copy() {
        drop_quietly(target.object.replace(copy));
    }
}

unsafe extern "C-unwind" fn free(sampler: *mut llama_sys::llama_sampler) {
    // SAFETY: as in `name`; C deletes the sampler after this and does not look at `ctx` again (llama_sampler_free).
    let Live { object, trouble, .. } = *unsafe { Box::from_raw(live(sampler)) };
    drop_quietly(object);
    drop_quietly(trouble);
}
