//! A context of a model that has nothing but a vocabulary, whose row of logits can be written.

use std::ffi::CString;
use std::path::Path;
use std::ptr::NonNull;

use llama_gguf::{TensorType, Value, Writer};
use llama_sys as sys;

use crate::chains::Chain;

/// The width of the model, the smallest with a whole block.
const WIDTH: usize = 32;

/// A model and a context in which one token has been decoded.
pub(crate) struct Context {
    model: NonNull<sys::llama_model>,
    context: NonNull<sys::llama_context>,
    row: NonNull<f32>,
    n_vocab: usize,
}

/// A chain of llama.cpp and the context from which it samples.
pub(crate) struct RawChain<'c> {
    chain: NonNull<sys::llama_sampler>,
    context: &'c Context,
}

impl Context {
    pub(crate) fn new(n_vocab: usize) -> Self {
        llama_core::init();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("vocabulary.gguf");
        write_model(&path, n_vocab);
        let path = CString::new(path.to_str().expect("a path in UTF-8")).expect("a path without NUL");
        // SAFETY: the parameters are llama.cpp's defaults, the path is NUL-terminated, and objects are checked before their
        // use. The token is in the vocabulary, and the batch is used while it lives. The row belongs to the context until it
        // decodes again, which it does not.
        unsafe {
            let mut params = sys::llama_model_default_params();
            params.load_mode = sys::llama_load_mode::LLAMA_LOAD_MODE_NONE;
            let model = sys::llama_model_load_from_file(path.as_ptr(), params);
            let model = NonNull::new(model).expect("the model loads");
            let mut params = sys::llama_context_default_params();
            (params.n_ctx, params.n_threads, params.n_threads_batch) = (64, 1, 1);
            let context = sys::llama_init_from_model(model.as_ptr(), params);
            let context = NonNull::new(context).expect("the context fits");
            let mut token = 1;
            let batch = sys::llama_batch_get_one(&raw mut token, 1);
            assert_eq!(sys::llama_decode(context.as_ptr(), batch), 0);
            let row = NonNull::new(sys::llama_get_logits_ith(context.as_ptr(), -1)).expect("a row");
            Self { model, context, row, n_vocab }
        }
    }

    pub(crate) fn n_vocab(&self) -> usize {
        self.n_vocab
    }

    /// Returns the row that is sampled from.
    pub(crate) fn row(&self) -> &[f32] {
        // SAFETY: the row has one float for each token of the vocabulary, and only `write` writes to it.
        unsafe { std::slice::from_raw_parts(self.row.as_ptr(), self.n_vocab) }
    }

    /// Replaces the row.
    pub(crate) fn write(&self, row: &[f32]) {
        assert_eq!(row.len(), self.n_vocab);
        // SAFETY: both rows have this length, and nothing reads the context's row during the call.
        unsafe { std::ptr::copy_nonoverlapping(row.as_ptr(), self.row.as_ptr(), row.len()) };
    }

    /// Creates a chain that samples from the row.
    pub(crate) fn chain(&self, chain: &Chain) -> RawChain<'_> {
        // SAFETY: takes llama.cpp's default parameters; the chain takes ownership of the new samplers.
        unsafe {
            let raw = sys::llama_sampler_chain_init(sys::llama_sampler_chain_default_params());
            for sampler in chain.raw() {
                sys::llama_sampler_chain_add(raw, sampler);
            }
            RawChain { chain: NonNull::new(raw).expect("a chain"), context: self }
        }
    }
}

impl RawChain<'_> {
    pub(crate) fn sample(&self) -> i32 {
        // SAFETY: chain and context are valid, and the context has a row for its last token.
        unsafe { sys::llama_sampler_sample(self.chain.as_ptr(), self.context.context.as_ptr(), -1) }
    }
}

impl Drop for RawChain<'_> {
    fn drop(&mut self) {
        // SAFETY: the chain is valid, and this is its owner.
        unsafe { sys::llama_sampler_free(self.chain.as_ptr()) };
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: both are valid, this is their owner, and the context is freed first.
        unsafe {
            sys::llama_free(self.context.as_ptr());
            sys::llama_model_free(self.model.as_ptr());
        }
    }
}

/// Writes a model of one layer, all zeros, with `n_vocab` tokens that have no text.
fn write_model(path: &Path, n_vocab: usize) {
    let number = |value: usize| Value::from(u32::try_from(value).expect("a small number"));
    let mut writer = Writer::new();
    writer.set("general.architecture", "llama").set("tokenizer.ggml.model", "no_vocab");
    for (key, value) in [
        ("vocab_size", n_vocab),
        ("context_length", 64),
        ("embedding_length", WIDTH),
        ("block_count", 1),
        ("feed_forward_length", WIDTH),
        ("attention.head_count", 1),
        ("rope.dimension_count", WIDTH),
    ] {
        writer.set(format!("llama.{key}"), number(value));
    }
    writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5_f32);
    let mut zeros = |name: &str, shape: &[usize]| {
        let bytes = vec![0_u8; 4 * shape.iter().product::<usize>()];
        let shape: Vec<u64> = shape.iter().map(|length| *length as u64).collect();
        writer.tensor(name, TensorType::F32, &shape, bytes).expect("a tensor of that many bytes");
    };
    zeros("token_embd.weight", &[WIDTH, n_vocab]);
    zeros("output_norm.weight", &[WIDTH]);
    for name in ["attn_norm", "ffn_norm"] {
        zeros(&format!("blk.0.{name}.weight"), &[WIDTH]);
    }
    for name in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"] {
        zeros(&format!("blk.0.{name}.weight"), &[WIDTH, WIDTH]);
    }
    writer.write_file(path).expect("the model is written");
}
