//! Failures inside the real library are contained: an assertion or an exception is returned with its place and
//! reason, the process continues, and new contexts give the same results as before.

mod threads;

use core::ffi::{c_char, c_void};
use std::ffi::CString;
use std::ptr;
use std::sync::Once;

use llama_sys::llama_shim_outcome as Outcome;
use test_models::Tiny;

/// Makes a guarded call and returns the outcome and the guard's message.
macro_rules! guarded {
    ($function:ident($($argument:expr),*)) => {{
        let mut message: [core::ffi::c_char; llama_sys::LLAMA_SHIM_MESSAGE_SIZE as usize] = [0; _];
        let mut result = core::mem::MaybeUninit::uninit();
        let outcome =
            llama_sys::call::$function(message.as_mut_ptr(), result.as_mut_ptr(), $($argument),*);
        // The buffer was zeroed, and the guard writes NUL-terminated texts.
        let message = core::ffi::CStr::from_ptr(message.as_ptr()).to_str().unwrap().to_owned();
        (outcome, message)
    }};
}

pub(crate) use guarded;

/// Asserts that an assertion of this source file was contained, and that its path names no folder of this machine.
#[track_caller]
fn assert_contained((outcome, message): (Outcome, String), file: &str, text: &str) {
    assert_eq!(outcome, Outcome::LLAMA_SHIM_OUTCOME_ASSERTION, "{message}");
    let (place, assertion) = message.split_once(": ").unwrap();
    let (path, line) = place.rsplit_once(':').unwrap();
    assert!(path.ends_with(file), "{path}");
    assert!(line.parse::<u32>().unwrap() > 0);
    assert!(assertion.contains(text), "{assertion}");
    assert!(!path.starts_with('/') && !path.contains(":\\"), "{path} is a path of this machine");
    let here = env!("CARGO_MANIFEST_DIR").trim_end_matches("crates/llama-sys");
    assert!(
        !message.contains(here) && !message.contains("/home/") && !message.contains("/root/"),
        "{message}"
    );
    // SAFETY: takes no arguments.
    assert!(!unsafe { llama_sys::llama_shim_is_guarded() });
}

unsafe extern "C-unwind" fn be_quiet(_: llama_sys::ggml_log_level, _: *const c_char, _: *mut c_void) {}

struct Model(*mut llama_sys::llama_model);

impl Model {
    fn load(tiny: Tiny) -> Self {
        static INIT: Once = Once::new();
        // SAFETY: the first use of the library; `Once` blocks other threads until it is done.
        INIT.call_once(|| unsafe {
            #[cfg(feature = "dynamic")]
            llama_sys::dynamic::load(None).unwrap();
            llama_sys::llama_log_set(Some(be_quiet), ptr::null_mut());
            llama_sys::llama_shim_install_abort_callback();
            llama_sys::llama_backend_init();
            assert!(llama_sys::llama_shim_learn_computation());
        });
        let path = CString::new(tiny.path().to_str().unwrap()).unwrap();
        // SAFETY: the path is NUL-terminated and the parameters are llama.cpp's own.
        let raw = unsafe {
            llama_sys::llama_model_load_from_file(path.as_ptr(), llama_sys::llama_model_default_params())
        };
        assert!(!raw.is_null());
        Self(raw)
    }

    fn vocab(&self) -> *const llama_sys::llama_vocab {
        // SAFETY: the model is valid.
        unsafe { llama_sys::llama_model_get_vocab(self.0) }
    }

    /// Creates a context that computes with one thread.
    fn context(&self, n_batch: u32) -> Context<'_> {
        self.context_with_threads(n_batch, 1)
    }

    fn context_with_threads(&self, n_batch: u32, n_threads: i32) -> Context<'_> {
        // SAFETY: the model is valid and the parameters are llama.cpp's own except for numbers in range.
        let raw = unsafe {
            let mut params = llama_sys::llama_context_default_params();
            (params.n_ctx, params.n_batch, params.n_ubatch) = (256, n_batch, n_batch);
            (params.n_threads, params.n_threads_batch) = (n_threads, n_threads);
            llama_sys::llama_init_from_model(self.0, params)
        };
        assert!(!raw.is_null());
        Context { raw, _model: self }
    }

    /// Returns the most likely tokens after some tokens, computed in a new context.
    fn continuation(&self) -> Vec<i32> {
        let context = self.context(64);
        let mut batch = vec![1, 261, 301, 330];
        let mut found = Vec::new();
        while found.len() < 8 {
            assert_eq!(context.decode(&mut batch), 0);
            batch = vec![context.likeliest()];
            found.extend(&batch);
        }
        found
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: contexts borrow the model, so none is left.
        unsafe { llama_sys::llama_model_free(self.0) };
    }
}

struct Context<'m> {
    raw: *mut llama_sys::llama_context,
    _model: &'m Model,
}

impl Context<'_> {
    fn memory(&self) -> llama_sys::llama_memory_t {
        // SAFETY: the context is valid.
        unsafe { llama_sys::llama_get_memory(self.raw) }
    }

    fn decode(&self, tokens: &mut [i32]) -> i32 {
        let count = i32::try_from(tokens.len()).unwrap();
        // SAFETY: the context is valid and the batch has that many tokens, which outlive the call.
        unsafe {
            llama_sys::llama_decode(self.raw, llama_sys::llama_batch_get_one(tokens.as_mut_ptr(), count))
        }
    }

    /// Decodes with a guard, and returns the outcome and the message.
    fn guarded_decode(&self, tokens: &mut [i32]) -> (Outcome, String) {
        let count = i32::try_from(tokens.len()).unwrap();
        // SAFETY: as in `decode`.
        unsafe {
            let batch = llama_sys::llama_batch_get_one(tokens.as_mut_ptr(), count);
            guarded!(llama_decode(self.raw, batch))
        }
    }

    fn likeliest(&self) -> i32 {
        // SAFETY: the last token of a batch of `llama_batch_get_one` has logits, one for each token.
        let row = unsafe {
            let n_vocab = llama_sys::llama_vocab_n_tokens(llama_sys::llama_model_get_vocab(self._model.0));
            core::slice::from_raw_parts(
                llama_sys::llama_get_logits_ith(self.raw, -1),
                usize::try_from(n_vocab).unwrap(),
            )
        };
        (0..).zip(row).max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        // SAFETY: the only owner. A context whose call was contained may still be freed.
        unsafe { llama_sys::llama_free(self.raw) };
    }
}

#[test]
fn sequence_that_does_not_exist() {
    for (tiny, file) in [(Tiny::Llama, "src/llama-kv-cache.cpp"), (Tiny::Gemma3, "src/llama-kv-cache.cpp")] {
        let model = Model::load(tiny);
        let before = model.continuation();
        let context = model.context(64);
        let memory = context.memory();
        // SAFETY: the memory is valid; the invalid id is the subject of the test.
        let outcome = unsafe { guarded!(llama_memory_seq_rm(memory, 9999, 0, -1)) };
        assert_contained(outcome, file, "GGML_ASSERT(seq_id == -1 || (seq_id >= 0");
        // SAFETY: as above.
        let outcome = unsafe { guarded!(llama_memory_seq_pos_max(memory, -7)) };
        assert_contained(outcome, file, "GGML_ASSERT(seq_id >= 0");
        assert_eq!(model.continuation(), before);
    }
}

#[test]
fn batch_that_is_larger_than_allowed() {
    for tiny in [Tiny::Llama, Tiny::Qwen2, Tiny::Mamba] {
        let model = Model::load(tiny);
        let before = model.continuation();
        let context = model.context(16);
        let outcome = context.guarded_decode(&mut [5; 17]);
        assert_contained(
            outcome,
            "src/llama-context.cpp",
            "GGML_ASSERT(n_tokens_all <= cparams.n_batch) failed",
        );
        drop(context);
        assert_eq!(model.continuation(), before);
    }
}

/// Makes BERT look up a position that is not in its table of 512.
fn look_up_a_wrong_position(context: &Context<'_>) -> (Outcome, String) {
    let (mut token, mut pos, mut one, mut seq_id, mut output) = (5, 100_000, 1, 0, 1);
    let mut seq_ids = [&raw mut seq_id];
    let batch = llama_sys::llama_batch {
        n_tokens: 1,
        token: &raw mut token,
        embd: ptr::null_mut(),
        pos: &raw mut pos,
        n_seq_id: &raw mut one,
        seq_id: seq_ids.as_mut_ptr(),
        logits: &raw mut output,
    };
    // SAFETY: the context and the arrays of the batch are valid; the invalid position is the subject of the test.
    unsafe { guarded!(llama_decode(context.raw, batch)) }
}

#[test]
fn assertion_inside_a_computation() {
    let model = Model::load(Tiny::Bert);
    let context = model.context(64);
    let outcome = look_up_a_wrong_position(&context);
    assert_contained(outcome, "ggml/src/ggml-cpu/ops.cpp", "GGML_ASSERT(i01 >= 0 && i01 < ne01) failed");
    drop(context);
    let model = Model::load(Tiny::Llama);
    assert_eq!(model.continuation(), model.continuation());
}

#[test]
fn exception_of_a_token_that_does_not_exist() {
    let model = Model::load(Tiny::Llama);
    let before = model.continuation();
    let vocab = model.vocab();
    for token in [-1, 507, i32::MAX] {
        // SAFETY: the vocabulary is valid; the invalid token is the subject of the test.
        let (outcome, message) = unsafe { guarded!(llama_vocab_get_text(vocab, token)) };
        assert_eq!(outcome, Outcome::LLAMA_SHIM_OUTCOME_EXCEPTION, "{message}");
        assert!(!message.is_empty());
    }
    assert_eq!(model.continuation(), before);
}

#[test]
fn contained_failures_leave_nothing_behind() {
    let model = Model::load(Tiny::Llama);
    let before = model.continuation();
    for _ in 0..100 {
        let context = model.context(16);
        let outcome = context.guarded_decode(&mut [5; 17]);
        assert_eq!(outcome.0, Outcome::LLAMA_SHIM_OUTCOME_ASSERTION);
    }
    assert_eq!(model.continuation(), before);
}

#[test]
fn other_threads_are_not_disturbed() {
    std::thread::scope(|scope| {
        for tiny in [Tiny::Llama, Tiny::Qwen2] {
            scope.spawn(move || {
                let model = Model::load(tiny);
                let before = model.continuation();
                for _ in 0..20 {
                    let context = model.context(16);
                    let outcome = context.guarded_decode(&mut [5; 17]);
                    assert_contained(outcome, "src/llama-context.cpp", "n_tokens_all <= cparams.n_batch");
                    drop(context);
                    assert_eq!(model.continuation(), before);
                }
            });
        }
    });
}

#[test]
fn success_is_a_success() {
    let model = Model::load(Tiny::Llama);
    let context = model.context(64);
    let outcome = context.guarded_decode(&mut [1, 261, 301]);
    assert_eq!(outcome, (Outcome::LLAMA_SHIM_OUTCOME_COMPLETED, String::new()));
    let mut last = -7;
    // SAFETY: the memory is valid, and the buffer has the required size.
    let outcome = unsafe {
        let mut message: [c_char; llama_sys::LLAMA_SHIM_MESSAGE_SIZE as usize] = [0; _];
        llama_sys::call::llama_memory_seq_pos_max(message.as_mut_ptr(), &raw mut last, context.memory(), 0)
    };
    assert_eq!((outcome, last), (Outcome::LLAMA_SHIM_OUTCOME_COMPLETED, 2));
}

#[test]
fn every_way_to_fail_is_told_apart() {
    drop(Model::load(Tiny::Llama));
    let fail = |how: Outcome| {
        // SAFETY: the text is NUL-terminated.
        unsafe { guarded!(llama_shim_fail(how, c"why".as_ptr())) }
    };
    let expected = [
        (Outcome::LLAMA_SHIM_OUTCOME_COMPLETED, Outcome::LLAMA_SHIM_OUTCOME_COMPLETED, ""),
        (
            Outcome::LLAMA_SHIM_OUTCOME_ASSERTION,
            Outcome::LLAMA_SHIM_OUTCOME_ASSERTION,
            "shim/guard.cpp:1: why",
        ),
        (Outcome::LLAMA_SHIM_OUTCOME_EXCEPTION, Outcome::LLAMA_SHIM_OUTCOME_EXCEPTION, "why"),
        (Outcome::LLAMA_SHIM_OUTCOME_NO_MEMORY, Outcome::LLAMA_SHIM_OUTCOME_NO_MEMORY, "std::bad_alloc"),
        // An exception that is not derived from `std::exception`.
        (
            llama_sys::llama_shim_outcome(99),
            Outcome::LLAMA_SHIM_OUTCOME_EXCEPTION,
            "an exception of an unknown type",
        ),
    ];
    for (how, outcome, message) in expected {
        assert_eq!(fail(how), (outcome, message.to_owned()));
        // SAFETY: takes no arguments.
        assert!(!unsafe { llama_sys::llama_shim_is_guarded() });
    }
}
