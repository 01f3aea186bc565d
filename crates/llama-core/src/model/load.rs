//! Loading: the checks, the call, and what became of it.

use core::ffi::{c_char, c_void};
use core::ops::ControlFlow;
use std::ffi::CString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use super::effective::Effective;
use super::opened::Opened;
use super::params::{LoadMode, ModelParams, invalid};
use super::raw_params::RawModelParams;
use super::source::{Checked, ModelSource, cannot_read};
use super::{Model, Origin, architecture, hyperparameters, vocabulary};
use crate::error::{ErrorKind, Result};
use crate::ffi::callback::Callback;
use crate::ffi::file::CFile;
use crate::ffi::guard::{guarded, or_logged};
use crate::ffi::{exit, fork};
use crate::plan;
use crate::{backend, log};

impl Model {
    /// Loads a model from a GGUF file. Of a model in several files, give the first; the others are found by their names.
    ///
    /// The files are checked before llama.cpp sees them: a missing, truncated or malformed file is refused with
    /// the offset and the reason. llama.cpp reads the files that were checked, also when others get their names meanwhile.
    /// Where weights are mapped, which is the default, nothing may write to the files or shorten them as long as the model
    /// lives: see [`LoadMode::Mmap`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Vocabulary`] when its tokenizer would not work, [`ErrorKind::Hyperparameter`] when the network would not,
    /// [`ErrorKind::File`] when the file is not a complete GGUF file, [`ErrorKind::Split`] when the files do not belong
    /// together, [`ErrorKind::Load`] when llama.cpp cannot use it (an architecture that it does not know, a missing
    /// tensor), [`ErrorKind::DoesNotFit`] when there is not enough memory for the weights,
    /// [`ErrorKind::FileChanged`] when a file was written to while it was being loaded, [`ErrorKind::InvalidParameter`].
    ///
    /// Corresponds to `llama_model_load_from_file`.
    pub fn load(path: impl AsRef<Path>, params: &ModelParams) -> Result<Self> {
        load(path.as_ref().into(), params, None)
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
        source: impl Into<ModelSource>,
        params: &ModelParams,
        mut progress: impl FnMut(f32) -> ControlFlow<()>,
    ) -> Result<Self> {
        load(source.into(), params, Some(&mut progress))
    }

    /// Loads a model from all its files, in their order, whatever they are called.
    ///
    /// # Errors
    ///
    /// As [`Model::load`]; [`ErrorKind::Split`] for a file that is missing, one too many, out of order, or of
    /// another model.
    ///
    /// Corresponds to `llama_model_load_from_splits`.
    pub fn load_splits(
        paths: impl IntoIterator<Item = impl Into<PathBuf>>,
        params: &ModelParams,
    ) -> Result<Self> {
        load(ModelSource::Splits(paths.into_iter().map(Into::into).collect()), params, None)
    }

    /// Loads a model that begins at byte `offset` of a larger file: an archive that does not compress, or a program
    /// with its model behind it.
    ///
    /// Where the model's data is not aligned in the larger file, it is read and not mapped.
    ///
    /// # Errors
    ///
    /// As [`Model::load`], with [`ErrorKind::Embedded`] instead of [`ErrorKind::File`];
    /// [`ErrorKind::InvalidParameter`] for an offset past the end, and for a [`LoadMode`] that has to map what is not
    /// aligned.
    ///
    /// Corresponds to `llama_model_load_from_file_ptr`.
    pub fn load_embedded(path: impl Into<PathBuf>, offset: u64, params: &ModelParams) -> Result<Self> {
        load(ModelSource::Embedded { path: path.into(), offset }, params, None)
    }

    /// Loads a model from an open file, where it begins at byte `offset`. The file has to be one that can be read at
    /// random; it stays open as long as the model, and the position of the handle, and of its clones, moves.
    ///
    /// # Errors
    ///
    /// As [`Model::load_embedded`].
    ///
    /// Corresponds to `llama_model_load_from_file_ptr`.
    pub fn load_from_file_handle(file: File, offset: u64, params: &ModelParams) -> Result<Self> {
        load(ModelSource::Handle { file: file.into(), offset }, params, None)
    }
}

/// A caller's function that hears of the progress and may stop it.
pub(super) type Progress<'a> = &'a mut dyn FnMut(f32) -> ControlFlow<()>;

/// Loads a model, after it has been found to fit as far as that can be known.
pub(super) fn load(
    source: ModelSource,
    params: &ModelParams,
    progress: Option<Progress<'_>>,
) -> Result<Model> {
    backend::init();
    let _inside = exit::enter()?;
    // llama.cpp's own lines do not name a file that it is given open.
    tracing::debug!("loading the model {source}");
    let mut raw_params = params.to_raw()?;
    let checked = source.check(params)?;
    check_metadata(&source, params, &checked)?;
    plan::refuse_weights(&source, params, &checked.tensors)?;
    let loaded = call_with_progress(&source, params, &checked, &mut raw_params, progress);
    exit::arm();
    match loaded {
        Ok(raw) => Ok(model(raw, source, params, checked)),
        Err(error) => Err(plan::explain_weights(&source, params, error)),
    }
}

/// Refuses what llama.cpp would not refuse by itself and fail on.
fn check_metadata(source: &ModelSource, params: &ModelParams, checked: &Checked) -> Result<()> {
    let metadata = Effective::new(checked.head.metadata(), params);
    architecture::check_split(params, metadata)?;
    vocabulary::check(source, metadata)?;
    if params.is_vocab_only() {
        return Ok(());
    }
    hyperparameters::check(source, metadata, Some(&checked.tensors))
}

/// Loads all but the weights, without asking whether they fit, and says whether they could stay in the mapped file.
pub(crate) fn load_to_plan(source: &ModelSource, params: &ModelParams) -> Result<(Model, bool)> {
    backend::init();
    let maps = params.maps_files();
    let params = params.clone().no_alloc(true);
    let mut raw_params = params.to_raw()?;
    let checked = source.check(&params)?;
    check_metadata(source, &params, &checked)?;
    let raw = call(source, &params, &checked, &mut raw_params)?;
    let maps = maps && is_aligned(source, &checked);
    Ok((model(raw, source.clone(), &params, checked), maps))
}

fn model(
    raw: NonNull<llama_sys::llama_model>,
    source: ModelSource,
    params: &ModelParams,
    checked: Checked,
) -> Model {
    let origin = Origin::of_files(checked.head.metadata(), params, &checked.tensors);
    Model::own(raw, Some(source), params, checked.tensors.into(), origin)
}

fn call_with_progress(
    source: &ModelSource,
    params: &ModelParams,
    checked: &Checked,
    raw_params: &mut RawModelParams,
    progress: Option<Progress<'_>>,
) -> Result<NonNull<llama_sys::llama_model>> {
    let Some(closure) = progress else {
        return call(source, params, checked, raw_params);
    };
    let mut state = Callback::new(ProgressState { closure, cancelled: false });
    raw_params.set_progress(Some(on_progress), core::ptr::from_mut(&mut state).cast::<c_void>());
    let loaded = call(source, params, checked, raw_params);
    let cancelled = state.closure.cancelled;
    state.resume();
    if cancelled {
        return Err(ErrorKind::LoadCancelled { path: path(source) }.into());
    }
    loaded
}

/// Has llama.cpp load a model whose files were checked.
fn call(
    source: &ModelSource,
    params: &ModelParams,
    checked: &Checked,
    raw_params: &mut RawModelParams,
) -> Result<NonNull<llama_sys::llama_model>> {
    fork::check_devices("loading a model")?;
    let opener = Opener::new(source, params, checked, raw_params)?;
    if fork::lacks_team_to_load() {
        raw_params.without_extra_bufts();
    }
    forbid_wrong_layouts(params, checked, raw_params);
    log::explain(|| {
        let raw_params = raw_params.as_raw();
        let raw = match opener.open(raw_params) {
            Ok(raw) => raw,
            Err(error) if matches!(error.kind(), ErrorKind::OutOfMemory { .. } | ErrorKind::ProcessEnds) => {
                return Err(error);
            }
            // Wrong numbers in the metadata fail assertions: that is the file's fault as well.
            Err(error) => {
                log::keep(error.kind().to_string());
                core::ptr::null_mut()
            }
        };
        let raw = NonNull::new(raw);
        if let Err(changed) = check_unchanged(source, checked) {
            if let Some(raw) = raw {
                // SAFETY: C has just made it, and nobody else has it.
                unsafe { guarded!(llama_model_free(raw.as_ptr())) }?;
            }
            return Err(changed);
        }
        raw.ok_or_else(|| ErrorKind::Load { path: path(source) }.into())
    })
}

/// The file for an error, or what takes its place.
fn path(source: &ModelSource) -> PathBuf {
    source.path().map_or_else(|| source.to_string().into(), Path::to_owned)
}

/// The C function for a kind of source, and its arguments.
enum Opener {
    Stream(CFile),
    /// Of one file, or of several that are one model.
    Paths(Vec<CString>),
}

impl Opener {
    fn new(
        source: &ModelSource,
        params: &ModelParams,
        checked: &Checked,
        raw_params: &mut RawModelParams,
    ) -> Result<Self> {
        let stream = |opened: &Opened| {
            let stream = opened.stream(source.offset());
            stream.map(Self::Stream).map_err(|cause| source.refused(cannot_read(cause)))
        };
        match (checked.paths.as_slice(), checked.files.as_slice()) {
            ([], [larger, ..]) => {
                check_alignment(source, params, checked, raw_params)?;
                stream(larger)
            }
            ([_], [only]) if can_stream(params, checked) => stream(only),
            (paths, files) => {
                let paths = paths.iter().zip(files).map(|(path, opened)| opened.path_for_c(path));
                Ok(Self::Paths(paths.collect::<Result<_>>()?))
            }
        }
    }

    fn open(&self, params: llama_sys::llama_model_params) -> Result<*mut llama_sys::llama_model> {
        // SAFETY: paths are NUL-terminated, the array of them has the length that is passed, and the stream is open. They,
        // the files and what the parameters point to live through the call (`call`). llama.cpp reads the files that were
        // checked (model/opened.rs) and uses none of it afterwards: mappings do not need their files (llama-mmap.cpp), a
        // stream of the caller is left open (`llama_file::impl`, `owns_fp`), and of the parameters that the model copies only
        // the proportions are read again, of which it makes an array of its own (llama-model.cpp, `tensor_split_owned`).
        unsafe {
            match self {
                Self::Stream(file) => guarded!(llama_model_load_from_file_ptr(file.raw(), params)),
                Self::Paths(paths) => match paths.as_slice() {
                    [path] => guarded!(llama_model_load_from_file(path.as_ptr(), params)),
                    paths => {
                        let mut pointers: Vec<*const c_char> =
                            paths.iter().map(|path| path.as_ptr()).collect();
                        guarded!(llama_model_load_from_splits(pointers.as_mut_ptr(), pointers.len(), params))
                    }
                },
            }
        }
    }
}

/// Whether C reads the same from a stream of a whole file as from its path. From a stream it does not read around the
/// system's cache, which it can on Linux (llama-mmap.cpp, `init_fd`), and it maps only what is aligned in the file
/// (llama-model-loader.cpp).
fn can_stream(params: &ModelParams, checked: &Checked) -> bool {
    let is_direct =
        params.load_mode == LoadMode::DirectIo && cfg!(any(target_os = "linux", target_os = "android"));
    let is_aligned = checked.head.data_offset().is_multiple_of(alignment());
    !is_direct && (is_aligned || !params.maps_files())
}

/// Refuses a model whose files were written to or replaced since they were checked.
fn check_unchanged(source: &ModelSource, checked: &Checked) -> Result<()> {
    let name = path(source);
    let paths = checked.paths.iter().chain(core::iter::repeat(&name));
    checked.files.iter().zip(paths).try_for_each(|(opened, path)| opened.check_unchanged(path))
}

/// Makes sure that nothing is mapped that cannot be.
fn check_alignment(
    source: &ModelSource,
    params: &ModelParams,
    checked: &Checked,
    raw_params: &mut RawModelParams,
) -> Result<()> {
    if is_aligned(source, checked) || params.is_no_alloc() {
        return Ok(());
    }
    if params.load_mode == LoadMode::Auto || !params.maps_files() {
        raw_params.without_mapping();
        return Ok(());
    }
    let reason = format!(
        "the model's data begins at byte {}, which is no multiple of {}: use LoadMode::Read, or place the model \
         elsewhere",
        data_start(source, checked),
        alignment()
    );
    Err(invalid("load_mode", &params.load_mode, reason))
}

/// Whether a model can be mapped: one that is embedded in a larger file only where its data is aligned there too
/// (llama-model-loader.cpp).
fn is_aligned(source: &ModelSource, checked: &Checked) -> bool {
    !checked.paths.is_empty() || data_start(source, checked).is_multiple_of(alignment())
}

/// Where the data of the tensors begins in the larger file.
fn data_start(source: &ModelSource, checked: &Checked) -> u64 {
    source.offset().saturating_add(checked.head.data_offset())
}

/// What tensors on the CPU are aligned to.
fn alignment() -> u64 {
    // SAFETY: the buffer type is a constant that is always there.
    let alignment =
        unsafe { guarded!(ggml_backend_buft_get_alignment(llama_sys::ggml_backend_cpu_buffer_type())) };
    // As ggml aligns tensors where it knows no better (ggml-impl.h, TENSOR_ALIGNMENT).
    or_logged(alignment, 32) as u64
}

struct ProgressState<'a> {
    closure: Progress<'a>,
    cancelled: bool,
}

unsafe extern "C-unwind" fn on_progress(progress: f32, data: *mut c_void) -> bool {
    // SAFETY: `call_with_progress` passes its own `Callback`, which nobody else uses during the load; llama.cpp calls
    // back on the loading thread (llama-model-loader.cpp).
    let callback = unsafe { &mut *data.cast::<Callback<ProgressState<'_>>>() };
    callback.call(false, |state| {
        let go_on = (state.closure)(progress).is_continue();
        state.cancelled |= !go_on;
        go_on
    })
}

/// Keeps weights in the plain layout where they are multiplied with several matrices at once: with one of each sequence in
/// recurrent layers, with one of each head in multi-head latent attention. ggml's AMX kernels take such a product for one
/// with as many weights, and read and write outside of their buffers (ggml-cpu/amx/mmq.cpp, `ggml_batch_offset`).
fn forbid_wrong_layouts(params: &ModelParams, checked: &Checked, raw_params: &mut RawModelParams) {
    if multiplies_in_batches(params, checked.head.metadata()) {
        raw_params.without_extra_bufts();
    }
}

/// Whether the metadata, or what overrides it, is that of such a model.
fn multiplies_in_batches(params: &ModelParams, metadata: &llama_gguf::Metadata) -> bool {
    const KEYS: [&str; 4] =
        [".ssm.conv_kernel", ".wkv.head_size", ".shortconv.l_cache", ".attention.kv_lora_rank"];
    let in_file = |end: &str| metadata.iter().any(|(key, _)| key.as_bytes().ends_with(end.as_bytes()));
    KEYS.iter().any(|end| in_file(end) || params.overrides_key(end))
}
