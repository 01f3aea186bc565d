//! Loading a model from every kind of source, with or without progress, if it fits into memory.

use core::ffi::c_void;
use core::ops::ControlFlow;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use super::Model;
use super::params::ModelParams;
use super::raw::Loading;
use super::source::ModelSource;
use crate::backend;
use crate::error::{ErrorKind, Result};
use crate::ffi::callback::Callback;
use crate::ffi::exit;
use crate::plan;

impl Model {
    /// Loads a model from a GGUF file. For a model in several files, give the first. The others are found by their names.
    ///
    /// The files are checked before llama.cpp sees them: a missing, truncated or malformed file is refused with
    /// the offset and the reason. llama.cpp reads the checked files even if other files get their names meanwhile.
    /// If weights are mapped, which is the default, nothing may write to the files or shorten them as long as the model
    /// lives: see [`LoadMode::Mmap`](crate::model::LoadMode::Mmap).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::File`] if the file is not a complete GGUF file. [`ErrorKind::Split`] if the files do not belong
    /// together. [`ErrorKind::Vocabulary`] if the tokenizer would not work. [`ErrorKind::Hyperparameter`] if the
    /// network would not work. [`ErrorKind::Load`] if llama.cpp cannot use the model, for example because of an
    /// unknown architecture or a missing tensor. [`ErrorKind::DoesNotFit`] if there is not enough memory for the
    /// weights. [`ErrorKind::FileChanged`] if a file was written to while it was being loaded.
    /// [`ErrorKind::InvalidParameter`].
    ///
    /// Corresponds to `llama_model_load_from_file`.
    pub fn load(path: impl AsRef<Path>, params: &ModelParams) -> Result<Self> {
        load(&path.as_ref().into(), params, None)
    }

    /// Loads a model and reports the progress, from 0.0 to 1.0. The callback can stop the loading with
    /// [`ControlFlow::Break`]. It runs on the calling thread.
    ///
    /// # Errors
    ///
    /// The errors of [`Model::load`], and [`ErrorKind::LoadCancelled`] if the callback stopped the loading.
    ///
    /// # Panics
    ///
    /// A panic of the callback stops the loading and is resumed after llama.cpp has returned.
    ///
    /// Corresponds to `llama_progress_callback`.
    pub fn load_with_progress(
        source: impl Into<ModelSource>,
        params: &ModelParams,
        mut progress: impl FnMut(f32) -> ControlFlow<()>,
    ) -> Result<Self> {
        load(&source.into(), params, Some(&mut progress))
    }

    /// Loads a model from all its files, in their order and with any names.
    ///
    /// # Errors
    ///
    /// The errors of [`Model::load`]. [`ErrorKind::Split`] if a file is missing, superfluous, out of order, or
    /// belongs to another model.
    ///
    /// Corresponds to `llama_model_load_from_splits`.
    pub fn load_splits(
        paths: impl IntoIterator<Item = impl Into<PathBuf>>,
        params: &ModelParams,
    ) -> Result<Self> {
        load(&ModelSource::Splits(paths.into_iter().map(Into::into).collect()), params, None)
    }

    /// Loads a model that begins at byte `offset` of a larger file: an uncompressed archive, or a program with a
    /// model appended.
    ///
    /// If the model's data is not aligned in the larger file, it is read and not mapped.
    ///
    /// # Errors
    ///
    /// The errors of [`Model::load`], with [`ErrorKind::Embedded`] instead of [`ErrorKind::File`].
    /// [`ErrorKind::InvalidParameter`] for an offset past the end, and for a [`LoadMode`](crate::model::LoadMode) that must map
    /// data that is not aligned.
    ///
    /// Corresponds to `llama_model_load_from_file_ptr`.
    pub fn load_embedded(path: impl Into<PathBuf>, offset: u64, params: &ModelParams) -> Result<Self> {
        load(&ModelSource::Embedded { path: path.into(), offset }, params, None)
    }

    /// Loads a model from an open file, in which it begins at byte `offset`. The file must be seekable. It stays
    /// open as long as the model, and the position of the handle and its clones moves.
    ///
    /// # Errors
    ///
    /// The errors of [`Model::load_embedded`].
    ///
    /// Corresponds to `llama_model_load_from_file_ptr`.
    pub fn load_from_file_handle(file: File, offset: u64, params: &ModelParams) -> Result<Self> {
        load(&ModelSource::Handle { file: file.into(), offset }, params, None)
    }
}

/// A caller's function that receives the progress and may stop the loading.
pub(super) type Progress<'a> = &'a mut dyn FnMut(f32) -> ControlFlow<()>;

/// Loads a model, after checking the files and, as far as possible, whether the weights fit.
pub(super) fn load(
    source: &ModelSource,
    params: &ModelParams,
    progress: Option<Progress<'_>>,
) -> Result<Model> {
    backend::init();
    let _inside = exit::enter()?;
    // llama.cpp's own log lines do not name a file that it receives open.
    tracing::debug!("loading the model {source}");
    let links = params.links();
    links.check()?;
    let mut loading = Loading::check(source, params)?;
    plan::refuse_weights(source, params, loading.tensors())?;
    let loaded = call_with_progress(&mut loading, progress);
    exit::arm();
    match loaded {
        Ok(raw) => {
            let model = loading.finish(raw);
            links.check().map(|()| model)
        }
        Err(_) if links.check().is_err() => Err(links.check().unwrap_err()),
        Err(error) => Err(plan::explain_weights(source, params, error)),
    }
}

fn call_with_progress(
    loading: &mut Loading<'_>,
    progress: Option<Progress<'_>>,
) -> Result<NonNull<llama_sys::llama_model>> {
    let Some(closure) = progress else {
        return loading.call();
    };
    let mut state = Callback::new(ProgressState { closure, cancelled: false });
    loading.set_progress(Some(on_progress), core::ptr::from_mut(&mut state).cast::<c_void>());
    let loaded = loading.call();
    let cancelled = state.closure.cancelled;
    state.resume();
    if cancelled {
        return Err(ErrorKind::LoadCancelled { path: loading.path() }.into());
    }
    loaded
}

struct ProgressState<'a> {
    closure: Progress<'a>,
    cancelled: bool,
}

unsafe extern "C-unwind" fn on_progress(progress: f32, data: *mut c_void) -> bool {
    // SAFETY: `call_with_progress` passes its own `Callback`, which nothing else uses during the load. llama.cpp calls
    // back on the loading thread (llama-model-loader.cpp).
    let callback = unsafe { &mut *data.cast::<Callback<ProgressState<'_>>>() };
    callback.call(false, |state| {
        let go_on = (state.closure)(progress).is_continue();
        state.cancelled |= !go_on;
        go_on
    })
}
