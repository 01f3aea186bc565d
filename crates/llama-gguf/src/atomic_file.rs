//! Files that appear under their name only when they are complete.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

/// The most symbolic links that are followed to one file, as many as Linux follows.
const MAX_LINKS: usize = 40;

/// The number of bytes of the target's name that the temporary file's name keeps. File systems allow 255 bytes for
/// the whole name.
const MAX_NAME: usize = 128;

/// A file that appears under its name only when it is complete. Until [`AtomicFile::commit`] it is a temporary file
/// beside its target, and dropping this removes it.
///
/// The replaced file keeps its place and its permissions: the target of a symbolic link is replaced instead of the
/// link, even when that target does not exist yet. A new file has the permissions that [`File::create`] would give
/// it. The replacement of an existing file gets that file's mode, and its owner and group where the system allows it.
/// Access control lists, extended attributes and hard links of the old file are not carried over.
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
    /// `None` only during a commit, because some systems do not rename open files.
    file: Option<File>,
    temporary: PathBuf,
    target: PathBuf,
}

impl AtomicFile {
    /// Creates the temporary file. An existing file under the target's name stays unchanged until
    /// [`AtomicFile::commit`].
    ///
    /// # Errors
    /// The system's errors; [`io::ErrorKind::InvalidInput`] for a path without a file name, and for a target that
    /// exists and is not a regular file: a directory, a device, a pipe or a socket cannot be replaced. After an error
    /// no temporary file is left.
    pub fn create(target: &Path) -> io::Result<Self> {
        let target = follow_links(target)?;
        if let Some(old) = metadata(&target)? {
            check_regular(&target, &old)?;
        }
        let temporary = temporary_beside(&target)?;
        let file = File::create_new(&temporary)?;
        Ok(Self { file: Some(file), temporary, target })
    }

    /// Returns the temporary file, for writing.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn as_file(&self) -> &File {
        self.file.as_ref().expect("the file is taken only by `commit`, which consumes `self`")
    }

    /// Returns the path of the temporary file, for a writer that opens files by itself. The file must not be renamed
    /// or removed.
    #[must_use]
    pub fn temporary_path(&self) -> &Path {
        &self.temporary
    }

    /// Syncs the contents to disk, then renames the file to its target and replaces an existing one.
    ///
    /// # Errors
    /// The system's errors. The temporary file is then removed, and the target is unchanged.
    pub fn commit(mut self) -> io::Result<()> {
        if let Some(old) = metadata(&self.target)? {
            check_regular(&self.target, &old)?;
            keep_permissions(&self.temporary, &old)?;
        }
        if let Some(file) = self.file.take() {
            file.sync_all()?;
        }
        fs::rename(&self.temporary, &self.target)?;
        // From here on there is no file to remove.
        self.temporary = PathBuf::new();
        sync_directory(&self.target);
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        drop(self.file.take());
        if !self.temporary.as_os_str().is_empty() {
            // `drop` cannot report an error.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Returns the path at the end of a chain of symbolic links, which need not exist, or the path itself when it is not
/// a link.
fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.file_type().is_symlink() => {
                // A relative link is relative to its own directory. Joining an absolute path replaces the whole path.
                path = directory_of(&path).join(fs::read_link(&path)?);
            }
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error),
        }
    }
    Err(invalid(format!("more than {MAX_LINKS} symbolic links lead on from it, or they form a loop")))
}

/// Returns the metadata of a file, or `None` when there is no such file.
fn metadata(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Refuses to replace a device, a pipe or a directory.
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

/// Returns a new name in the target's directory.
fn temporary_beside(target: &Path) -> io::Result<PathBuf> {
    let name =
        target.file_name().ok_or_else(|| invalid("the path does not end in a file name".to_owned()))?;
    // Process ids repeat when containers share a folder; the standard library's hash keys are random.
    let number = RandomState::new().build_hasher().finish();
    let mut temporary = OsString::from(".");
    if name.len() <= MAX_NAME {
        temporary.push(name);
        temporary.push(".");
    }
    temporary.push(format!("{number:016x}.tmp"));
    Ok(target.with_file_name(temporary))
}

/// Gives the new file the mode of the file that it replaces, and its owner and group where the system allows it.
#[cfg(unix)]
fn keep_permissions(new: &Path, old: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, chown};

    let made = fs::symlink_metadata(new)?;
    let group = (made.gid() != old.gid()).then(|| old.gid());
    let owner = (made.uid() != old.uid()).then(|| old.uid());
    // Only the superuser can give files away, and others can choose only among their own groups, so each is tried
    // separately.
    if owner.is_some() {
        let _ = chown(new, owner, None);
    }
    if group.is_some() {
        let _ = chown(new, None, group);
    }
    // After the owner, because changing the owner clears bits of the mode.
    fs::set_permissions(new, old.permissions())
}

/// Does nothing: on other systems the directory sets permissions, and a read-only file cannot be replaced.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "it can fail on other systems")]
fn keep_permissions(_: &Path, _: &Metadata) -> io::Result<()> {
    Ok(())
}

/// Syncs the rename to disk where directories can be synced. On other systems the contents are complete anyway.
fn sync_directory(file: &Path) {
    if cfg!(unix) {
        let _ = File::open(directory_of(file)).and_then(|directory| directory.sync_all());
    }
}

/// Returns the directory that contains the path's last component.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
