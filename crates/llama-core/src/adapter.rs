//! LoRA adapters: small changes of a model's matrices, loaded separately and activated in contexts.

mod check;
mod source;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::context::Context;
use crate::error::{ErrorKind, ParameterProblem, Result};
use crate::ffi::guard::guarded;
use crate::ffi::string::{pairs, read_buffer, to_c};
use crate::ffi::{exit, fork};
use crate::log;
use crate::model::{Model, ModelSource};
use crate::token::Token;

/// A LoRA adapter, loaded for one model. Cheap to clone: clones share the weights, which are freed with the last
/// clone and the last context that it is [attached](Context::set_adapters) to. It keeps its model alive.
///
/// Loading waits for contexts of the same model that are being created or that plan their buffers, and vice versa.
/// In a callback that runs during such a call (an observer, a log subscriber) it is refused with
/// [`ErrorKind::InCallback`]. Dropping never blocks: if such a call is running, the weights are freed when it has
/// ended.
///
/// ```
/// use llama_core::{Context, ContextParams, LoraAdapter, Model, ModelParams};
///
/// # fn main() -> Result<(), llama_core::Error> {
/// # let (base, lora) = (test_models::Tiny::Llama.path(), test_models::Tuned::Lora.path());
/// let model = Model::load(base, &ModelParams::default())?;
/// let adapter = LoraAdapter::load(&model, lora)?;
/// let mut context = Context::new(&model, &ContextParams::default())?;
/// context.set_adapters(&[(&adapter, 1.0)])?; // for the batches from here on
/// context.set_adapters(&[])?; // without again
/// # Ok(())
/// # }
/// ```
///
/// Corresponds to `llama_adapter_lora` and `llama_adapter_lora_free`.
#[derive(Clone)]
pub struct LoraAdapter(Arc<Handle>);

/// The owner of the C object.
struct Handle {
    raw: NonNull<llama_sys::llama_adapter_lora>,
    model: Model,
    /// The path of the file; `None` for an open file.
    path: Option<PathBuf>,
    /// The name in error messages.
    name: PathBuf,
    alpha: f32,
    invocation_tokens: Vec<Token>,
    /// Whether it changes the embeddings of tokens.
    changes_embeddings: bool,
}

// SAFETY: a llama_adapter_lora is not tied to the thread that loaded it: it consists of maps, vectors and buffers
// (llama-adapter.h), and freeing it changes the model's set of adapters, which has a lock.
unsafe impl Send for Handle {}
// SAFETY: a loaded adapter is only read: its metadata by the functions below, its weights while contexts build and
// compute their graphs (llama-graph.cpp).
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the adapter was loaded for this model, and this is the last owner: contexts that it is attached to
        // hold an `Arc` of their own.
        unsafe { self.model.free_adapter(self.raw) }
    }
}

impl LoraAdapter {
    /// Loads an adapter for a model from a GGUF file. Its weights are placed beside the model's.
    ///
    /// The file is checked before llama.cpp sees it: a missing, truncated or malformed file is refused with the
    /// offset and the reason. llama.cpp ignores tensors whose names end in `_norm.weight`, and those of matrices
    /// that the model's computation does not adapt.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AdapterFile`] if the file is not a complete GGUF file or a value has the wrong type,
    /// [`ErrorKind::Adapter`] for weights that llama.cpp could not compute with, [`ErrorKind::AdapterLoad`] with
    /// llama.cpp's reason if the file is not a LoRA, or is for another architecture or for a model of other sizes,
    /// [`ErrorKind::FileChanged`] if the file was written to meanwhile, [`ErrorKind::InCallback`] inside a callback
    /// of a call that creates a context or computes, [`ErrorKind::Unsupported`] for a model without weights.
    ///
    /// Corresponds to `llama_adapter_lora_init`.
    pub fn load(model: &Model, path: impl AsRef<Path>) -> Result<Self> {
        load(model, &path.as_ref().into())
    }

    /// Loads an adapter that begins at byte `offset` of a larger file, such as a program with adapters appended to
    /// it.
    ///
    /// # Errors
    ///
    /// The errors of [`LoraAdapter::load`], and [`ErrorKind::AdapterFile`] for an offset past the end and for
    /// metadata without an architecture.
    ///
    /// Corresponds to `llama_adapter_lora_init_from_file_ptr`.
    pub fn load_embedded(model: &Model, path: impl Into<PathBuf>, offset: u64) -> Result<Self> {
        load(model, &ModelSource::Embedded { path: path.into(), offset })
    }

    /// Loads an adapter that begins at byte `offset` of an open file. The file must be seekable; the position of its
    /// clones moves. It is no longer needed afterwards.
    ///
    /// # Errors
    ///
    /// The errors of [`LoraAdapter::load_embedded`].
    ///
    /// Corresponds to `llama_adapter_lora_init_from_file_ptr`.
    pub fn load_from_file_handle(model: &Model, file: File, offset: u64) -> Result<Self> {
        load(model, &ModelSource::Handle { file: file.into(), offset })
    }

    /// Returns the model that the adapter was loaded for.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.0.model
    }

    /// Returns the path of the file that contains the adapter, or `None` for an open file.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Returns alpha, which divided by the rank of a pair of matrices scales their product; 0 if the file has none,
    /// in which case the product is not scaled. The scale of [`Context::set_adapters`] is an additional factor.
    #[must_use]
    pub fn alpha(&self) -> f32 {
        self.0.alpha
    }

    /// Returns whether two handles refer to the same loaded adapter.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns the invocation tokens of an activated LoRA (aLoRA), empty for other adapters.
    ///
    /// Such an adapter is trained to change the model only from these tokens on. llama.cpp stores the tokens and
    /// leaves the rest to its callers: find the last occurrence of the tokens in the prompt, decode everything
    /// before it without the adapter, attach the adapter, and decode from there on. The memory before that position
    /// is the base model's and can be shared with sequences of other adapters.
    ///
    /// The ids are those of the file: llama.cpp does not check that the vocabulary has them.
    ///
    /// Corresponds to `llama_adapter_get_alora_n_invocation_tokens` and `llama_adapter_get_alora_invocation_tokens`.
    #[must_use]
    pub fn alora_invocation_tokens(&self) -> &[Token] {
        &self.0.invocation_tokens
    }

    /// Returns the metadata value of a key as text, or `None` if there is no such key or its value is an array.
    /// Useful keys are `general.name`, `adapter.lora.task_name` and `adapter.lora.prompt_prefix`. Corresponds to
    /// `llama_adapter_meta_val_str`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InteriorNul`] for a key with a NUL byte.
    pub fn metadata_value(&self, key: &str) -> Result<Option<String>> {
        let key = to_c("metadata key", key)?;
        let raw = self.raw();
        // SAFETY: the adapter is valid, the key is NUL-terminated, the buffer has the length that is passed.
        read_buffer(|buffer, size| unsafe {
            guarded!(llama_adapter_meta_val_str(raw, key.as_ptr(), buffer, size))
        })
    }

    /// Returns all scalar metadata: keys and values as text, sorted by key. Corresponds to
    /// `llama_adapter_meta_count`, `llama_adapter_meta_key_by_index` and `llama_adapter_meta_val_str_by_index`.
    ///
    /// # Errors
    ///
    /// Only an exception inside llama.cpp, which is not expected.
    pub fn metadata(&self) -> Result<Vec<(String, String)>> {
        let raw = self.raw();
        // SAFETY: the adapter is valid, every index is below the count, buffers have the length that is passed.
        unsafe {
            pairs(
                guarded!(llama_adapter_meta_count(raw))?,
                |index, buffer, size| guarded!(llama_adapter_meta_key_by_index(raw, index, buffer, size)),
                |index, buffer, size| guarded!(llama_adapter_meta_val_str_by_index(raw, index, buffer, size)),
            )
        }
    }

    fn raw(&self) -> *mut llama_sys::llama_adapter_lora {
        self.0.raw.as_ptr()
    }

    /// Returns the C object, for functions of `llama.h` that this crate does not wrap. The pointer is valid as long as a
    /// handle of the adapter lives.
    ///
    /// Calling such a function is `unsafe`. The caller must ensure that the adapter is not freed and is only used with
    /// contexts of its model. A context that receives the pointer does not keep the adapter alive.
    #[must_use]
    pub fn as_ptr(&self) -> *mut llama_sys::llama_adapter_lora {
        self.raw()
    }

    /// Refuses an adapter or a scale that the context cannot compute with.
    fn check_for(&self, context: &Context, scale: f32) -> Result<()> {
        let invalid = |expected: &str| Err(ParameterProblem::new("scale", scale, expected).into());
        if !self.model().is_same(context.model()) {
            return Err(ErrorKind::OtherModel { path: self.0.name.clone() }.into());
        }
        if !scale.is_finite() {
            return invalid("finite: 0.0 for none of the adapter, 1.0 for all of it");
        }
        if !(scale * self.0.alpha).is_finite() {
            return invalid("small enough for its product with the adapter's alpha to be a 32-bit float");
        }
        // Such a model also multiplies by its embedding table at the end, and C would do so with the adapter's
        // matrices, which are transposed there (llama-graph.cpp, build_lora_mm and build_inp_embd).
        if self.0.changes_embeddings && context.has_memory() && context.model().origin().ties_embeddings() {
            let reason = "it uses its embedding table as output matrix too, and the adapter changes the table: llama.cpp \
                          cannot compute that. Merge the adapter into the model"
                .to_owned();
            return Err(ErrorKind::Unsupported { operation: "attaching this adapter", reason }.into());
        }
        Ok(())
    }
}

fn load(model: &Model, source: &ModelSource) -> Result<LoraAdapter> {
    let _inside = exit::enter()?;
    fork::check_devices("loading an adapter")?;
    model.check_weights("loading an adapter")?;
    let (opened, gguf) = source::check(source)?;
    let alpha =
        check::keys(gguf.metadata()).map_err(|error| source::file_error(source, error))?.unwrap_or(0.0);
    let name = source::name(source);
    let refused = |reason| ErrorKind::Adapter { path: name.clone(), reason };
    check::alpha(alpha).map_err(refused)?;
    let pairs = check::pairs(&gguf).map_err(refused)?;
    pairs.check_against(model).map_err(refused)?;
    let raw = log::explain(|| {
        let change = model.change_adapters()?;
        // A subscriber that creates a context would wait for this very thread.
        let raw = log::defer(|| {
            let _change = change;
            source::init(source, &opened, model)
        })?;
        NonNull::new(raw).ok_or_else(|| ErrorKind::AdapterLoad { path: name.clone() }.into())
    })?;
    let mut handle = Handle {
        raw,
        model: model.clone(),
        path: source.path().map(Path::to_owned),
        name: name.clone(),
        alpha,
        invocation_tokens: Vec::new(),
        changes_embeddings: pairs.changes_embeddings(),
    };
    opened.check_unchanged(&name)?;
    model.links().check()?;
    // C refuses tensors that the model does not have, too; tensors created by C have unknown shapes.
    if let Some(name) = pairs.unknown_to(model) {
        return Err(refused(format!("the model's file has no tensor \"{name}\"")).into());
    }
    handle.invocation_tokens = handle.read_invocation_tokens()?;
    Ok(LoraAdapter(Arc::new(handle)))
}

impl Handle {
    fn read_invocation_tokens(&self) -> Result<Vec<Token>> {
        let raw = self.raw.as_ptr();
        // SAFETY: the adapter is valid; the array has `count` tokens and belongs to it (llama-adapter.cpp).
        unsafe {
            let count = guarded!(llama_adapter_get_alora_n_invocation_tokens(raw))?;
            let first = guarded!(llama_adapter_get_alora_invocation_tokens(raw))?;
            Ok(match usize::try_from(count) {
                Ok(count) if count > 0 && !first.is_null() => {
                    core::slice::from_raw_parts(first, count).iter().map(|token| Token::new(*token)).collect()
                }
                _ => Vec::new(),
            })
        }
    }
}

impl core::fmt::Debug for LoraAdapter {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LoraAdapter")
            .field("path", &self.0.name)
            .field("model", &self.0.model)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Sets the active adapters, each with its scale: 1.0 adds all of it, 0.0 nothing, and several add up. The list
    /// replaces the previous one. An empty list restores the base model.
    ///
    /// It takes effect for tokens that are decoded later. The contents of the memory do not change, so sequences
    /// that continue across a change mix both; clear or decode again where that is not wanted. Results of the last
    /// batch are not affected.
    ///
    /// A change of the list makes llama.cpp plan its buffers again at the next batch, which takes milliseconds;
    /// setting the same list again costs nothing. The context keeps attached adapters alive: handles may be dropped.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OtherModel`] for an adapter of another model, [`ErrorKind::InvalidParameter`] for a scale that
    /// is not finite and for an adapter that is in the list twice, [`ErrorKind::Unsupported`] for an adapter of the
    /// embeddings of a model that also uses them as output, [`ErrorKind::Poisoned`]. The list is unchanged then.
    ///
    /// Corresponds to `llama_set_adapters_lora`.
    pub fn set_adapters(&mut self, adapters: &[(&LoraAdapter, f32)]) -> Result<()> {
        self.check_poison()?;
        for (index, (adapter, scale)) in adapters.iter().enumerate() {
            adapter.check_for(self, *scale)?;
            if adapters[..index].iter().any(|(other, _)| other.is_same(adapter)) {
                return Err(ParameterProblem::new(
                    "adapters",
                    format_args!("a list with {} twice", adapter.0.name.display()),
                    "a list without duplicates: give the adapter once, with the sum of the scales",
                )
                .into());
            }
        }
        if same_list(adapters, self.attached_adapters()) {
            return Ok(());
        }
        let mut handles: Vec<_> = adapters.iter().map(|(adapter, _)| adapter.raw()).collect();
        let mut scales: Vec<f32> = adapters.iter().map(|(_, scale)| *scale).collect();
        let kept = adapters.iter().map(|(adapter, scale)| ((*adapter).clone(), *scale));
        let set = self.call(|raw| {
            // SAFETY: the context is valid, both arrays have the length that is passed and are copied, and the
            // adapters are of the context's model. Once C has synchronised, nothing computes with the previous
            // adapters.
            unsafe {
                guarded!(llama_synchronize(raw))?;
                guarded!(llama_set_adapters_lora(
                    raw,
                    handles.as_mut_ptr(),
                    handles.len(),
                    scales.as_mut_ptr(),
                ))?;
            }
            Ok(())
        });
        match set {
            Ok(()) => *self.attached_adapters_mut() = kept.collect(),
            // C may hold any of them now; the context is poisoned and can only be freed.
            Err(_) => self.attached_adapters_mut().extend(kept),
        }
        set
    }

    /// Returns the active adapters with their scales, as they were set.
    pub fn adapters(&self) -> impl ExactSizeIterator<Item = (&LoraAdapter, f32)> {
        self.attached_adapters().iter().map(|(adapter, scale)| (adapter, *scale))
    }
}

fn same_list(new: &[(&LoraAdapter, f32)], old: &[(LoraAdapter, f32)]) -> bool {
    new.len() == old.len()
        && new.iter().zip(old).all(|((new, scale), (old, old_scale))| {
            new.is_same(old) && scale.to_bits() == old_scale.to_bits()
        })
}
