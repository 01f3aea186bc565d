//! Checked files that stay open, so that C reads what was checked.
//!
//! A path can lead to another file by the time that C opens it. So C receives the file itself: as a stream, or on
//! Linux by a path under `/proc/self/fd`, which leads to the open file. Writes into the file meanwhile cannot be
//! prevented; they are noticed afterwards by the file's length and modification time.

use core::cell::Cell;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{ErrorKind, Result};
use crate::ffi::file::CFile;
use crate::ffi::string::path_to_c;

/// An open file and its properties at the time of opening.
pub(crate) struct Opened {
    file: File,
    stamp: Stamp,
    /// Whether C was given a path that may lead to another file.
    by_name: Cell<bool>,
}

/// The properties that change when a file is written to.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    /// `None` if the system does not report it.
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { length: metadata.len(), modified: metadata.modified().ok() })
    }
}

impl Opened {
    /// Takes a file that is about to be checked.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let stamp = Stamp::of(&file)?;
        Ok(Self { file, stamp, by_name: Cell::new(false) })
    }

    /// Returns the file for reading.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Returns the number of bytes at the time of opening.
    pub(crate) fn length(&self) -> u64 {
        self.stamp.length
    }

    /// Returns a C stream of the file, positioned at `offset`.
    pub(crate) fn stream(&self, offset: u64) -> io::Result<CFile> {
        CFile::open(self.file.try_clone()?, offset)
    }

    /// Returns a path for C that leads to this file as long as `self` lives, or `path` if the system has no such
    /// path.
    pub(crate) fn path_for_c(&self, path: &Path) -> Result<CString> {
        match self.descriptor_path().filter(|own| own.exists()) {
            Some(own) => path_to_c(&own),
            None => {
                self.by_name.set(true);
                path_to_c(path)
            }
        }
    }

    /// Returns a path that opens the file again on Linux, also with other flags.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn descriptor_path(&self) -> Option<PathBuf> {
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&self.file);
        Some(format!("/proc/self/fd/{descriptor}").into())
    }

    /// Returns `None`: other systems have no such path, or one that shares its position with this file.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    #[allow(clippy::unused_self, reason = "needed on Linux")]
    fn descriptor_path(&self) -> Option<PathBuf> {
        None
    }

    /// Refuses the file if it was written to since it was opened, or if C had to open `path` itself and it now leads
    /// to another file.
    pub(crate) fn check_unchanged(&self, path: &Path) -> Result<()> {
        let is_same = Stamp::of(&self.file).is_ok_and(|stamp| stamp == self.stamp);
        let is_there = !self.by_name.get() || leads_to(path, &self.file);
        if is_same && is_there {
            Ok(())
        } else {
            Err(ErrorKind::FileChanged { path: path.to_owned() }.into())
        }
    }
}

/// Returns whether a path leads to an open file. Where identity is unknown, length and modification time are
/// compared.
#[cfg(unix)]
fn leads_to(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let ends = path.metadata().map(identity).ok().zip(file.metadata().map(identity).ok());
    ends.is_some_and(|(there, here)| there == here)
}

#[cfg(not(unix))]
fn leads_to(path: &Path, file: &File) -> bool {
    let there = File::open(path).and_then(|file| Stamp::of(&file));
    there.is_ok_and(|there| Stamp::of(file).is_ok_and(|here| there == here))
}
