//! Models: weights, vocabulary and metadata, shared by every context made from them.

mod adapters;
mod architecture;
mod classifier;
mod effective;
mod from_metadata;
mod hyperparameters;
mod kind;
mod kv_override;
mod load;
mod metadata;
mod opened;
mod origin;
mod params;
mod raw;
mod raw_params;
mod sampling_key;
mod save;
mod source;
mod split;
mod stated;
mod tensor_override;
pub(crate) mod tree_names;
mod vocabulary;

use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use llama_gguf::TensorInfo;

pub use crate::backend::max_tensor_overrides;
use adapters::Adapters;
pub(crate) use adapters::{Change, Walk};
pub use from_metadata::TensorView;

pub use kind::{ModelKind, RopeType};
pub use kv_override::KvValue;
pub(crate) use opened::Opened;
pub(crate) use origin::{Origin, Scaling, Shape, shape_of};
pub use params::{LazyMode, LoadMode, ModelParams, SplitMode};
pub(crate) use raw::load_without_weights;
pub use sampling_key::SamplingKey;
pub use source::ModelSource;
pub(crate) use source::cannot_read;
pub use split::{split_path, split_prefix};
pub use tensor_override::TensorPlace;

use crate::device::Links;
use crate::error::{ErrorKind, Result};
use crate::ffi::exit;
use crate::ffi::guard::{freed, guarded, or_logged};
use crate::ffi::string::{from_c, read_buffer};
use crate::tokenize::TextFacts;
use crate::vocab::Vocab;

/// A loaded model. Cheap to clone: clones share the weights, which are freed together with the last clone and the
/// last context, sampler or adapter that uses them.
#[derive(Clone)]
pub struct Model(Arc<Handle>);

/// The owner of the C object. Dropping it corresponds to `llama_model_free`.
struct Handle {
    raw: NonNull<llama_sys::llama_model>,
    source: Option<ModelSource>,
    params: ModelParams,
    n_ctx_train: u32,
    /// The number of positions for which the model has learned an embedding.
    n_positions: Option<u32>,
    /// The tensors of the files: some hundred bytes for each.
    tensors: Box<[TensorInfo]>,
    origin: Origin,
    adapters: Adapters,
    /// The servers of other machines that have a part of the model.
    links: Links,
    /// Facts about the vocabulary that the tokenising of long texts needs.
    text_facts: TextFacts,
}

// SAFETY: a llama_model is not bound to the thread that loaded it: its destructor frees buffers and memory maps
// (llama-model.cpp, llama-mmap.cpp), none of which use thread-local state.
unsafe impl Send for Handle {}
// SAFETY: with one exception, shared data is not written to once the model is loaded. Contexts hold the model as const
// (llama-context.h, `const llama_model & model`), and so do their graphs, the functions that read numbers and metadata,
// tokenisation (llama-vocab.cpp, sessions of each call) and saving (llama-model-saver.h). Two functions take it as non-const.
// `llama_init_from_model` would write to `hparams.n_ctx_train` for a context with its own YaRN scaling, which graphs read
// without a lock (llama-graph.cpp, models/laguna.cpp); no context is created with parameters that cause this
// (context/scaling.rs). Loading and freeing adapters changes the set `loras`, which is the exception: a lock protects it, also
// while other functions iterate over it (model/adapters.rs).
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.links.are_of_parent() {
            // The memory is the parent's to free.
            return;
        }
        let _freeing = exit::freeing();
        // SAFETY: this is the last owner: contexts, samplers and adapters each hold an `Arc`.
        let result = unsafe { guarded!(llama_model_free(self.raw.as_ptr())) };
        freed(format_args!("the model {}", source_name(self.source.as_ref())), result);
    }
}

impl Model {
    /// Takes ownership of a model that C has created. `tensors` are the tensors of its files.
    fn own(
        raw: NonNull<llama_sys::llama_model>,
        source: Option<ModelSource>,
        params: &ModelParams,
        tensors: Box<[TensorInfo]>,
        origin: Origin,
    ) -> Self {
        let (params, n_positions, links) = (params.clone(), learned_positions(&origin), params.links());
        let adapters = Adapters::default();
        // SAFETY: C has just created the model; the function reads a number.
        let n_ctx_train = count(unsafe { llama_sys::llama_model_n_ctx_train(raw.as_ptr()) });
        let text_facts = TextFacts::default();
        Self(Arc::new(Handle {
            raw,
            source,
            params,
            n_ctx_train,
            n_positions,
            tensors,
            origin,
            adapters,
            links,
            text_facts,
        }))
    }

    /// Returns the C object, for the calls of this crate.
    pub(crate) fn raw(&self) -> *mut llama_sys::llama_model {
        self.0.raw.as_ptr()
    }

    /// Returns the C object, for functions of `llama.h` that this crate does not wrap. The pointer is valid as long as a
    /// handle of the model lives.
    ///
    /// Calling such a function is `unsafe`. The caller must ensure that the model is not freed and not changed: other
    /// threads read it at the same time, and adapters are loaded and freed under a lock of this crate
    /// ([`LoraAdapter`](crate::LoraAdapter)). A failed assertion inside the call ends the process.
    #[must_use]
    pub fn as_ptr(&self) -> *mut llama_sys::llama_model {
        self.raw()
    }

    /// Returns the number of positions, for a model with a table of learned position embeddings, such as BERT and
    /// GPT-2.
    pub(crate) fn n_positions(&self) -> Option<u32> {
        self.0.n_positions
    }

    /// Returns the facts about the model's files that are kept after loading.
    pub(crate) fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// Returns the facts about the vocabulary for tokenising.
    pub(crate) fn text_facts(&self) -> &TextFacts {
        &self.0.text_facts
    }

    /// Returns the servers of other machines that have a part of the model.
    pub(crate) fn links(&self) -> &Links {
        &self.0.links
    }

    /// Prevents adapters from being loaded and freed during calls in which C iterates over the model's adapters.
    pub(crate) fn walk_adapters(&self) -> Walk<'_> {
        self.0.adapters.walk()
    }

    /// Prevents C from iterating over the model's adapters during a call that adds one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InCallback`] if the thread would wait for itself.
    pub(crate) fn change_adapters(&self) -> Result<Change<'_>> {
        self.0.adapters.change()
    }

    /// Frees an adapter.
    ///
    /// # Safety
    ///
    /// The adapter was loaded for this model, and nothing uses it any more.
    pub(crate) unsafe fn free_adapter(&self, adapter: NonNull<llama_sys::llama_adapter_lora>) {
        if self.links().are_of_parent() {
            // The memory is the parent's to free.
            return;
        }
        // SAFETY: guaranteed by the caller.
        unsafe { self.0.adapters.free(adapter) }
    }

    /// Returns the source of the model, or `None` for a model [created in memory](Model::from_metadata).
    #[must_use]
    pub fn source(&self) -> Option<&ModelSource> {
        self.0.source.as_ref()
    }

    /// Returns the file from which the model was loaded, or the first of several files. `None` if the model was
    /// loaded from an open file or created in memory.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.source()?.path()
    }

    /// Returns whether the weights are loaded. A model without weights cannot create contexts.
    #[must_use]
    pub fn has_weights(&self) -> bool {
        !self.0.params.is_vocab_only() && !self.0.params.is_no_alloc()
    }

    /// Refuses an operation that needs weights if the model has none.
    pub(crate) fn check_weights(&self, operation: &'static str) -> Result<()> {
        if self.has_weights() {
            return Ok(());
        }
        let parameter = if self.params().is_vocab_only() { "vocab_only" } else { "no_alloc" };
        let reason = format!("it was loaded with {parameter} and has no weights");
        Err(ErrorKind::Unsupported { operation, reason }.into())
    }

    /// Returns the tensors of the file or files with their names, shapes and types, which show how each part is
    /// quantised. Empty for a model created in memory.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.0.tensors
    }

    /// Returns the parameters with which the model was loaded.
    #[must_use]
    pub fn params(&self) -> &ModelParams {
        &self.0.params
    }

    /// Returns the vocabulary. Corresponds to `llama_model_get_vocab`.
    #[must_use]
    pub fn vocab(&self) -> Vocab<'_> {
        Vocab::new(self)
    }

    /// Returns whether two handles refer to the same loaded model.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns the context size in tokens of the training, from the metadata. Corresponds to
    /// `llama_model_n_ctx_train`.
    #[must_use]
    pub fn n_ctx_train(&self) -> u32 {
        if let Some(stated) = self.stated() {
            return stated.n_ctx_train();
        }
        self.0.n_ctx_train
    }

    /// Returns the width of the hidden state, in floats. Corresponds to `llama_model_n_embd`.
    #[must_use]
    pub fn n_embd(&self) -> u32 {
        if let Some(stated) = self.stated() {
            return stated.n_embd();
        }
        // SAFETY: the handle owns a valid model; the function reads a number.
        count(unsafe { llama_sys::llama_model_n_embd(self.raw()) })
    }

    /// Returns the width of an input embedding, in floats. Corresponds to `llama_model_n_embd_inp`.
    #[must_use]
    pub fn n_embd_inp(&self) -> u32 {
        if let Some(stated) = self.stated() {
            return stated.n_embd_inp();
        }
        // SAFETY: as in `n_embd`.
        count(unsafe { llama_sys::llama_model_n_embd_inp(self.raw()) })
    }

    /// Returns the width of an output embedding, in floats. Corresponds to `llama_model_n_embd_out`.
    #[must_use]
    pub fn n_embd_out(&self) -> u32 {
        if let Some(stated) = self.stated() {
            return stated.n_embd_out();
        }
        // SAFETY: as in `n_embd`.
        count(unsafe { llama_sys::llama_model_n_embd_out(self.raw()) })
    }

    /// Returns the number of layers, without those of [`n_layer_nextn`](Model::n_layer_nextn). Corresponds to
    /// `llama_model_n_layer`.
    #[must_use]
    pub fn n_layer(&self) -> u32 {
        if let Some(stated) = self.stated() {
            return stated.n_layer();
        }
        // SAFETY: as in `n_embd`.
        count(unsafe { llama_sys::llama_model_n_layer(self.raw()) })
    }

    /// Returns the number of layers at the end that predict further tokens, which is 0 for most models. They are
    /// loaded with [`ModelParams::load_mtp`]. Corresponds to `llama_model_n_layer_nextn`.
    #[must_use]
    pub fn n_layer_nextn(&self) -> u32 {
        if let Some(stated) = self.stated() {
            return stated.n_layer_nextn();
        }
        // SAFETY: as in `n_embd`.
        count(unsafe { llama_sys::llama_model_n_layer_nextn(self.raw()) })
    }

    /// Returns the number of attention heads of the first layer. Corresponds to `llama_model_n_head`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] for a model that was loaded with [`vocab_only`](ModelParams::vocab_only) and whose
    /// metadata have a separate number for each layer, or none.
    pub fn n_head(&self) -> Result<u32> {
        if let Some(stated) = self.stated() {
            return stated.n_head();
        }
        if self.n_layer() == 0 {
            return Ok(0);
        }
        // SAFETY: as in `n_embd`; guarded because hparams.n_head asserts on the layer.
        unsafe { guarded!(llama_model_n_head(self.raw())) }.map(count)
    }

    /// Returns the number of key and value heads of the first layer. Corresponds to `llama_model_n_head_kv`.
    ///
    /// # Errors
    ///
    /// The errors of [`Model::n_head`].
    pub fn n_head_kv(&self) -> Result<u32> {
        if let Some(stated) = self.stated() {
            return stated.n_head_kv();
        }
        if self.n_layer() == 0 {
            return Ok(0);
        }
        // SAFETY: as in `n_head`.
        unsafe { guarded!(llama_model_n_head_kv(self.raw())) }.map(count)
    }

    /// Returns the size of the sliding window in tokens, 0 for none. Corresponds to `llama_model_n_swa`.
    #[must_use]
    pub fn n_swa(&self) -> u32 {
        if let Some(stated) = self.stated() {
            return stated.n_swa();
        }
        // SAFETY: as in `n_embd`.
        count(unsafe { llama_sys::llama_model_n_swa(self.raw()) })
    }

    /// Returns the number of parameters. Corresponds to `llama_model_n_params`.
    #[must_use]
    pub fn n_params(&self) -> u64 {
        if let Some(stated) = self.stated() {
            return stated.n_params();
        }
        // SAFETY: as in `n_embd`.
        unsafe { llama_sys::llama_model_n_params(self.raw()) }
    }

    /// Returns the size of all tensors, in bytes. Corresponds to `llama_model_size`.
    #[must_use]
    pub fn size(&self) -> u64 {
        if let Some(stated) = self.stated() {
            return stated.size();
        }
        // SAFETY: as in `n_embd`.
        unsafe { llama_sys::llama_model_size(self.raw()) }
    }

    /// Returns one line of text: architecture, size and quantisation, or a note that only the vocabulary is loaded.
    /// Corresponds to `llama_model_desc`.
    #[must_use]
    pub fn description(&self) -> String {
        if let Some(stated) = self.stated() {
            return stated.description();
        }
        // SAFETY: the buffer has `size` bytes.
        let text =
            read_buffer(|buffer, size| unsafe { guarded!(llama_model_desc(self.raw(), buffer, size)) });
        or_logged(text, None).unwrap_or_default()
    }

    /// Returns the name of the file type, for example `Q4_1`. `None` for a model loaded with
    /// [`vocab_only`](ModelParams::vocab_only) whose file does not state it. Corresponds to `llama_model_ftype` and
    /// `llama_ftype_name`.
    #[must_use]
    pub fn file_type(&self) -> Option<String> {
        let file_type = match self.stated() {
            Some(stated) => llama_sys::llama_ftype(stated.file_type()?.try_into().ok()?),
            // SAFETY: the handle owns a valid model; the function reads a number.
            None => unsafe { llama_sys::llama_model_ftype(self.raw()) },
        };
        // SAFETY: the function takes any number, and the name is a string literal (llama-model-loader.cpp).
        unsafe { from_c(llama_sys::llama_ftype_name(file_type)) }
    }

    /// Returns the factor by which the model's `RoPE` frequencies were scaled in training. Corresponds to
    /// `llama_model_rope_freq_scale_train`.
    #[must_use]
    pub fn rope_freq_scale_train(&self) -> f32 {
        if let Some(stated) = self.stated() {
            return stated.rope_freq_scale_train();
        }
        // SAFETY: as in `n_embd`.
        unsafe { llama_sys::llama_model_rope_freq_scale_train(self.raw()) }
    }

    /// Returns whether the model has an encoder, for [`Context::encode`](crate::Context::encode). Corresponds to
    /// `llama_model_has_encoder`.
    #[must_use]
    pub fn has_encoder(&self) -> bool {
        // SAFETY: as in `n_embd`.
        unsafe { llama_sys::llama_model_has_encoder(self.raw()) }
    }

    /// Returns whether the model has a decoder, for [`Context::decode`](crate::Context::decode). Corresponds to
    /// `llama_model_has_decoder`.
    #[must_use]
    pub fn has_decoder(&self) -> bool {
        // SAFETY: as in `n_embd`.
        unsafe { llama_sys::llama_model_has_decoder(self.raw()) }
    }

    /// Returns the token with which the decoder of an encoder-decoder model begins. Corresponds to
    /// `llama_model_decoder_start_token`.
    #[must_use]
    pub fn decoder_start_token(&self) -> Option<crate::Token> {
        if let Some(stated) = self.stated() {
            return stated.decoder_start_token().map(crate::Token::new);
        }
        // SAFETY: as in `n_embd`.
        let token = unsafe { llama_sys::llama_model_decoder_start_token(self.raw()) };
        (token != llama_sys::LLAMA_TOKEN_NULL).then_some(crate::Token::new(token))
    }

    /// Returns whether the model keeps a state instead of a cache of keys and values, like Mamba and RWKV.
    /// Corresponds to `llama_model_is_recurrent`.
    #[must_use]
    pub fn is_recurrent(&self) -> bool {
        // SAFETY: as in `n_embd`.
        unsafe { llama_sys::llama_model_is_recurrent(self.raw()) }
    }

    /// Returns whether the model keeps a state and a cache of keys and values, like Jamba. Corresponds to
    /// `llama_model_is_hybrid`.
    #[must_use]
    pub fn is_hybrid(&self) -> bool {
        // SAFETY: as in `n_embd`.
        unsafe { llama_sys::llama_model_is_hybrid(self.raw()) }
    }

    /// Returns whether the model generates by diffusion. Corresponds to `llama_model_is_diffusion`.
    #[must_use]
    pub fn is_diffusion(&self) -> bool {
        // SAFETY: as in `n_embd`.
        unsafe { llama_sys::llama_model_is_diffusion(self.raw()) }
    }
}

impl PartialEq for Model {
    /// Returns whether both are handles of the same loaded model.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Model {}

impl core::fmt::Debug for Model {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Model")
            .field("source", &self.0.source)
            .field("description", &self.description())
            .finish_non_exhaustive()
    }
}

/// Returns the name of a model's source for messages.
fn source_name(source: Option<&ModelSource>) -> String {
    source.map_or_else(|| "created in memory".to_owned(), ToString::to_string)
}

/// Returns the rows of the table of learned position embeddings (llama-arch.cpp, `LLM_TENSOR_POS_EMBD`).
fn learned_positions(origin: &Origin) -> Option<u32> {
    let [_, rows, ..] = origin.shape("position_embd.weight")?;
    Some(u32::try_from(rows).unwrap_or(u32::MAX))
}

/// Converts a count that C holds in a signed integer.
fn count(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}
