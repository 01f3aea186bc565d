//! The system's loader, and the symbols of the library that it has opened.

use core::ffi::{CStr, c_void};
use std::path::Path;

use libloading::Library;

/// The names of the libraries whose functions the system does not find by the handle of libllama.
#[cfg(windows)]
const OTHERS: &[&str] = &["ggml.dll", "ggml-base.dll", "libggml.dll", "libggml-base.dll"];

/// An opened library, which is closed when this is dropped.
pub(super) struct Opened {
    /// libllama, and on Windows ggml's libraries.
    libraries: Vec<Library>,
}

impl Opened {
    /// Opens libllama with the libraries that it needs. Its symbols are not offered to other libraries.
    ///
    /// # Errors
    ///
    /// The system's reason.
    ///
    /// # Safety
    ///
    /// The initialisation of the file is safe to run.
    pub(super) unsafe fn open(path: &Path) -> Result<Self, String> {
        // SAFETY: the caller's promise.
        let main = unsafe { open(path) }.map_err(|error| error.to_string())?;
        #[allow(unused_mut, reason = "only Windows needs more than one handle")]
        let mut libraries = vec![main];
        #[cfg(windows)]
        libraries.extend(
            OTHERS
                .iter()
                .map(|name| path.with_file_name(name))
                .filter(|path| path.is_file())
                // SAFETY: libllama needs these libraries, so the system has loaded them already.
                .filter_map(|path| unsafe { open(&path) }.ok()),
        );
        Ok(Self { libraries })
    }

    /// Returns the address of a symbol of libllama or of a library that it needs.
    pub(super) fn symbol(&self, name: &CStr) -> Option<*mut c_void> {
        self.libraries.iter().find_map(|library| {
            // SAFETY: only the address is taken, from which nothing is read here.
            let address =
                unsafe { library.get::<*mut c_void>(name.to_bytes_with_nul()).ok()?.try_as_raw_ptr() }?;
            (!address.is_null()).then_some(address)
        })
    }

    /// Leaves the library open until the process ends.
    pub(super) fn keep(self) {
        core::mem::forget(self);
    }
}

#[cfg(unix)]
unsafe fn open(path: &Path) -> Result<Library, libloading::Error> {
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
    // SAFETY: the caller's promise. With `RTLD_NOW` a library that lacks one of its own dependencies is refused here, and
    // with `RTLD_LOCAL` no other library binds to its symbols.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map(Into::into)
}

#[cfg(windows)]
unsafe fn open(path: &Path) -> Result<Library, libloading::Error> {
    use libloading::os::windows::{LOAD_WITH_ALTERED_SEARCH_PATH, Library};
    // Looks for the libraries that it needs in its own folder. The system requires an absolute path for that.
    let flags = if path.is_absolute() { LOAD_WITH_ALTERED_SEARCH_PATH } else { 0 };
    // SAFETY: the caller's promise.
    unsafe { Library::load_with_flags(path, flags) }.map(Into::into)
}
