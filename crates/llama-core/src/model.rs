//! Models: weights, vocabulary and metadata, shared by every context made from them.

mod from_metadata;
mod metadata;
mod origin;
mod params;
mod save;

use core::ffi::c_void;
use core::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use from_metadata::TensorView;
pub(crate) use origin::{Origin, Shape, shape_of};
pub use params::{LoadMode, ModelParams, SplitMode};

use crate::error::{ErrorKind, Result};
use crate::ffi::callback::Callback;
use crate::ffi::guard::guard;
use crate::ffi::string::{from_c, path_to_c, read_buffer, to_c};
use crate::vocab::Vocab;
use crate::{backend, log};

/// A loaded model. Cheap to clone: clones share the weights, which are freed with the last of them and of the
/// contexts, samplers and adapters that use them.
#[derive(Clone)]
pub struct Model(Arc<Handle>);

/// The owner of the C object.
struct Handle {
    raw: NonNull<llama_sys::llama_model>,
    path: PathBuf,
    params: ModelParams,
    /// The number of positions that the model has learned an embedding for.
    n_positions: Option<u32>,
    origin: Origin,
    /// Guards the model's set of adapters: loading and freeing one changes it, and a context that plans its buffers
    /// walks through it (llama-context.cpp, `graph_max_nodes`).
    adapters: RwLock<()>,
}

// SAFETY: a llama_model has no tie to the thread that loaded it: its destructor frees buffers and memory maps
// (llama-model.cpp, llama-mmap.cpp), none of which use thread-local state.
unsafe impl Send for Handle {}
// SAFETY: after loading, the functions that this crate calls with a shared model only read it; making a context
// reads hyperparameters and tensors. There are two writes: llama_init_from_model's adjustment of n_ctx_train for
// YaRN, which `Context::new` keeps behind a lock (llama-context.cpp, llama_init_from_model), and the set of
// adapters, which has the lock `adapters` (llama-adapter.cpp). Tokenisation is documented as thread-safe in llama.h
// and uses per-call sessions (llama-vocab.cpp).
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: this is the last owner: contexts, samplers and adapters hold an `Arc` of their own.
        let freed = guard(|| unsafe { llama_sys::llama_model_free(self.raw.as_ptr()) });
        if let Err(error) = freed {
            tracing::error!("freeing the model {} failed: {error}", self.path.display());
        }
    }
}

impl Model {
    /// Loads a model from a GGUF file. Of a model in several files, give the first.
    ///
    /// The file is checked before llama.cpp sees it: a missing, truncated or malformed file is refused with
    /// the offset and the reason.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::File`] when the file is not a complete GGUF file, [`ErrorKind::Load`] when llama.cpp
    /// cannot use it (an architecture that it does not know, a missing tensor), [`ErrorKind::InvalidParameter`].
    ///
    /// Corresponds to `llama_model_load_from_file`.
    pub fn load(path: impl AsRef<Path>, params: &ModelParams) -> Result<Self> {
        Self::load_inner(path.as_ref(), params, None)
    }

    /// Loads a model and reports the progress, from 0.0 to 1.0. The callback can stop the loading with
    /// [`ControlFlow::Break`]. It runs on the calling thread.
    ///
    /// # Errors
    ///
    /// As [`Model::load`], and [`ErrorKind::LoadCancelled`] when the callback broke it off.
    ///
    /// # Panics
    ///
    /// A panic of the callback stops the loading and is resumed when llama.cpp has returned.
    ///
    /// Corresponds to `llama_progress_callback`.
    pub fn load_with_progress(
        path: impl AsRef<Path>,
        params: &ModelParams,
        mut progress: impl FnMut(f32) -> ControlFlow<()>,
    ) -> Result<Self> {
        Self::load_inner(path.as_ref(), params, Some(&mut progress))
    }

    fn load_inner(path: &Path, params: &ModelParams, progress: Option<Progress<'_>>) -> Result<Self> {
        backend::init();
        let c_path = path_to_c(path)?;
        let gguf = llama_gguf::validate_file(path)
            .map_err(|source| ErrorKind::File { path: path.to_owned(), source })?;
        let origin = Origin::of_file(path, &gguf)?;
        let mut raw_params = params.to_raw()?;
        raw_params.use_extra_bufts &= !multiplies_in_batches(&gguf);
        let mut state = progress.map(|closure| Callback::new(ProgressState { closure, cancelled: false }));
        if let Some(state) = &mut state {
            raw_params.progress_callback = Some(on_progress);
            raw_params.progress_callback_user_data = core::ptr::from_mut(state).cast::<c_void>();
        }
        let loaded = log::explain(|| {
            // SAFETY: the path is NUL-terminated, the parameters were made by `to_raw` from llama.cpp's
            // defaults, and the callback's state lives until after this call.
            let raw = guard(|| unsafe { llama_sys::llama_model_load_from_file(c_path.as_ptr(), raw_params) });
            let raw = match raw {
                Ok(raw) => raw,
                Err(error) if matches!(error.kind(), ErrorKind::OutOfMemory { .. }) => return Err(error),
                // Wrong numbers in the metadata fail assertions: that is the file's fault as well.
                Err(error) => {
                    log::keep(error.kind().to_string());
                    core::ptr::null_mut()
                }
            };
            NonNull::new(raw).ok_or_else(|| ErrorKind::Load { path: path.to_owned() }.into())
        });
        let cancelled = state.as_ref().is_some_and(|state| state.closure.cancelled);
        if let Some(state) = state {
            state.resume();
        }
        if cancelled {
            return Err(ErrorKind::LoadCancelled { path: path.to_owned() }.into());
        }
        Ok(Self::own(loaded?, path, params, origin))
    }

    /// Takes ownership of a model that C has made.
    fn own(raw: NonNull<llama_sys::llama_model>, path: &Path, params: &ModelParams, origin: Origin) -> Self {
        let (path, params, n_positions) = (path.to_owned(), params.clone(), learned_positions(&origin));
        Self(Arc::new(Handle { raw, path, params, n_positions, origin, adapters: RwLock::new(()) }))
    }

    /// The C object, for the calls of this crate.
    pub(crate) fn raw(&self) -> *mut llama_sys::llama_model {
        self.0.raw.as_ptr()
    }

    /// The number of positions, for a model that looks them up in a table of learned embeddings as BERT and GPT-2 do.
    pub(crate) fn n_positions(&self) -> Option<u32> {
        self.0.n_positions
    }

    /// What the model was made from.
    pub(crate) fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// Keeps adapters from being loaded and freed. For calls in which C walks through the model's adapters.
    pub(crate) fn hold_adapters(&self) -> RwLockReadGuard<'_, ()> {
        self.0.adapters.read()
    }

    /// For calls that load or free an adapter.
    pub(crate) fn change_adapters(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.adapters.write()
    }

    /// The file that the model was loaded from. Empty for a model [made in memory](Model::from_metadata).
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The parameters that the model was loaded with.
    #[must_use]
    pub fn params(&self) -> &ModelParams {
        &self.0.params
    }

    /// The vocabulary. Corresponds to `llama_model_get_vocab`.
    #[must_use]
    pub fn vocab(&self) -> Vocab<'_> {
        Vocab::new(self)
    }

    /// Whether two handles are of the same loaded model.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The context size in tokens that the model was trained with. Corresponds to `llama_model_n_ctx_train`.
    #[must_use]
    pub fn n_ctx_train(&self) -> u32 {
        // SAFETY: the handle owns a valid model; the function reads a number.
        count(unsafe { llama_sys::llama_model_n_ctx_train(self.raw()) })
    }

    /// The width of the hidden state, in floats. Corresponds to `llama_model_n_embd`.
    #[must_use]
    pub fn n_embd(&self) -> u32 {
        // SAFETY: as in `n_ctx_train`.
        count(unsafe { llama_sys::llama_model_n_embd(self.raw()) })
    }

    /// The width of an input embedding, in floats. Corresponds to `llama_model_n_embd_inp`.
    #[must_use]
    pub fn n_embd_inp(&self) -> u32 {
        // SAFETY: as in `n_ctx_train`.
        count(unsafe { llama_sys::llama_model_n_embd_inp(self.raw()) })
    }

    /// The width of an output embedding, in floats. Corresponds to `llama_model_n_embd_out`.
    #[must_use]
    pub fn n_embd_out(&self) -> u32 {
        // SAFETY: as in `n_ctx_train`.
        count(unsafe { llama_sys::llama_model_n_embd_out(self.raw()) })
    }

    /// The number of layers. Corresponds to `llama_model_n_layer`.
    #[must_use]
    pub fn n_layer(&self) -> u32 {
        // SAFETY: as in `n_ctx_train`.
        count(unsafe { llama_sys::llama_model_n_layer(self.raw()) })
    }

    /// The number of attention heads of the first layer. Corresponds to `llama_model_n_head`.
    ///
    /// # Errors
    ///
    /// None is expected; an assertion inside llama.cpp is reported instead of aborting.
    pub fn n_head(&self) -> Result<u32> {
        // SAFETY: as in `n_ctx_train`; guarded because hparams.n_head asserts on the layer.
        guard(|| count(unsafe { llama_sys::llama_model_n_head(self.raw()) }))
    }

    /// The number of key and value heads of the first layer. Corresponds to `llama_model_n_head_kv`.
    ///
    /// # Errors
    ///
    /// As [`Model::n_head`].
    pub fn n_head_kv(&self) -> Result<u32> {
        // SAFETY: as in `n_head`.
        guard(|| count(unsafe { llama_sys::llama_model_n_head_kv(self.raw()) }))
    }

    /// The size of the sliding window in tokens, 0 for none. Corresponds to `llama_model_n_swa`.
    #[must_use]
    pub fn n_swa(&self) -> u32 {
        // SAFETY: as in `n_ctx_train`.
        count(unsafe { llama_sys::llama_model_n_swa(self.raw()) })
    }

    /// The number of parameters. Corresponds to `llama_model_n_params`.
    #[must_use]
    pub fn n_params(&self) -> u64 {
        // SAFETY: as in `n_ctx_train`.
        unsafe { llama_sys::llama_model_n_params(self.raw()) }
    }

    /// The size of all tensors, in bytes. Corresponds to `llama_model_size`.
    #[must_use]
    pub fn size(&self) -> u64 {
        // SAFETY: as in `n_ctx_train`.
        unsafe { llama_sys::llama_model_size(self.raw()) }
    }

    /// One line of text: architecture, size and quantisation. Corresponds to `llama_model_desc`.
    #[must_use]
    pub fn description(&self) -> String {
        // SAFETY: the buffer has the length that is passed.
        read_buffer(|buffer, size| unsafe { llama_sys::llama_model_desc(self.raw(), buffer, size) })
            .unwrap_or_default()
    }

    /// The name of the file type, for example `Q4_1`. Corresponds to `llama_model_ftype` and
    /// `llama_ftype_name`.
    #[must_use]
    pub fn file_type(&self) -> String {
        // SAFETY: the model is valid and the name is a string literal (llama-model-loader.cpp).
        unsafe { from_c(llama_sys::llama_ftype_name(llama_sys::llama_model_ftype(self.raw()))) }
            .unwrap_or_default()
    }

    /// The factor by which the model's `RoPE` frequencies were scaled in training. Corresponds to
    /// `llama_model_rope_freq_scale_train`.
    #[must_use]
    pub fn rope_freq_scale_train(&self) -> f32 {
        // SAFETY: as in `n_ctx_train`.
        unsafe { llama_sys::llama_model_rope_freq_scale_train(self.raw()) }
    }

    /// Whether the model has an encoder, for [`Context::encode`](crate::Context::encode). Corresponds to
    /// `llama_model_has_encoder`.
    #[must_use]
    pub fn has_encoder(&self) -> bool {
        // SAFETY: as in `n_ctx_train`.
        unsafe { llama_sys::llama_model_has_encoder(self.raw()) }
    }

    /// Whether the model has a decoder, for [`Context::decode`](crate::Context::decode). Corresponds to
    /// `llama_model_has_decoder`.
    #[must_use]
    pub fn has_decoder(&self) -> bool {
        // SAFETY: as in `n_ctx_train`.
        unsafe { llama_sys::llama_model_has_decoder(self.raw()) }
    }

    /// The token that the decoder of an encoder-decoder model begins with. Corresponds to
    /// `llama_model_decoder_start_token`.
    #[must_use]
    pub fn decoder_start_token(&self) -> Option<crate::Token> {
        // SAFETY: as in `n_ctx_train`.
        let token = unsafe { llama_sys::llama_model_decoder_start_token(self.raw()) };
        (token != llama_sys::LLAMA_TOKEN_NULL).then_some(crate::Token::new(token))
    }

    /// Whether the model keeps a state instead of a cache of keys and values, as Mamba and RWKV do.
    /// Corresponds to `llama_model_is_recurrent`.
    #[must_use]
    pub fn is_recurrent(&self) -> bool {
        // SAFETY: as in `n_ctx_train`.
        unsafe { llama_sys::llama_model_is_recurrent(self.raw()) }
    }

    /// Whether the model keeps both, as Jamba does. Corresponds to `llama_model_is_hybrid`.
    #[must_use]
    pub fn is_hybrid(&self) -> bool {
        // SAFETY: as in `n_ctx_train`.
        unsafe { llama_sys::llama_model_is_hybrid(self.raw()) }
    }

    /// Whether the model generates by diffusion. Corresponds to `llama_model_is_diffusion`.
    #[must_use]
    pub fn is_diffusion(&self) -> bool {
        // SAFETY: as in `n_ctx_train`.
        unsafe { llama_sys::llama_model_is_diffusion(self.raw()) }
    }

    /// The chat template of that name, or the default one: a Jinja text. Corresponds to
    /// `llama_model_chat_template`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InteriorNul`] for a name with a NUL byte.
    pub fn chat_template(&self, name: Option<&str>) -> Result<Option<String>> {
        let name = name.map(|name| to_c("template name", name)).transpose()?;
        let name = name.as_ref().map_or(core::ptr::null(), |name| name.as_ptr());
        // SAFETY: the name is NULL or NUL-terminated, and the result is NULL or a string of the model.
        Ok(unsafe { from_c(llama_sys::llama_model_chat_template(self.raw(), name)) })
    }
}

impl core::fmt::Debug for Model {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Model").field("path", &self.0.path).field("description", &self.description()).finish()
    }
}

type Progress<'a> = &'a mut dyn FnMut(f32) -> ControlFlow<()>;

struct ProgressState<'a> {
    closure: Progress<'a>,
    cancelled: bool,
}

unsafe extern "C-unwind" fn on_progress(progress: f32, data: *mut c_void) -> bool {
    // SAFETY: `load_inner` passes its own `Callback`, which nobody else uses during the load; llama.cpp calls
    // back on the loading thread (llama-model-loader.cpp).
    let callback = unsafe { &mut *data.cast::<Callback<ProgressState<'_>>>() };
    callback.call(false, |state| {
        let go_on = (state.closure)(progress).is_continue();
        state.cancelled |= !go_on;
        go_on
    })
}

/// Whether weights are multiplied with several matrices at once: with one of each sequence in recurrent layers, with
/// one of each head in multi-head latent attention. ggml's AMX kernels take such a product for one with as many weights,
/// and read and write outside of their buffers (ggml-cpu/amx/mmq.cpp, `ggml_batch_offset`): the weights of such models
/// have to stay in the plain layout.
fn multiplies_in_batches(gguf: &llama_gguf::Gguf) -> bool {
    const KEYS: [&str; 4] =
        [".ssm.conv_kernel", ".wkv.head_size", ".shortconv.l_cache", ".attention.kv_lora_rank"];
    gguf.metadata().iter().any(|(key, _)| KEYS.iter().any(|end| key.as_bytes().ends_with(end.as_bytes())))
}

/// The rows of the table of learned position embeddings (llama-arch.cpp, `LLM_TENSOR_POS_EMBD`).
fn learned_positions(origin: &Origin) -> Option<u32> {
    let [_, rows, ..] = origin.shape("position_embd.weight")?;
    Some(u32::try_from(rows).unwrap_or(u32::MAX))
}

/// A count that C holds in a signed integer.
fn count(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}
