//! The files of a Debian package in a folder of the tools, which either holds all of them or does not exist.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::debian::{self, Deb};
use crate::progress::Step;
use crate::workspace;

/// The stamp beside the files. It is written before the folder gets its name, so that its presence means that they are
/// complete.
const STAMP: &str = ".deb";

/// A folder of a package, and its place among the tools.
pub(super) struct Unpacked {
    pub(super) package: Deb,
    /// The folder in the package.
    pub(super) from: &'static str,
    /// The folder's name among the tools.
    pub(super) folder: &'static str,
    /// The place of the files in that folder.
    pub(super) inside: &'static str,
}

/// Returns the folder of the tools.
pub(super) fn tools() -> PathBuf {
    workspace::folder_from_env("LLAMA_SYS_TOOLS").unwrap_or_else(|| workspace::target().join("tools"))
}

impl Unpacked {
    /// Returns the folder of the files among these tools.
    pub(super) fn files(&self, tools: &Path) -> PathBuf {
        tools.join(self.folder).join(self.inside)
    }

    /// Whether all files of this very package are in place.
    pub(super) fn is_complete(&self, tools: &Path) -> bool {
        fs::read_to_string(tools.join(self.folder).join(STAMP)).is_ok_and(|text| text == self.stamp())
    }

    /// Obtains the package and unpacks it.
    pub(super) fn bring(&self) -> Result<()> {
        let deb = self.package.obtain()?;
        let step = Step::spinner(format!("unpacking {}", self.package.file()));
        let files = self.install(&deb, &tools())?;
        step.done(&format!("{files} files in {}", self.files(&tools()).display()));
        Ok(())
    }

    /// Unpacks the files so that no partial folder ever has the name that others look for.
    fn install(&self, deb: &Path, tools: &Path) -> Result<usize> {
        let could_not = |path: &Path| {
            let path = path.display().to_string();
            move || format!("could not write {path}: is the disk full, or the folder not writable?")
        };
        fs::create_dir_all(tools).with_context(could_not(tools))?;
        let leftover = format!(".{}-", self.folder);
        remove_leftovers(tools, &leftover)?;
        let fresh = tempfile::Builder::new().prefix(&leftover).tempdir_in(tools);
        let fresh = fresh.with_context(could_not(tools))?;
        let files = debian::unpack(deb, self.from, &fresh.path().join(self.inside))?;
        fs::write(fresh.path().join(STAMP), self.stamp()).with_context(could_not(fresh.path()))?;
        let home = tools.join(self.folder);
        if home.exists() {
            fs::remove_dir_all(&home).with_context(could_not(&home))?;
        }
        fs::rename(fresh.keep(), &home).with_context(could_not(&home))?;
        Ok(files)
    }

    fn stamp(&self) -> String {
        format!("{}\nsha256 {}\n", self.package.file(), self.package.sha256)
    }
}

/// Removes the folders of interrupted runs.
fn remove_leftovers(tools: &Path, beginning: &str) -> Result<()> {
    for entry in fs::read_dir(tools).with_context(|| format!("could not read {}", tools.display()))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(beginning) {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("could not remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Unpacked = Unpacked {
        package: Deb {
            name: "some",
            version: "1",
            architecture: "all",
            release: "trixie",
            megabytes: 1,
            size: 5,
            sha256: "00",
        },
        from: "usr/include",
        folder: "some",
        inside: "include",
    };

    #[test]
    fn only_files_with_the_stamp_of_this_package_count() {
        let tools = tempfile::tempdir().unwrap();
        assert!(!SOME.is_complete(tools.path()));
        let home = tools.path().join(SOME.folder);
        fs::create_dir(&home).unwrap();
        fs::write(home.join(STAMP), "some_0_all.deb\nsha256 00\n").unwrap();
        assert!(!SOME.is_complete(tools.path()), "another version");
        fs::write(home.join(STAMP), "some_1_all.deb\nsha256 00\n").unwrap();
        assert!(SOME.is_complete(tools.path()));
    }

    #[test]
    fn an_interrupted_installation_leaves_no_files_and_is_removed_by_the_next() {
        let tools = tempfile::tempdir().unwrap();
        fs::create_dir(tools.path().join(".some-interrupted")).unwrap();
        let broken = tools.path().join("broken.deb");
        fs::write(&broken, "!<arch>\n").unwrap();
        SOME.install(&broken, tools.path()).unwrap_err();
        assert!(!tools.path().join(SOME.folder).exists());
        let names: Vec<_> =
            fs::read_dir(tools.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["broken.deb"]);
    }
}
