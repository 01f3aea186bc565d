//! A file that appears under its name only when it is whole.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

/// The most symbolic links that lead to one file; Linux follows as many.
const MAX_LINKS: usize = 40;

/// The longest part of the target's name, in bytes, that the temporary file is named after. File systems allow 255 bytes
/// for the whole name.
const MAX_NAME: usize = 128;

/// A file that appears under its name only when it is whole: a temporary one beside its target, which is removed when
/// this is dropped before [`AtomicFile::commit`].
///
/// What is replaced keeps its place and its permissions: the target of a symbolic link is replaced, not the link, also
/// where that target does not exist yet. A new file has the permissions that [`File::create`] would give it; the
/// file of an existing target gets that target's mode, and its owner and group where the system allows it. Access control
/// lists, extended attributes and hard links of the old file are not carried over.
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
    /// Creates the temporary file. An existing file under the target's name stays as it is until [`AtomicFile::commit`].
    ///
    /// # Errors
    /// Those of the system; [`io::ErrorKind::InvalidInput`] for a path without a file name, and for a target that exists
    /// and is not a regular file: a directory, a device, a pipe or a socket cannot be replaced. Nothing is left behind.
    pub fn create(target: &Path) -> io::Result<Self> {
        let target = follow_links(target)?;
        if let Some(old) = metadata(&target)? {
            check_regular(&target, &old)?;
        }
        let temporary = temporary_beside(&target)?;
        let file = File::create_new(&temporary)?;
        Ok(Self { file: Some(file), temporary, target })
    }

    /// The temporary file, for writing.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn as_file(&self) -> &File {
        self.file.as_ref().expect("the file is taken only by `commit`, which consumes `self`")
    }

    /// The path of the temporary file, for a writer that opens files by itself. It must not be renamed or removed.
    #[must_use]
    pub fn temporary_path(&self) -> &Path {
        &self.temporary
    }

    /// Makes the contents durable, then gives the file its name, in place of the file that may have it.
    ///
    /// # Errors
    /// Those of the system; the temporary file is removed then, and the target is as it was.
    pub fn commit(mut self) -> io::Result<()> {
        if let Some(old) = metadata(&self.target)? {
            check_regular(&self.target, &old)?;
            keep_permissions(&self.temporary, &old)?;
        }
        if let Some(file) = self.file.take() {
            file.sync_all()?;
        }
        fs::rename(&self.temporary, &self.target)?;
        // From here on nothing is to be removed.
        self.temporary = PathBuf::new();
        sync_directory(&self.target);
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        drop(self.file.take());
        if !self.temporary.as_os_str().is_empty() {
            // After an error there is no one to tell.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// The path that a chain of symbolic links ends at, which need not exist; the path itself when it is not a link.
fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.file_type().is_symlink() => {
                // A relative link starts at its own directory; joining an absolute path replaces the whole.
                path = directory_of(&path).join(fs::read_link(&path)?);
            }
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error),
        }
    }
    Err(invalid(format!("more than {MAX_LINKS} symbolic links lead on from it, or they form a loop")))
}

/// The metadata of a file, `None` when there is no such file.
fn metadata(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Renaming would put a file in the place of a device or a pipe.
fn check_regular(path: &Path, metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let kind = if metadata.is_dir() { "a directory" } else { "not a regular file" };
    Err(invalid(format!("{} is {kind}, which a file cannot replace: use another path", path.display())))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// A new name in the target's directory.
fn temporary_beside(target: &Path) -> io::Result<PathBuf> {
    let name =
        target.file_name().ok_or_else(|| invalid("the path does not end in a file name".to_owned()))?;
    // Process ids repeat where containers share a folder; the standard library's hash keys are random.
    let number = RandomState::new().build_hasher().finish();
    let mut temporary = OsString::from(".");
    if name.len() <= MAX_NAME {
        temporary.push(name);
        temporary.push(".");
    }
    temporary.push(format!("{number:016x}.tmp"));
    Ok(target.with_file_name(temporary))
}

/// Gives the new file the mode, and as far as the system allows the owner and group, of the file that it replaces.
#[cfg(unix)]
fn keep_permissions(new: &Path, old: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, chown};

    let made = fs::symlink_metadata(new)?;
    let group = (made.gid() != old.gid()).then(|| old.gid());
    let owner = (made.uid() != old.uid()).then(|| old.uid());
    // Only the superuser may give files away, and others may choose among their own groups: each is tried by itself.
    if owner.is_some() {
        let _ = chown(new, owner, None);
    }
    if group.is_some() {
        let _ = chown(new, None, group);
    }
    // After the owner, whose change clears bits of the mode.
    fs::set_permissions(new, old.permissions())
}

/// Nothing: elsewhere permissions are those of the directory, and a file that cannot be written to cannot be replaced.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "it can fail on other systems")]
fn keep_permissions(_: &Path, _: &Metadata) -> io::Result<()> {
    Ok(())
}

/// Makes the rename durable where directories can be synchronised; elsewhere the contents
/// are whole all the same.
fn sync_directory(file: &Path) {
    if cfg!(unix) {
        let _ = File::open(directory_of(file)).and_then(|directory| directory.sync_all());
    }
}

/// The directory that a path's last component is in.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
