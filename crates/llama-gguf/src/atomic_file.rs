//! A file that appears under its name only when it is whole.

use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

/// A file that appears under its name only when it is whole: a temporary one beside its target, which is removed when
/// this is dropped before [`AtomicFile::commit`].
///
/// ```
/// use std::io::Write;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("a");
/// let file = llama_gguf::AtomicFile::create(&path)?;
/// file.as_file().write_all(b"all of it")?;
/// assert!(!path.exists());
/// file.commit()?;
/// assert_eq!(std::fs::read(&path)?, b"all of it");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct AtomicFile {
    /// `None` only while committing: some systems do not rename files that are open.
    file: Option<File>,
    temporary: PathBuf,
    target: PathBuf,
}

impl AtomicFile {
    /// Makes the temporary file. A file that there is under the target's name stays until [`AtomicFile::commit`].
    ///
    /// # Errors
    /// Those of the system, and if the path has no file name.
    pub fn create(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the path does not end in a file name")
        })?;
        // Process ids repeat where containers share a folder; the standard library's hash keys are random.
        let number = RandomState::new().build_hasher().finish();
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{number:016x}.tmp"));
        let temporary = target.with_file_name(temporary);
        let file = File::create_new(&temporary)?;
        Ok(Self { file: Some(file), temporary, target: target.to_owned() })
    }

    /// The temporary file, for writing.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn as_file(&self) -> &File {
        self.file.as_ref().expect("the file is taken only by `commit`, which consumes `self`")
    }

    /// Makes the contents durable, then gives the file its name, in place of one that may have it.
    ///
    /// # Errors
    /// Those of the system; the temporary file is removed then.
    pub fn commit(mut self) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            file.sync_all()?;
        }
        fs::rename(&self.temporary, &self.target)?;
        sync_directory(&self.target);
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        drop(self.file.take());
        // After a commit there is nothing of this name; after an error there is no one to tell.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Makes the rename durable where directories can be synchronised; elsewhere the contents
/// are whole all the same.
fn sync_directory(file: &Path) {
    if cfg!(unix) {
        let parent = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let _ = File::open(parent).and_then(|directory| directory.sync_all());
    }
}
