//! Folders among the tools, filled under a temporary name so that no partial folder has the name that the build looks for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::workspace;

/// Returns the folder of all tools.
pub(crate) fn tools() -> PathBuf {
    workspace::folder_from_env("LLAMA_SYS_TOOLS").unwrap_or_else(|| workspace::target().join("tools"))
}

/// A folder among the tools with the unpacked files of packages.
pub(crate) struct Folder {
    /// The folder's name among the tools.
    pub(crate) name: &'static str,
    /// The name of the file in the folder that records its packages.
    pub(crate) stamp: &'static str,
    /// The text of that file. It is written before the folder gets its name, so that a folder with it is complete.
    pub(crate) packages: String,
}

impl Folder {
    /// Returns the path inside a folder of tools.
    pub(crate) fn within(&self, tools: &Path) -> PathBuf {
        tools.join(self.name)
    }

    /// Whether the folder is complete and has the files of these packages.
    pub(crate) fn is_complete(&self, tools: &Path) -> bool {
        fs::read_to_string(self.within(tools).join(self.stamp)).is_ok_and(|text| text == self.packages)
    }

    /// Replaces the folder by one that `fill` has put files into.
    pub(crate) fn install<T>(&self, tools: &Path, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let could_not = |path: &Path| {
            let path = path.display().to_string();
            move || format!("could not write {path}: is the disk full, or the folder not writable?")
        };
        fs::create_dir_all(tools).with_context(could_not(tools))?;
        self.remove_leftovers(tools)?;
        let fresh = tempfile::Builder::new().prefix(&self.leftover()).tempdir_in(tools);
        let fresh = fresh.with_context(could_not(tools))?;
        let filled = fill(fresh.path())?;
        fs::write(fresh.path().join(self.stamp), &self.packages).with_context(could_not(fresh.path()))?;
        let home = self.within(tools);
        if home.exists() {
            fs::remove_dir_all(&home).with_context(could_not(&home))?;
        }
        fs::rename(fresh.keep(), &home).with_context(could_not(&home))?;
        Ok(filled)
    }

    /// Returns the beginning of the name of a folder that is being filled.
    fn leftover(&self) -> String {
        format!(".{}-", self.name)
    }

    /// Removes the folders of interrupted runs.
    fn remove_leftovers(&self, tools: &Path) -> Result<()> {
        for entry in fs::read_dir(tools).with_context(|| format!("could not read {}", tools.display()))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&self.leftover()) {
                fs::remove_dir_all(entry.path())
                    .with_context(|| format!("could not remove {}", entry.path().display()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    fn folder() -> Folder {
        Folder { name: "some", stamp: ".deb", packages: "some_1.deb\nsha256 00\n".to_owned() }
    }

    #[test]
    fn only_a_folder_with_the_stamp_of_these_packages_counts() {
        let tools = tempfile::tempdir().unwrap();
        assert!(!folder().is_complete(tools.path()));
        fs::create_dir(tools.path().join("some")).unwrap();
        fs::write(tools.path().join("some/.deb"), "some_0.deb\nsha256 00\n").unwrap();
        assert!(!folder().is_complete(tools.path()), "another version");
        let install = |text: &'static str| {
            let fill = |fresh: &Path| Ok(fs::write(fresh.join("file"), text)?);
            folder().install(tools.path(), fill).unwrap();
            fs::read_to_string(tools.path().join("some/file")).unwrap()
        };
        assert_eq!(install("hello"), "hello");
        assert!(folder().is_complete(tools.path()));
        assert_eq!(install("again"), "again");
    }

    #[test]
    fn an_interrupted_installation_leaves_no_folder_and_is_removed_by_the_next() {
        let tools = tempfile::tempdir().unwrap();
        fs::create_dir(tools.path().join(".some-interrupted")).unwrap();
        let error = folder().install(tools.path(), |fresh| -> Result<()> {
            fs::write(fresh.join("file"), "hello")?;
            bail!("the package ends here")
        });
        assert_eq!(error.unwrap_err().to_string(), "the package ends here");
        assert_eq!(fs::read_dir(tools.path()).unwrap().count(), 0);
    }
}
