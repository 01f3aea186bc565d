//! Models created in memory, from metadata and a function that writes the tensors.

use core::ffi::c_void;
use std::collections::BTreeMap;
use std::ptr::NonNull;

use llama_gguf::{Metadata, TensorType, Writer};

use super::effective::Effective;
use super::{LazyMode, Model, ModelParams, Origin, Shape, architecture, hyperparameters, vocabulary};
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::callback::Callback;
use crate::ffi::exit;
use crate::ffi::guard::guarded;
use crate::{backend, log};

/// A tensor whose data llama.cpp requests: its name, shape and type.
#[derive(Debug)]
pub struct TensorView<'t> {
    name: &'t str,
    shape: &'t [u64],
    tensor_type: TensorType,
}

impl TensorView<'_> {
    /// Returns the name, as in a file: `blk.0.attn_q.weight`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name
    }

    /// Returns the elements per dimension, the fastest-running dimension first, without trailing dimensions of 1.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        self.shape
    }

    /// Returns the storage type of the elements: [`TensorType::F32`] unless another type was requested.
    #[must_use]
    pub fn tensor_type(&self) -> TensorType {
        self.tensor_type
    }

    /// Returns the number of elements.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }
}

impl Model {
    /// Creates a model from metadata, in the form of a GGUF file, and from tensors that `fill` writes. `types` names
    /// the tensors that are not in F32.
    ///
    /// `fill` is called once for each tensor that llama.cpp creates, on the calling thread, with the bytes to write,
    /// in the layout of GGUF files (little-endian, rows one after the other). An error of `fill` ends the loading.
    ///
    /// llama.cpp creates **all** tensors that the architecture can have, including those that most files omit. The
    /// bytes are prepared so that such tensors have no effect: they are zero, which suits biases, and one in F32 for
    /// the factors named `*.scale`, `*.input_scale` and `rope_f*`. Leave the bytes unchanged for tensors that do not
    /// exist, with two exceptions: `output.weight` of a model whose output matrix is its table of embeddings must be
    /// a copy of `token_embd.weight`, and an optional norm has no values without effect. Some names are requested
    /// more than once, for example `rope_freqs.weight` for each layer.
    ///
    /// Parameters about reading files have no effect, and weights are not rearranged for the CPU. With
    /// [`no_alloc`](ModelParams::no_alloc) and [`vocab_only`](ModelParams::vocab_only) `fill` is not called. Such a
    /// model has no [`source`](Model::source), and its [`size`](Model::size) and [`n_params`](Model::n_params) are
    /// 0.
    ///
    /// ```
    /// use llama_core::{Model, ModelParams};
    /// use llama_gguf::Gguf;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let file = test_models::Tiny::Llama.bytes();
    /// let gguf = Gguf::from_bytes(&file)?; // could be made of anything
    /// let types = gguf.tensors().iter().map(|info| (info.name().to_str_lossy(), info.tensor_type()));
    /// let model = Model::from_metadata(gguf.metadata(), types, &ModelParams::default(), |tensor, bytes| {
    ///     if gguf.tensor(tensor.name()).is_some() {
    ///         bytes.copy_from_slice(gguf.tensor_data(&file, tensor.name())?);
    ///     }
    ///     Ok::<(), llama_gguf::Error>(())
    /// })?;
    /// # assert_eq!(model.n_layer(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TensorData`] with the error of `fill`, or for a type that the tensor cannot have, or, with
    /// [`check_tensors`](ModelParams::check_tensors), for data with NaN or infinities. [`ErrorKind::Metadata`] for
    /// metadata that is not valid in a GGUF file. [`ErrorKind::Vocabulary`] and [`ErrorKind::Hyperparameter`] as for
    /// [`Model::load`]. [`ErrorKind::FromMetadata`] with llama.cpp's reason if the metadata does not describe a
    /// model. [`ErrorKind::InvalidParameter`]. [`ErrorKind::OutOfMemory`].
    ///
    /// # Panics
    ///
    /// A panic of `fill` ends the loading and is resumed after llama.cpp has returned.
    ///
    /// Corresponds to `llama_model_init_from_user`.
    pub fn from_metadata<N: AsRef<str>, E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        metadata: &Metadata,
        types: impl IntoIterator<Item = (N, TensorType)>,
        params: &ModelParams,
        mut fill: impl FnMut(&TensorView<'_>, &mut [u8]) -> Result<(), E>,
    ) -> Result<Self> {
        let mut fill =
            |tensor: &TensorView<'_>, bytes: &mut [u8]| fill(tensor, bytes).map_err(Into::<BoxedError>::into);
        Self::make(
            metadata,
            types.into_iter().map(|(name, ty)| (name.as_ref().to_owned(), ty)).collect(),
            params,
            &mut fill,
        )
    }

    fn make(
        metadata: &Metadata,
        types: BTreeMap<String, TensorType>,
        params: &ModelParams,
        fill: Fill<'_>,
    ) -> Result<Self> {
        backend::init();
        let _inside = exit::enter()?;
        // There is no file from which to read tensors later: C would look for it and throw.
        let params = params.clone().use_extra_bufts(false).lazy_mode(LazyMode::Off);
        params.check_types(metadata)?;
        let effective = Effective::new(metadata, &params);
        architecture::check_split(&params, effective)?;
        vocabulary::check(&NAME, effective)?;
        if !params.is_vocab_only() {
            hyperparameters::check(&NAME, effective, None)?;
        }
        params.links().check()?;
        let mut raw_params = params.to_raw()?;
        let head = RawHead::new(metadata, types)?;
        let origin = Origin::of_metadata(metadata, &params);
        let check = params.check_tensors;
        let mut filling = Callback::new(Filling { fill, origin, check, bytes: Vec::new(), failed: None });
        let data = core::ptr::from_mut(&mut filling).cast::<c_void>();
        let made = log::explain(|| {
            let raw_params = raw_params.as_raw();
            // SAFETY: the head is valid and lives until after the call, and C does not use it afterwards. The callback gets
            // the pointer that it expects, whose target lives as long. The parameters were created by `to_raw`.
            let raw = unsafe {
                guarded!(llama_model_init_from_user(head.0.as_ptr(), Some(on_tensor), data, raw_params))
            }
            .map_err(expected)?;
            NonNull::new(raw).ok_or_else(refused)
        });
        // Before any return, so that the model is owned and freed if it is not returned.
        let (failed, origin) = (filling.closure.failed.take(), core::mem::take(&mut filling.closure.origin));
        let model = made.map(|raw| Self::own(raw, None, &params, Box::default(), origin));
        filling.resume();
        match failed {
            Some(error) => Err(error),
            None => model.and_then(|model| model.links().check().map(|()| model)),
        }
    }
}

/// The name of a model created in memory in errors.
const NAME: &str = "the given metadata";

fn refused() -> Error {
    ErrorKind::FromMetadata { reason: "the log says why".to_owned() }.into()
}

/// Converts a failed assertion: C rejects some metadata and types by asserting, and has freed its objects while
/// unwinding.
fn expected(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Internal { message, .. } => ErrorKind::FromMetadata { reason: message.clone() }.into(),
        _ => error,
    }
}

type BoxedError = Box<dyn std::error::Error + Send + Sync>;
type Fill<'f> = &'f mut dyn FnMut(&TensorView<'_>, &mut [u8]) -> core::result::Result<(), BoxedError>;

/// C's form of metadata and of tensor types.
struct RawHead(NonNull<llama_sys::gguf_context>);

impl RawHead {
    /// Writes the metadata without weights in the form of a file and has C read it. C's reader checks it, and texts
    /// may contain NUL bytes, at which C's setters would cut them off.
    fn new(metadata: &Metadata, types: BTreeMap<String, TensorType>) -> Result<Self> {
        let invalid = |cause| Error::from(ErrorKind::Metadata { cause });
        let mut writer = Writer::new();
        *writer.metadata_mut() = metadata.clone();
        for (name, ty) in types {
            // C only reads the type of these tensors. One block is the smallest possible tensor.
            let zeros = vec![0; usize::try_from(ty.block_bytes()).unwrap_or(0)];
            writer.tensor(name, ty, &[ty.block_size()], zeros).map_err(invalid)?;
        }
        let mut bytes = Vec::new();
        writer.write_to(&mut bytes).map_err(invalid)?;
        let params = llama_sys::gguf_init_params { no_alloc: true, ctx: core::ptr::null_mut() };
        log::explain(|| {
            // SAFETY: the buffer has `len` bytes and is only read during the call (gguf.cpp).
            let raw = unsafe {
                guarded!(gguf_init_from_buffer(bytes.as_ptr().cast::<c_void>(), bytes.len(), params))
            }?;
            NonNull::new(raw).map(Self).ok_or_else(refused)
        })
    }
}

impl Drop for RawHead {
    fn drop(&mut self) {
        // SAFETY: valid, and this is its only owner.
        unsafe { llama_sys::gguf_free(self.0.as_ptr()) };
    }
}

/// The state of the callback.
struct Filling<'f> {
    fill: Fill<'f>,
    origin: Origin,
    check: bool,
    /// The bytes of the current tensor. The buffer is kept for the next tensor.
    bytes: Vec<u8>,
    failed: Option<Error>,
}

unsafe extern "C-unwind" fn on_tensor(tensor: *mut llama_sys::ggml_tensor, data: *mut c_void) {
    // SAFETY: `make` passes its own callback, which nothing else uses during the call. llama.cpp calls back on the loading
    // thread (llama-model-loader.cpp, load_all_data).
    let callback = unsafe { &mut *data.cast::<Callback<Filling<'_>>>() };
    callback.call((), |filling| {
        if filling.failed.is_some() {
            return;
        }
        // SAFETY: C passes a tensor of the model that is being loaded.
        if let Err(error) = unsafe { filling.tensor(tensor) } {
            filling.failed = Some(error);
        }
    });
}

impl Filling<'_> {
    /// Calls the user's function to write the bytes of a tensor, and copies them to C.
    ///
    /// # Safety
    ///
    /// `tensor` is valid and has a buffer.
    unsafe fn tensor(&mut self, tensor: *mut llama_sys::ggml_tensor) -> Result<()> {
        // SAFETY: the tensor is valid, and its name is an array that contains a NUL (ggml.c, ggml_set_name).
        let (name, id, ne, size) = unsafe {
            let name = core::ffi::CStr::from_ptr(llama_sys::ggml_get_name(tensor)).to_string_lossy();
            (name, (*tensor).type_, (*tensor).ne, guarded!(ggml_nbytes(tensor))?)
        };
        let unusable = |cause: BoxedError| ErrorKind::TensorData { tensor: name.to_string(), cause };
        let shape: Shape = ne.map(|n| u64::try_from(n).unwrap_or(0));
        let dimensions = shape.iter().rposition(|n| *n != 1).map_or(1, |last| last + 1);
        let tensor_type = tensor_type(id).ok_or_else(|| unusable("its type is unknown".into()))?;
        let view = TensorView { name: &name, shape: &shape[..dimensions], tensor_type };
        check_type(&view).map_err(|reason| unusable(reason.into()))?;
        self.origin.add_shape(name.as_bytes(), shape);
        prepare(&mut self.bytes, &view, size)?;
        (self.fill)(&view, &mut self.bytes).map_err(unusable)?;
        let bytes = self.bytes.as_ptr().cast::<c_void>();
        // SAFETY: the buffer has `size` bytes, which the function reads.
        if self.check && !unsafe { guarded!(ggml_validate_row_data(id, bytes, size)) }? {
            return Err(unusable(
                "it has NaN, infinities or invalid blocks, but must have finite numbers".into(),
            )
            .into());
        }
        // SAFETY: the tensor has a buffer of `size` bytes, and so has the source (llama-model.cpp, load_tensors).
        unsafe { guarded!(ggml_backend_tensor_set(tensor, bytes, 0, size)) }
    }
}

fn tensor_type(id: llama_sys::ggml_type) -> Option<TensorType> {
    #[allow(clippy::useless_conversion, reason = "the enum's integer is signed on some platforms")]
    u32::try_from(id.0).ok().and_then(TensorType::from_id)
}

/// Refuses types on which ggml would fail while computing, on threads where the failure cannot be contained.
fn check_type(tensor: &TensorView<'_>) -> core::result::Result<(), String> {
    let (ty, row) = (tensor.tensor_type, tensor.shape.first().copied().unwrap_or(1));
    if ty == TensorType::F32 {
        return Ok(());
    }
    if tensor.shape.len() < 2 {
        return Err(format!("it is a vector in {ty}, but must be in f32"));
    }
    if hyperparameters::is_added(tensor.name.as_bytes()) && ty.is_quantized() {
        return Err(format!(
            "it is in {ty}, but must not be quantised, because it is added to the embeddings"
        ));
    }
    if !hyperparameters::is_weight_type(ty) {
        return Err(format!("its type is {ty}, but must be a type of weights"));
    }
    match row % ty.block_size() {
        0 => Ok(()),
        _ => Err(format!(
            "a row has {row} elements, but must have a multiple of {}, the size of a block of {ty}",
            ty.block_size()
        )),
    }
}

/// Prepares the bytes for a tensor. An optional tensor gets the values that have no effect.
fn prepare(bytes: &mut Vec<u8>, tensor: &TensorView<'_>, size: usize) -> Result<()> {
    bytes.clear();
    bytes.try_reserve_exact(size).map_err(|error| ErrorKind::OutOfMemory {
        message: format!("{size} bytes for the tensor {}: {error}", tensor.name),
    })?;
    bytes.resize(size, 0);
    let name = tensor.name;
    let factor = name.ends_with(".scale") || name.ends_with(".input_scale") || name.starts_with("rope_f");
    if factor && tensor.tensor_type == TensorType::F32 {
        let (ones, _) = bytes.as_chunks_mut::<4>();
        ones.fill(1_f32.to_ne_bytes());
    }
    Ok(())
}
