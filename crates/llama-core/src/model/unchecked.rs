//! Models that go to llama.cpp as they are, for tests of what comes after the checks of files.

use std::ffi::CString;
use std::path::Path;
use std::ptr::NonNull;

use llama_gguf::Metadata;

use super::{LoadMode, Model, ModelParams, Origin};
use crate::backend;
use crate::ffi::guard::guarded;

impl Model {
    /// Loads a file without a look at it. `None` when llama.cpp does not load it.
    pub(crate) fn load_unchecked(path: &Path) -> Option<Self> {
        backend::init();
        let params = ModelParams::default().load_mode(LoadMode::Read);
        let mut raw_params = params.to_raw().unwrap();
        let path = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the path is NUL-terminated, and the parameters were made by `to_raw`.
        let raw = unsafe { guarded!(llama_model_load_from_file(path.as_ptr(), raw_params.as_raw())) }.ok()?;
        let origin = Origin::of_metadata(&Metadata::new(), &params);
        NonNull::new(raw).map(|raw| Self::own(raw, None, &params, Box::default(), origin))
    }
}
