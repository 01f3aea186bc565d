//! C's `FILE` for a file opened by Rust.

use std::fs::File;
use std::io;
use std::ptr::NonNull;

/// A C stream for reading, closed when dropped. Corresponds to `llama_shim_file_close`.
pub(crate) struct CFile(NonNull<llama_sys::FILE>);

impl CFile {
    /// Opens a stream of a file at `offset`. The position of the handle, and of its clones, moves. Corresponds to
    /// `llama_shim_file_open`.
    pub(crate) fn open(file: File, offset: u64) -> io::Result<Self> {
        // SAFETY: the handle is open and owned here, and ownership passes to C, which closes it with the stream or
        // at once.
        let raw = unsafe { llama_sys::llama_shim_file_open(into_handle(file), offset) };
        NonNull::new(raw).map(Self).ok_or_else(io::Error::last_os_error)
    }

    pub(crate) fn raw(&self) -> *mut llama_sys::FILE {
        self.0.as_ptr()
    }
}

impl Drop for CFile {
    fn drop(&mut self) {
        // SAFETY: the stream is open and this is its only owner.
        unsafe { llama_sys::llama_shim_file_close(self.0.as_ptr()) }
    }
}

#[cfg(unix)]
fn into_handle(file: File) -> isize {
    let descriptor = std::os::fd::IntoRawFd::into_raw_fd(file);
    // A descriptor is an `int`, which is not larger than a pointer on any platform of Rust's standard library.
    isize::try_from(descriptor).unwrap_or(-1)
}

#[cfg(windows)]
fn into_handle(file: File) -> isize {
    std::os::windows::io::IntoRawHandle::into_raw_handle(file) as isize
}
