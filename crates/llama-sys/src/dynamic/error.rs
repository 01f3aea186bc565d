//! The error of a library that cannot be loaded.

use core::fmt;
use std::path::{Path, PathBuf};

use super::VARIABLE;
use crate::LLAMA_CPP_VERSION;

/// The error of [`load`](super::load): every place where the library was looked for, with all its faults.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadError {
    /// The files, in the order in which they were tried. The last one is the library if it could be opened.
    pub attempts: Vec<Attempt>,
}

/// A file that is no suitable library.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The file.
    pub path: PathBuf,
    /// All reasons against it.
    pub faults: Vec<Fault>,
}

/// A reason against a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The system cannot load the file, or one that it needs.
    CannotOpen {
        /// The system's reason.
        reason: String,
    },
    /// The library has another version than the bindings.
    OtherVersion {
        /// The version of the library.
        version: String,
    },
    /// The library lacks bound functions.
    LacksFunctions {
        /// Their names.
        names: Vec<String>,
    },
    /// Another library was loaded before.
    AnotherIsLoaded {
        /// The loaded library.
        loaded: PathBuf,
    },
}

impl LoadError {
    pub(super) fn new(attempts: Vec<Attempt>) -> Self {
        Self { attempts }
    }

    pub(super) fn another(path: &Path, loaded: &Path) -> Self {
        let faults = vec![Fault::AnotherIsLoaded { loaded: loaded.to_path_buf() }];
        Self::new(vec![Attempt { path: path.to_path_buf(), faults }])
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "llama.cpp's library cannot be loaded")?;
        let mut before = ": ";
        for attempt in &self.attempts {
            for fault in &attempt.faults {
                write!(f, "{before}{} {fault}", attempt.path.display())?;
                before = "; ";
            }
        }
        let is_other = |fault: &Fault| matches!(fault, Fault::AnotherIsLoaded { .. });
        if self.attempts.iter().flat_map(|attempt| &attempt.faults).any(is_other) {
            return Ok(());
        }
        write!(
            f,
            ". Name the file or folder of a libllama {LLAMA_CPP_VERSION} by the variable {VARIABLE} or when loading it, or \
             put it beside the executable"
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CannotOpen { reason } => write!(f, "cannot be opened ({reason})"),
            Self::OtherVersion { version } => {
                write!(f, "has version {version}, but must have {LLAMA_CPP_VERSION}")
            }
            Self::LacksFunctions { names } => {
                write!(f, "lacks {} functions: {}", names.len(), names.join(", "))
            }
            Self::AnotherIsLoaded { loaded } => {
                write!(f, "is not the library that was loaded before, {}", loaded.display())
            }
        }
    }
}

impl core::error::Error for LoadError {}
