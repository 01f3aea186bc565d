//! Loading a model that fits into memory, from every kind of source, with or without progress.

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
    /// Loads a model from a GGUF file. Of a model in several files, give the first; the others are found by their names.
    ///
    /// The files are checked before llama.cpp sees them: a missing, truncated or malformed file is refused with
    /// the offset and the reason. llama.cpp reads the files that were checked, also when others get their names meanwhile.
    /// Where weights are mapped, which is the default, nothing may write to the files or shorten them as long as the model
    /// lives: see [`LoadMode::Mmap`](crate::LoadMode::Mmap).
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
        load(&path.as_ref().into(), params, None)
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
        load(&source.into(), params, Some(&mut progress))
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
        load(&ModelSource::Splits(paths.into_iter().map(Into::into).collect()), params, None)
    }

    /// Loads a model that begins at byte `offset` of a larger file: an archive that does not compress, or a program
    /// with its model behind it.
    ///
    /// Where the model's data is not aligned in the larger file, it is read and not mapped.
    ///
    /// # Errors
    ///
    /// As [`Model::load`], with [`ErrorKind::Embedded`] instead of [`ErrorKind::File`];
    /// [`ErrorKind::InvalidParameter`] for an offset past the end, and for a [`LoadMode`](crate::LoadMode) that has to map what is not
    /// aligned.
    ///
    /// Corresponds to `llama_model_load_from_file_ptr`.
    pub fn load_embedded(path: impl Into<PathBuf>, offset: u64, params: &ModelParams) -> Result<Self> {
        load(&ModelSource::Embedded { path: path.into(), offset }, params, None)
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
        load(&ModelSource::Handle { file: file.into(), offset }, params, None)
    }
}

/// A caller's function that hears of the progress and may stop it.
pub(super) type Progress<'a> = &'a mut dyn FnMut(f32) -> ControlFlow<()>;

/// Loads a model, after the files were checked and the weights were found to fit as far as that can be known.
pub(super) fn load(
    source: &ModelSource,
    params: &ModelParams,
    progress: Option<Progress<'_>>,
) -> Result<Model> {
    backend::init();
    let _inside = exit::enter()?;
    // llama.cpp's own lines do not name a file that it is given open.
    tracing::debug!("loading the model {source}");
    let mut loading = Loading::check(source, params)?;
    plan::refuse_weights(source, params, loading.tensors())?;
    let loaded = call_with_progress(&mut loading, progress);
    exit::arm();
    match loaded {
        Ok(raw) => Ok(loading.finish(raw)),
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
    // SAFETY: `call_with_progress` passes its own `Callback`, which nobody else uses during the load; llama.cpp calls
    // back on the loading thread (llama-model-loader.cpp).
    let callback = unsafe { &mut *data.cast::<Callback<ProgressState<'_>>>() };
    callback.call(false, |state| {
        let go_on = (state.closure)(progress).is_continue();
        state.cancelled |= !go_on;
        go_on
    })
}
