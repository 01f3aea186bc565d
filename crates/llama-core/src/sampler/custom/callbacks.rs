//! The functions of a custom sampler that llama.cpp calls.

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

/// The target of a C sampler's `ctx`.
struct Live {
    /// The sampler; `None` if it could not be copied.
    object: Option<Box<dyn Object>>,
    name: CString,
    /// One more than the highest token that candidates can have.
    end: Cell<i32>,
    trouble: RefCell<Option<Trouble>>,
}

/// A failure inside a callback, kept until C has returned.
pub(in crate::sampler) enum Trouble {
    Panic(Box<dyn Any + Send>),
    /// The sampler's name and a description.
    Flaw(String, String),
}

/// The function table. C takes it as mutable but never writes to it. Without backend functions, the sampler runs on
/// the CPU.
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

/// Adds a C sampler that works on a copy of the value. A panic while copying propagates before C is called.
///
/// Corresponds to `llama_sampler_init`.
pub(in crate::sampler) fn add(chain: &mut RawChain, custom: &Custom) -> Result<()> {
    let (object, name) = custom.instance();
    let mut name = name.into_bytes();
    name.retain(|byte| *byte != 0);
    // Cannot fail without NUL bytes.
    let name = CString::new(name).unwrap_or_default();
    let live = Live { object: Some(object), name, end: Cell::new(i32::MAX), trouble: RefCell::default() };
    // SAFETY: the sampler is new, and only the chain owns it.
    unsafe { chain.add("custom", || init(live)) }
}

fn init(live: Live) -> Result<*mut llama_sys::llama_sampler> {
    let live = Box::into_raw(Box::new(live));
    let interface = core::ptr::from_ref(&INTERFACE).cast_mut();
    // SAFETY: the interface lives as long as the process, and its functions use `ctx` as a `Live`, which the sampler
    // owns from now on (`free`).
    let made = unsafe { guarded!(llama_sampler_init(interface, live.cast::<c_void>())) };
    if made.is_err() {
        // SAFETY: `live` was created above, and no sampler has it.
        drop(unsafe { Box::from_raw(live) });
    }
    made
}

/// Takes the failure recorded by the custom sampler at an index of the chain.
///
/// # Safety
///
/// The chain has a custom sampler at that index.
pub(in crate::sampler) unsafe fn take_trouble(chain: &RawChain, index: i32) -> Option<Trouble> {
    // SAFETY: by the caller's promise `ctx` is a `Live`; C is not in a call of the chain.
    unsafe { &*live(chain.borrow().sampler(index)) }.trouble.take()
}

/// Tells the custom sampler at an index of the chain the size of the vocabulary in which other samplers look tokens
/// up.
///
/// # Safety
///
/// The chain has a custom sampler at that index.
pub(in crate::sampler) unsafe fn set_n_vocab(chain: &RawChain, index: i32, n_vocab: usize) {
    // SAFETY: as in `take_trouble`.
    unsafe { &*live(chain.borrow().sampler(index)) }.end.set(i32::try_from(n_vocab).unwrap_or(i32::MAX));
}

/// Returns the `Live` of a custom sampler.
///
/// # Safety
///
/// The sampler was created by `init` and is not freed.
unsafe fn live(sampler: *const llama_sys::llama_sampler) -> *mut Live {
    // SAFETY: the sampler is valid by the caller's promise.
    unsafe { (*sampler).ctx }.cast::<Live>()
}

impl Live {
    /// Runs the user's code. After a panic, nothing runs until the panic has been taken.
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

    /// Returns a copy of the object. Records a panic.
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

/// Drops a value of the user, whose destructor may panic.
fn drop_quietly<T>(value: T) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // The payload's destructor may panic as well, and so may the payload of that panic.
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
        // SAFETY: C passes the array that the chain is working on, which nobody else uses meanwhile.
        let mut candidates = unsafe { CandidatesMut::new(&mut *array) };
        // The samplers after this one continue with the array even after a panic.
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
    // C ignores a null result here (llama-sampler.cpp, llama_sampler_chain_clone), so this fails like Rust's
    // allocator.
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
