//! The native build cache: one folder for each combination of source, flags and compiler, a lock against concurrent
//! builds, and a stamp that is written last, so that an interrupted build is not taken for a complete one.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::Hasher;
use std::path::{Path, PathBuf};

use crate::config::Config;

/// The folder of a build, locked for this process until it is dropped.
pub(crate) struct Slot {
    pub(crate) folder: PathBuf,
    description: String,
    _lock: File,
}

impl Slot {
    /// Opens the folder for the build with this `description`, and waits for other processes that build it. Without a
    /// cache the folder has this name.
    pub(crate) fn open(config: &Config, name: &str, description: String) -> Result<Self, String> {
        let (parent, name) = match &config.build_cache {
            Some(cache) => (cache.clone(), key(&description)),
            None => (config.out_dir.clone(), name.to_owned()),
        };
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |error: std::io::Error| format!("{path}: {error}")
        };
        fs::create_dir_all(&parent).map_err(failed(&parent))?;
        let lock_file = parent.join(format!("{name}.lock"));
        let lock = File::create(&lock_file).map_err(failed(&lock_file))?;
        lock.lock().map_err(failed(&lock_file))?;
        let folder = parent.join(name);
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        let folder = fs::canonicalize(&folder).map_err(failed(&folder))?;
        Ok(Self { folder: without_verbatim_prefix(folder), description, _lock: lock })
    }

    /// Whether a build with this description was completed before.
    pub(crate) fn is_complete(&self) -> bool {
        fs::read_to_string(self.stamp()).is_ok_and(|text| text == self.description)
    }

    /// Removes the stamp of a completed build with another description before the folder is reused.
    pub(crate) fn begin(&self) -> Result<(), String> {
        match fs::remove_file(self.stamp()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(format!("{}: {error}", self.stamp().display()))
            }
            _ => Ok(()),
        }
    }

    /// Marks the build as complete.
    pub(crate) fn complete(&self) -> Result<(), String> {
        fs::write(self.stamp(), &self.description)
            .map_err(|error| format!("{}: {error}", self.stamp().display()))
    }

    fn stamp(&self) -> PathBuf {
        self.folder.join("complete")
    }
}

fn key(description: &str) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(description.as_bytes());
    format!("{:016x}", hasher.finish())
}

/// Removes the prefix `\\?\`, which `canonicalize` adds on Windows and CMake does not accept.
fn without_verbatim_prefix(path: PathBuf) -> PathBuf {
    match path.to_str().and_then(|text| text.strip_prefix(r"\\?\")) {
        Some(plain) => PathBuf::from(plain),
        None => path,
    }
}
