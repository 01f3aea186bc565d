//! Loads llama.cpp's library when the program runs, with feature `dynamic`.
//!
//! The bound functions are small functions of this crate that jump to those of the library. None of them may be called
//! before [`load`] has succeeded: the process ends with a message.

mod error;
mod open;
mod search;

use core::ffi::{CStr, c_char, c_void};
use core::ptr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub use error::{Attempt, Fault, LoadError};
use open::Opened;

use crate::LLAMA_CPP_VERSION;

/// The variable that names the library if the caller of [`load`] does not.
pub const VARIABLE: &str = "LLAMA_LIBRARY";

// shim/dynamic.h
unsafe extern "C" {
    safe fn llama_shim_n_symbols() -> usize;
    safe fn llama_shim_n_required_symbols() -> usize;
    fn llama_shim_symbol_name(index: usize) -> *const c_char;
    fn llama_shim_set_symbol(index: usize, address: *mut c_void);
}

/// The result of the calls of [`load`] so far.
enum State {
    Untried,
    /// The attempt without a path has failed.
    Failed(LoadError),
    Loaded(PathBuf),
}

static STATE: Mutex<State> = Mutex::new(State::Untried);

/// Loads the library and finds all bound functions in it. It stays loaded until the process ends.
///
/// `path` is the library or a folder that holds it. Without it, [`VARIABLE`] names one of the two, or else the library is
/// beside the executable. The system looks for a file name without a folder in its own places. Without a path the attempt
/// is made only once, and later calls return its result. If a library is loaded already, calls without a path and those with
/// its path succeed.
///
/// # Errors
///
/// No library can be opened, it has another version than [`LLAMA_CPP_VERSION`], or it lacks functions. The error lists all
/// of them.
///
/// # Safety
///
/// The file must be safe to load: the system runs its initialisation. If it has the version and the functions, they must
/// be those of llama.cpp. Before the call has succeeded, no thread may call a bound function of llama.cpp.
pub unsafe fn load(path: Option<&Path>) -> Result<(), LoadError> {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    match (&*state, path) {
        (State::Loaded(loaded), Some(path))
            if !search::candidates(path).iter().any(|it| same(it, loaded)) =>
        {
            return Err(LoadError::another(path, loaded));
        }
        (State::Loaded(_), _) => return Ok(()),
        (State::Failed(error), None) => return Err(error.clone()),
        (State::Untried | State::Failed(_), _) => {}
    }
    // SAFETY: the caller's promise.
    match unsafe { load_first(search::places(path)) } {
        Ok(loaded) => {
            *state = State::Loaded(loaded);
            Ok(())
        }
        Err(error) => {
            if path.is_none() {
                *state = State::Failed(error.clone());
            }
            Err(error)
        }
    }
}

/// Returns the path of the loaded library, or `None` before [`load`] has succeeded.
pub fn loaded() -> Option<PathBuf> {
    match &*STATE.lock().unwrap_or_else(PoisonError::into_inner) {
        State::Loaded(path) => Some(path.clone()),
        State::Untried | State::Failed(_) => None,
    }
}

/// Loads the first of these files that can be opened.
///
/// # Safety
///
/// As for [`load`].
unsafe fn load_first(paths: Vec<PathBuf>) -> Result<PathBuf, LoadError> {
    let mut attempts = Vec::new();
    for path in paths {
        // SAFETY: the caller's promise.
        match unsafe { Opened::open(&path) } {
            Ok(library) => {
                // SAFETY: the caller's promise.
                let faults = unsafe { adopt(&library) };
                if faults.is_empty() {
                    library.keep();
                    return Ok(path);
                }
                attempts.push(Attempt { path, faults });
                break;
            }
            Err(reason) => attempts.push(Attempt { path, faults: vec![Fault::CannotOpen { reason }] }),
        }
    }
    Err(LoadError::new(attempts))
}

/// Stores the addresses of all functions if the library is suitable, and otherwise returns its faults.
///
/// # Safety
///
/// As for [`load`].
unsafe fn adopt(library: &Opened) -> Vec<Fault> {
    let mut faults = Vec::new();
    // SAFETY: the caller promises that this is llama.cpp's function (include/llama.h).
    if let Some(version) = unsafe { version(library) }
        && release(&version) != LLAMA_CPP_VERSION
    {
        faults.push(Fault::OtherVersion { version });
    }
    let names: Vec<&'static CStr> = (0..llama_shim_n_symbols())
        // SAFETY: the index is below the number of symbols; the names are literals (shim/dynamic.cpp).
        .map(|index| unsafe { CStr::from_ptr(llama_shim_symbol_name(index)) })
        .collect();
    let addresses: Vec<_> = names.iter().map(|name| library.symbol(name)).collect();
    let required = names.iter().zip(&addresses).take(llama_shim_n_required_symbols());
    let missing: Vec<_> = required
        .filter(|(_, address)| address.is_none())
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .collect();
    if !missing.is_empty() {
        faults.push(Fault::LacksFunctions { names: missing });
    }
    if faults.is_empty() {
        for (index, address) in addresses.into_iter().enumerate() {
            // SAFETY: the index is below the number of symbols. The version is that of the bindings, so the functions have
            // the declared types, and no thread calls them yet, by the caller's promise.
            unsafe { llama_shim_set_symbol(index, address.unwrap_or(ptr::null_mut())) };
        }
    }
    faults
}

/// Returns what the library says about its version, `None` if it does not have the function.
///
/// # Safety
///
/// The library's symbol `llama_version`, if there is one, is llama.cpp's function.
unsafe fn version(library: &Opened) -> Option<String> {
    let address = library.symbol(c"llama_version")?;
    // SAFETY: the function has this type (include/llama.h) and returns a literal (src/llama.cpp), by the caller's promise.
    let text = unsafe {
        let version: unsafe extern "C" fn() -> *const c_char = core::mem::transmute(address);
        CStr::from_ptr(version())
    };
    Some(text.to_string_lossy().into_owned())
}

/// Returns the version without the `-dev` of a tree between two releases.
fn release(version: &str) -> &str {
    version.split('-').next().unwrap_or_default()
}

/// Returns whether two paths name one file.
fn same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    real(one) == real(other)
}
