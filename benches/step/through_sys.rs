//! The steps through `llama-sys`, with as little work as a careful program over the C API does: once with the batch
//! object that C keeps between steps, and once with `llama_decode`, which most programs call and which creates such
//! an object each time.

use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::ptr;

use anyhow::{Context as _, Result, ensure};

use crate::choice::{FIRST, N_CTX, largest_logit};

const DECODE: llama_sys::llama_process_type = llama_sys::llama_process_type::LLAMA_PROCESS_TYPE_DECODE;

/// A model, a context and a batch of the C API.
pub(crate) struct Sys {
    model: *mut llama_sys::llama_model,
    context: *mut llama_sys::llama_context,
    batch: *mut llama_sys::llama_batch_ext,
    /// For `llama_decode`.
    arrays: llama_sys::llama_batch,
    n_vocab: usize,
}

impl Drop for Sys {
    fn drop(&mut self) {
        // SAFETY: each pointer is NULL or valid and owned here, and the context is freed before its model. Freeing
        // NULL does nothing, and the arrays are those of llama_batch_init.
        unsafe {
            llama_sys::llama_batch_free(self.arrays);
            llama_sys::llama_batch_ext_free(self.batch);
            llama_sys::llama_free(self.context);
            llama_sys::llama_model_free(self.model);
        }
    }
}

impl Sys {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let path = CString::new(path.to_str().context("the path is not UTF-8")?)?;
        let (model, context, batch) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        // SAFETY: makes arrays for one token of one sequence.
        let arrays = unsafe { llama_sys::llama_batch_init(1, 0, 1) };
        let mut sys = Self { model, context, batch, arrays, n_vocab: 0 };
        // SAFETY: the path is NUL-terminated and the parameters are llama.cpp's own, except for numbers in range. The
        // model is used only when it was loaded.
        unsafe {
            llama_sys::llama_log_set(Some(be_quiet), ptr::null_mut());
            llama_sys::llama_backend_init();
            let params = llama_sys::llama_model_default_params();
            sys.model = llama_sys::llama_model_load_from_file(path.as_ptr(), params);
            ensure!(!sys.model.is_null(), "llama.cpp could not load the model");
            let mut params = llama_sys::llama_context_default_params();
            (params.n_ctx, params.n_threads, params.n_threads_batch) = (N_CTX, 1, 1);
            sys.context = llama_sys::llama_init_from_model(sys.model, params);
            ensure!(!sys.context.is_null(), "llama.cpp could not make a context");
            sys.batch = llama_sys::llama_batch_ext_init(sys.context);
            ensure!(!sys.batch.is_null(), "llama.cpp could not make a batch");
            let vocab = llama_sys::llama_model_get_vocab(sys.model);
            sys.n_vocab = usize::try_from(llama_sys::llama_vocab_n_tokens(vocab))?;
        }
        Ok(sys)
    }

    #[allow(dead_code, reason = "the criterion benchmark does not use it")]
    pub(crate) fn n_vocab(&self) -> usize {
        self.n_vocab
    }

    /// Takes steps in an empty context and appends the token that each of them chose.
    #[inline(never)]
    pub(crate) fn steps_through_sys(&mut self, steps: i32, tokens: &mut Vec<i32>) -> Result<()> {
        let (context, batch) = (self.context, self.batch);
        // SAFETY: the context is valid, and its memory with it.
        unsafe { llama_sys::llama_memory_clear(llama_sys::llama_get_memory(context), false) };
        let mut token = FIRST;
        for pos in 0..steps {
            let positions = [pos; 4];
            // SAFETY: the context and its batch are valid. C copies at most four positions, and pushes to vectors of
            // its own.
            let code = unsafe {
                llama_sys::llama_batch_ext_clear(batch);
                let index = llama_sys::llama_batch_ext_add_token(batch, 0, token);
                llama_sys::llama_batch_ext_set_pos(batch, index, positions.as_ptr());
                llama_sys::llama_batch_ext_set_output_logits(batch, index, true);
                llama_sys::llama_process(context, DECODE, batch)
            };
            token = self.choose(code)?;
            tokens.push(token);
        }
        Ok(())
    }

    /// Takes steps with `llama_decode`.
    #[inline(never)]
    pub(crate) fn steps_through_arrays(&mut self, steps: i32, tokens: &mut Vec<i32>) -> Result<()> {
        let (context, mut arrays) = (self.context, self.arrays);
        // SAFETY: the context is valid, and its memory with it.
        unsafe { llama_sys::llama_memory_clear(llama_sys::llama_get_memory(context), false) };
        let mut token = FIRST;
        for pos in 0..steps {
            arrays.n_tokens = 1;
            // SAFETY: the arrays have room for one token of one sequence, and the context is valid.
            let code = unsafe {
                *arrays.token = token;
                *arrays.pos = pos;
                *arrays.n_seq_id = 1;
                **arrays.seq_id = 0;
                *arrays.logits = 1;
                llama_sys::llama_decode(context, arrays)
            };
            token = self.choose(code)?;
            tokens.push(token);
        }
        Ok(())
    }

    #[inline]
    fn choose(&self, code: i32) -> Result<i32> {
        ensure!(code == 0, "llama.cpp could not decode: {code}");
        // SAFETY: the context is valid, and the only token has an output.
        let row = unsafe { llama_sys::llama_get_logits_ith(self.context, 0) };
        ensure!(!row.is_null(), "llama.cpp has no logits");
        // SAFETY: a row has a float for each token of the vocabulary, and is not written before the next batch.
        Ok(largest_logit(unsafe { std::slice::from_raw_parts(row, self.n_vocab) }))
    }
}

unsafe extern "C-unwind" fn be_quiet(_: llama_sys::ggml_log_level, _: *const c_char, _: *mut c_void) {}
