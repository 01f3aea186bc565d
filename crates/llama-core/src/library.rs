//! llama.cpp's library, which a program with feature `dynamic` loads when it runs.
//!
//! Nothing has to be done for it: the first use of this crate loads the library that the variable `LLAMA_LIBRARY` names,
//! or the one beside the executable. A function that cannot do its work without the library returns
//! [`ErrorKind::Library`](crate::ErrorKind::Library), and one that returns no errors writes the error to the log.
//! [`load`](load()) loads it from a path of your own, and shows early whether that works.

#[cfg(feature = "dynamic")]
use std::path::{Path, PathBuf};

#[cfg(feature = "dynamic")]
pub use llama_sys::dynamic::{Attempt, Fault, LoadError};

use crate::error::Result;

/// Loads the library, for the rest of the process. `path` is its file, or a folder that holds it. Without a path it is the
/// file or folder that the variable `LLAMA_LIBRARY` names, or else a file beside the executable.
///
/// Loading again from the same place does nothing. The library must be a libllama of the version
/// [`llama_core::version`](crate::version()) with ggml's libraries where the system's loader finds them. The system runs the
/// library's code when it loads it, so a file must be as trustworthy as the program.
///
/// # Errors
///
/// [`ErrorKind::Library`](crate::ErrorKind::Library) if there is no library, if it has another version or lacks functions,
/// or if another one is loaded already.
#[cfg(feature = "dynamic")]
pub fn load(path: Option<&Path>) -> Result<()> {
    // SAFETY: the version and the presence of every function are checked before any of them is called, and the gate that
    // all first calls pass (ffi/exit.rs) opens afterwards. That the file is what its name says is the user's promise, as
    // for a library that the system loads when the program starts.
    unsafe { llama_sys::dynamic::load(path) }.map_err(crate::ErrorKind::from)?;
    crate::ffi::exit::open();
    Ok(())
}

/// Returns the path of the loaded library, or `None` before it is loaded.
#[cfg(feature = "dynamic")]
#[must_use]
pub fn path() -> Option<PathBuf> {
    llama_sys::dynamic::loaded()
}

/// Loads the library if that has not been done.
#[cfg(feature = "dynamic")]
pub(crate) fn ensure() -> Result<()> {
    load(None)
}

/// Does nothing: the library is linked.
#[cfg(not(feature = "dynamic"))]
#[allow(clippy::unnecessary_wraps, reason = "loading can fail with feature `dynamic`")]
pub(crate) fn ensure() -> Result<()> {
    Ok(())
}
