//! Records of verified files, so that a hundred megabytes are not hashed again in every run.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::progress::Step;

/// The name of the file with the records of a folder.
const NAME: &str = ".verified.json";

/// The size from which hashing takes long enough to show progress.
const WORTH_A_BAR: u64 = 4 << 20;

/// The verified files of one folder, with their sizes and times at that moment.
pub(crate) struct Verified {
    folder: PathBuf,
    records: PathBuf,
    files: BTreeMap<String, Record>,
}

#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Record {
    size: u64,
    modified_ns: u128,
    sha256: String,
}

impl Verified {
    /// Reads the records of a folder from a file inside it.
    pub(crate) fn open(folder: &Path) -> Self {
        Self::open_with(folder, folder.join(NAME))
    }

    /// Reads the records of a folder from another file. An unreadable file counts as empty.
    pub(crate) fn open_with(folder: &Path, records: PathBuf) -> Self {
        let text = fs::read(&records).unwrap_or_default();
        Self {
            folder: folder.to_path_buf(),
            records,
            files: serde_json::from_slice(&text).unwrap_or_default(),
        }
    }

    /// Whether the file exists with the content of this checksum. It is hashed only when its size or time has changed
    /// since it was verified.
    pub(crate) fn check(&mut self, file: &str, sha256: &str) -> Result<bool> {
        let path = self.folder.join(file);
        let Some(now) = Record::of(&path, sha256) else { return Ok(false) };
        if self.files.get(file) == Some(&now) {
            return Ok(true);
        }
        let matches = if now.size < WORTH_A_BAR {
            hex(&Sha256::digest(
                fs::read(&path).with_context(|| format!("could not read {}", path.display()))?,
            )) == sha256
        } else {
            let step = Step::bytes(format!("verifying {file}"), now.size);
            let matches = sha256_of(&path, &step)? == sha256;
            step.done(if matches { "verified" } else { "not the expected content" });
            matches
        };
        if matches {
            self.record(file, sha256)?;
        }
        Ok(matches)
    }

    /// Records that the file's current content has this checksum.
    pub(crate) fn record(&mut self, file: &str, sha256: &str) -> Result<()> {
        let path = self.folder.join(file);
        let record = Record::of(&path, sha256).with_context(|| format!("{} is gone", path.display()))?;
        self.files.insert(file.to_owned(), record);
        write(&self.records, &serde_json::to_vec_pretty(&self.files)?)
    }
}

impl Record {
    fn of(path: &Path, sha256: &str) -> Option<Self> {
        let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        let modified_ns = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
        Some(Self { size: metadata.len(), modified_ns, sha256: sha256.to_owned() })
    }
}

/// Returns the checksum of a file in hexadecimal.
pub(crate) fn sha256_of(path: &Path, step: &Step) -> Result<String> {
    let mut file = fs::File::open(path).with_context(|| format!("could not open {}", path.display()))?;
    copy_hashed(&mut file, &mut std::io::sink(), step)
        .with_context(|| format!("could not read {}", path.display()))
}

/// Writes the content of `source` to `path` through a temporary file, if its checksum is the expected one.
///
/// The temporary name is always the same, so that interrupted runs do not fill the disk.
pub(crate) fn place(source: &mut impl Read, path: &Path, sha256: &str, step: &Step) -> Result<()> {
    let partial = partial_name(path);
    let could_not = || format!("could not write {}: is the disk full?", partial.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(could_not)?;
    }
    let mut file = fs::File::create(&partial).with_context(could_not)?;
    let written = copy_hashed(source, &mut file, step).with_context(could_not);
    let synced = file.sync_all().with_context(could_not);
    drop(file);
    let found = match written.and_then(|found| synced.map(|()| found)) {
        Ok(found) if found == sha256 => found,
        other => {
            // Ignored, because its error would hide the relevant one; the next run overwrites the file anyway.
            let _ = fs::remove_file(&partial);
            bail!("{} would have the sha256 {}, not the expected {sha256}", path.display(), other?);
        }
    };
    debug_assert_eq!(found, sha256);
    fs::rename(&partial, path).with_context(|| format!("could not put {} in place", path.display()))
}

/// Replaces a small file in one step.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<()> {
    let partial = partial_name(path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    }
    fs::write(&partial, content).with_context(|| format!("could not write {}", partial.display()))?;
    fs::rename(&partial, path).with_context(|| format!("could not put {} in place", path.display()))
}

fn partial_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

fn copy_hashed(source: &mut impl Read, sink: &mut impl Write, step: &Step) -> Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        sink.write_all(&buffer[..read])?;
        step.advance(read as u64);
    }
    Ok(hex(&hash.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn step() -> Step {
        Step::bytes("test", 0)
    }

    #[test]
    fn a_changed_file_is_noticed_and_an_unchanged_one_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let check = || Verified::open(folder.path()).check("file", HELLO).unwrap();
        assert!(!check(), "a missing file");
        fs::write(&path, "hello").unwrap();
        assert!(check(), "a file put there by hand is verified");
        assert!(folder.path().join(NAME).is_file());

        fs::write(&path, "hellx").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(UNIX_EPOCH).unwrap();
        assert!(!check(), "same size, another time, another content");
        fs::write(&path, "hello, world").unwrap();
        assert!(!check(), "another size");
        assert!(!Verified::open(folder.path()).check("file", "00").unwrap(), "another expectation");
    }

    #[test]
    fn a_broken_record_means_verifying_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "hello").unwrap();
        fs::write(folder.path().join(NAME), "{\"file\": {\"si").unwrap();
        assert!(Verified::open(folder.path()).check("file", HELLO).unwrap());
    }

    #[test]
    fn content_with_another_checksum_is_not_put_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub").join("file");
        let error = place(&mut &b"hellx"[..], &path, HELLO, &step()).unwrap_err();
        assert!(error.to_string().contains("not the expected 2cf24dba"), "{error}");
        assert!(!path.exists());
        assert!(!partial_name(&path).exists());
        place(&mut &b"hello"[..], &path, HELLO, &step()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"hello");
    }

    #[test]
    fn a_source_that_breaks_off_leaves_nothing() {
        struct BreaksOff;
        impl Read for BreaksOff {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("gone"))
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        place(&mut b"hel".chain(BreaksOff), &path, HELLO, &step()).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
