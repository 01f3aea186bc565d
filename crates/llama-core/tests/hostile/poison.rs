//! Makes a call of safe code fail inside llama.cpp, which safe code alone cannot do.
//!
//! llama.cpp logs from inside its calls, through a function that anybody can set: this one fails an assertion.

use core::cell::Cell;
use core::ffi::{c_char, c_void};
use std::sync::OnceLock;

use llama_core::{Context, ErrorKind, SamplerChain, Token};

use crate::subjects::try_fill;

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
}

/// llama-core's own function with its argument.
struct Original(llama_sys::ggml_log_callback, *mut c_void);

// SAFETY: the pointer is llama-core's, which passes none, and it is only handed on.
unsafe impl Send for Original {}
// SAFETY: as for `Send`.
unsafe impl Sync for Original {}

static ORIGINAL: OnceLock<Original> = OnceLock::new();

unsafe extern "C-unwind" fn on_log(level: llama_sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    if ARMED.replace(false) {
        // SAFETY: the strings are NUL-terminated and the format takes none. llama-core's guard around the call catches
        // what this throws; the frames of C++ between are left as by any failed assertion.
        unsafe { llama_sys::ggml_abort(c"hostile.cpp".as_ptr(), 1, c"a failure on purpose".as_ptr()) };
    }
    if let Some(Original(Some(original), data)) = ORIGINAL.get() {
        // SAFETY: what llama.cpp would have called with the same arguments.
        unsafe { original(level, text, *data) };
    }
}

fn install() {
    ORIGINAL.get_or_init(|| {
        llama_core::init();
        let (mut original, mut data) = (None, core::ptr::null_mut());
        // SAFETY: both places are valid for the call; the new function is valid for the life of the process.
        unsafe {
            llama_sys::llama_log_get(&raw mut original, &raw mut data);
            llama_sys::llama_log_set(Some(on_log), core::ptr::null_mut());
        }
        Original(original, data)
    });
}

/// Leaves the context as a failed assertion in the middle of a batch leaves it.
///
/// After the computation has changed, llama.cpp lays out its buffers again in the next batch, and logs it
/// (llama-context.cpp, `sched_reserve`).
pub(crate) fn poison(context: &mut Context) {
    install();
    let embeddings = context.params().embeddings;
    context.set_embeddings(!embeddings).unwrap();
    ARMED.set(true);
    let error = try_fill(context).unwrap_err();
    ARMED.set(false);
    assert!(matches!(error.kind(), ErrorKind::Internal { line: 1, .. }), "{error:?}");
    assert!(context.is_poisoned());
}

/// Leaves a chain as a failed assertion leaves it while it accepts a token.
///
/// The token is the trigger of a lazy grammar, and llama.cpp logs that it was found (llama-grammar.cpp,
/// `llama_grammar_accept_impl`).
pub(crate) fn poison_chain(chain: &mut SamplerChain, trigger: Token) {
    install();
    ARMED.set(true);
    let error = chain.accept(trigger).unwrap_err();
    ARMED.set(false);
    assert!(matches!(error.kind(), ErrorKind::Internal { line: 1, .. }), "{error:?}");
    assert!(chain.is_poisoned());
}
