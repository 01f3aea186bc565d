//! The call that creates the C object of a model from checked files. It does not check whether the weights fit into
//! memory, so that a plan can load everything except the weights.

use core::ffi::{c_char, c_void};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use llama_gguf::TensorInfo;

use super::effective::Effective;
use super::opened::Opened;
use super::params::{LoadMode, ModelParams, invalid};
use super::raw_params::RawModelParams;
use super::source::{Checked, ModelSource, cannot_read};
use super::{Model, Origin, architecture, hyperparameters, vocabulary};
use crate::error::{ErrorKind, Result};
use crate::ffi::file::CFile;
use crate::ffi::fork;
use crate::ffi::guard::{guarded, or_logged};
use crate::{backend, log};

/// A model whose files were checked, and the parameters for C.
pub(super) struct Loading<'a> {
    source: &'a ModelSource,
    params: &'a ModelParams,
    checked: Checked,
    raw_params: RawModelParams,
}

impl<'a> Loading<'a> {
    /// Opens and checks the files, and refuses files that llama.cpp would accept and fail on.
    pub(super) fn check(source: &'a ModelSource, params: &'a ModelParams) -> Result<Self> {
        let raw_params = params.to_raw()?;
        let checked = source.check(params)?;
        let metadata = Effective::new(checked.head.metadata(), params);
        architecture::check_split(params, metadata)?;
        vocabulary::check(source, metadata)?;
        if !params.is_vocab_only() {
            hyperparameters::check(source, metadata, Some(&checked.tensors))?;
        }
        Ok(Self { source, params, checked, raw_params })
    }

    /// Returns the tensors of all files.
    pub(super) fn tensors(&self) -> &[TensorInfo] {
        &self.checked.tensors
    }

    /// Returns the file for an error, or a description of the source.
    pub(super) fn path(&self) -> PathBuf {
        path(self.source)
    }

    /// Sets the function that receives the progress, and its argument.
    pub(super) fn set_progress(&mut self, callback: llama_sys::llama_progress_callback, data: *mut c_void) {
        self.raw_params.set_progress(callback, data);
    }

    /// Loads the model with llama.cpp.
    pub(super) fn call(&mut self) -> Result<NonNull<llama_sys::llama_model>> {
        let Self { source, params, checked, raw_params } = self;
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
                Err(error)
                    if matches!(error.kind(), ErrorKind::OutOfMemory { .. } | ErrorKind::ProcessEnds) =>
                {
                    return Err(error);
                }
                // Wrong numbers in the metadata fail assertions. That is also a fault of the file.
                Err(error) => {
                    log::keep(error.kind().to_string());
                    core::ptr::null_mut()
                }
            };
            let raw = NonNull::new(raw);
            if let Err(changed) = check_unchanged(source, checked) {
                if let Some(raw) = raw {
                    // SAFETY: C has just created the model, and this is its only owner.
                    unsafe { guarded!(llama_model_free(raw.as_ptr())) }?;
                }
                return Err(changed);
            }
            raw.ok_or_else(|| ErrorKind::Load { path: path(source) }.into())
        })
    }

    /// Takes ownership of the model that C has loaded.
    pub(super) fn finish(self, raw: NonNull<llama_sys::llama_model>) -> Model {
        let Self { source, params, checked, .. } = self;
        let origin = Origin::of_files(checked.head.metadata(), params, &checked.tensors);
        Model::own(raw, Some(source.clone()), params, checked.tensors.into(), origin)
    }
}

/// Loads everything except the weights, without checking whether they fit. The flag states whether they could stay
/// in the mapped file.
pub(crate) fn load_without_weights(source: &ModelSource, params: &ModelParams) -> Result<(Model, bool)> {
    backend::init();
    let maps = params.maps_files();
    let params = params.clone().no_alloc(true);
    let mut loading = Loading::check(source, &params)?;
    let maps = maps && is_aligned(source, &loading.checked);
    let raw = loading.call()?;
    Ok((loading.finish(raw), maps))
}

/// Returns the file for an error, or a description of the source.
fn path(source: &ModelSource) -> PathBuf {
    source.path().map_or_else(|| source.to_string().into(), Path::to_owned)
}

/// The C function for a kind of source, and its arguments.
enum Opener {
    Stream(CFile),
    /// One file, or several files that form one model.
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
        // SAFETY: paths are NUL-terminated, the array of paths has `len` entries, and the stream is open. These, the files and
        // the targets of the parameters live through the call (`call`). llama.cpp reads the checked files (model/opened.rs)
        // and uses none of it afterwards: mappings do not need their files (llama-mmap.cpp), the caller's stream is left open
        // (`llama_file::impl`, `owns_fp`), and of the copied parameters only the proportions are read again, from the model's
        // own array (llama-model.cpp, `tensor_split_owned`).
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

/// Returns whether C reads the same data from a stream of a whole file as from its path. C cannot bypass the
/// system's cache with a stream, which it can with a path on Linux (llama-mmap.cpp, `init_fd`), and it maps only
/// data that is aligned in the file (llama-model-loader.cpp).
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

/// Ensures that data is not mapped if it cannot be.
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
        "LoadMode::Read, since the model's data begins at byte {}, which is not a multiple of {}",
        data_start(source, checked),
        alignment()
    );
    Err(invalid("load_mode", &params.load_mode, reason))
}

/// Returns whether a model can be mapped. A model that is embedded in a larger file can be only if its data is
/// aligned there (llama-model-loader.cpp).
fn is_aligned(source: &ModelSource, checked: &Checked) -> bool {
    !checked.paths.is_empty() || data_start(source, checked).is_multiple_of(alignment())
}

/// Returns the offset of the tensor data in the larger file.
fn data_start(source: &ModelSource, checked: &Checked) -> u64 {
    source.offset().saturating_add(checked.head.data_offset())
}

/// Returns the alignment of tensors on the CPU.
fn alignment() -> u64 {
    // SAFETY: the buffer type is a constant that always exists.
    let alignment =
        unsafe { guarded!(ggml_backend_buft_get_alignment(llama_sys::ggml_backend_cpu_buffer_type())) };
    // ggml's default alignment (ggml-impl.h, TENSOR_ALIGNMENT).
    or_logged(alignment, 32) as u64
}

/// Keeps weights in the plain layout if they are multiplied with several matrices at once: with one of each sequence
/// in recurrent layers, and with one of each head in multi-head latent attention. ggml's AMX kernels treat such a
/// product as one with as many weights, and read and write outside of their buffers (ggml-cpu/amx/mmq.cpp,
/// `ggml_batch_offset`).
fn forbid_wrong_layouts(params: &ModelParams, checked: &Checked, raw_params: &mut RawModelParams) {
    if multiplies_in_batches(params, checked.head.metadata()) {
        raw_params.without_extra_bufts();
    }
}

/// Returns whether the metadata or its overrides describe such a model.
fn multiplies_in_batches(params: &ModelParams, metadata: &llama_gguf::Metadata) -> bool {
    const KEYS: [&str; 4] =
        [".ssm.conv_kernel", ".wkv.head_size", ".shortconv.l_cache", ".attention.kv_lora_rank"];
    let in_file = |end: &str| metadata.iter().any(|(key, _)| key.as_bytes().ends_with(end.as_bytes()));
    KEYS.iter().any(|end| in_file(end) || params.overrides_key(end))
}

#[cfg(test)]
impl Model {
    /// Loads a file with llama.cpp without checks, for tests of later checks. `None` if llama.cpp does not load it.
    pub(crate) fn load_unchecked(path: &Path) -> Option<Self> {
        backend::init();
        let params = ModelParams::default().load_mode(LoadMode::Read);
        let mut raw_params = params.to_raw().unwrap();
        let path = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the path is NUL-terminated, and the parameters were created by `to_raw`.
        let raw = unsafe { guarded!(llama_model_load_from_file(path.as_ptr(), raw_params.as_raw())) }.ok()?;
        let origin = Origin::of_metadata(&llama_gguf::Metadata::new(), &params);
        NonNull::new(raw).map(|raw| Self::own(raw, None, &params, Box::default(), origin))
    }
}
