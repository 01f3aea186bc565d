//! Conversion of strings from and to C.

use core::ffi::{CStr, c_char};
use std::ffi::CString;
use std::path::Path;

use crate::error::{Error, ErrorKind};

/// Converts a text to a C string. `what` names the argument in the error for a NUL byte.
pub(crate) fn to_c(what: &'static str, text: &str) -> Result<CString, Error> {
    CString::new(text)
        .map_err(|error| Error::from_kind(ErrorKind::InteriorNul { what, position: error.nul_position() }))
}

/// Converts a path to a C string: its bytes on Unix, UTF-8 elsewhere (where llama.cpp converts it to wide
/// characters).
pub(crate) fn path_to_c(path: &Path) -> Result<CString, Error> {
    #[cfg(unix)]
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    #[cfg(not(unix))]
    let bytes = path
        .to_str()
        .ok_or_else(|| Error::from_kind(ErrorKind::PathNotUnicode { path: path.to_owned() }))?
        .as_bytes();
    CString::new(bytes).map_err(|error| {
        Error::from_kind(ErrorKind::InteriorNul { what: "path", position: error.nul_position() })
    })
}

/// Copies a NUL-terminated string; returns `None` for NULL. Bytes that are not UTF-8 are replaced.
///
/// # Safety
///
/// `text` is NULL or points to a NUL-terminated string.
pub(crate) unsafe fn from_c(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not NULL, and NUL-terminated by the caller's promise.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// Copies a string that a function of the shim returned, and frees it; returns `None` for NULL.
///
/// # Safety
///
/// `text` is NULL or was returned by a function of `shim/common.h` or `shim/common_chat.h`, and is not used
/// afterwards.
#[cfg(feature = "common")]
pub(crate) unsafe fn take_from_shim(text: *mut c_char) -> Option<String> {
    // SAFETY: by the caller's promise it is NULL, which both functions allow, or NUL-terminated and allocated by the
    // shim's malloc (shim/text.cpp, copy_string).
    unsafe {
        let copy = from_c(text);
        llama_sys::llama_shim_string_free(text);
        copy
    }
}

/// Reads a string from a C function that fills a buffer, NUL-terminates it, and returns the whole length, or a
/// negative number if there is no such string (like `llama_model_meta_val_str`).
pub(crate) fn read_buffer(
    mut fill: impl FnMut(*mut c_char, usize) -> Result<i32, Error>,
) -> Result<Option<String>, Error> {
    let mut buffer = vec![0_u8; 256];
    loop {
        let length = fill(buffer.as_mut_ptr().cast::<c_char>(), buffer.len())?;
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        if length < buffer.len() {
            buffer.truncate(length);
            return Ok(Some(String::from_utf8_lossy(&buffer).into_owned()));
        }
        buffer.resize(length + 1, 0);
    }
}

/// Reads `count` keys and values with C functions that work like those for [`read_buffer`], and sorts them by key.
/// Entries without a key or value are left out.
pub(crate) fn pairs(
    count: i32,
    key: impl Fn(i32, *mut c_char, usize) -> Result<i32, Error>,
    value: impl Fn(i32, *mut c_char, usize) -> Result<i32, Error>,
) -> Result<Vec<(String, String)>, Error> {
    let mut pairs = Vec::new();
    for index in 0..count {
        let Some(key) = read_buffer(|buffer, size| key(index, buffer, size))? else { continue };
        let Some(value) = read_buffer(|buffer, size| value(index, buffer, size))? else { continue };
        pairs.push((key, value));
    }
    pairs.sort();
    Ok(pairs)
}
