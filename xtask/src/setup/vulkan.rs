//! The Vulkan headers for feature `vulkan`: the system's, or newer ones of a later Debian under `target/tools`.

#[path = "../../../crates/llama-sys/build/backend/vulkan/glslc.rs"]
#[allow(dead_code, reason = "llama-sys's build uses the rest")]
mod glslc;
#[path = "../../../crates/llama-sys/build/backend/vulkan/headers.rs"]
#[allow(dead_code, reason = "llama-sys's build uses the rest")]
mod headers;
mod system;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use self::headers::{Headers, Needed};
use super::debian::{self, Deb};
use super::pin;
use crate::progress::{self, Step};
use crate::workspace;

/// The package with the headers. Debian 12's own has 1.3.239.
const PACKAGE: Deb = Deb {
    name: "libvulkan-dev",
    version: "1.4.309.0-1",
    release: "trixie",
    size: 1_556_388,
    sha256: "8d329d465e16168afff58b1bd0dd6db46aac2cc3f56054a481b25a04e90b345a",
};

/// The stamp beside the unpacked headers. It is written before the folder gets its name, so that its presence means that
/// they are complete.
const STAMP: &str = ".deb";

/// The folder's name among the tools; `headers::INSIDE_TOOLS` is inside it.
const FOLDER: &str = "vulkan";

/// Puts headers in place unless the system has new enough ones, and names what only root can install.
pub(crate) fn ensure() -> Result<()> {
    ensure_headers()?;
    for line in system::lacks() {
        progress::note("vulkan", &line);
    }
    Ok(())
}

fn ensure_headers() -> Result<()> {
    let needed = Needed::by_tree(&pin::tree());
    let sdk = workspace::folder_from_env("VULKAN_SDK").map(|sdk| sdk.join("include"));
    let folders: Vec<PathBuf> = sdk.into_iter().chain(headers::system_folders()).collect();
    let refusal = match headers::choose(&folders, needed) {
        Ok(found) => {
            progress::note("vulkan headers", &describe(&found));
            return Ok(());
        }
        Err(refusal) => refusal,
    };
    let home = tools().join(FOLDER);
    if is_complete(&home) {
        progress::note("vulkan headers", &format!("up to date ({} in {})", PACKAGE.version, home.display()));
        return Ok(());
    }
    progress::note("vulkan headers", &refusal);
    let deb = PACKAGE.obtain().with_context(remedy)?;
    let step = Step::spinner(format!("unpacking {}", PACKAGE.file()));
    let files = install(&deb, &tools())?;
    step.done(&format!("{files} headers in {}", home.join("include").display()));
    Ok(())
}

fn describe(found: &Headers) -> String {
    let version =
        found.version.map_or_else(|| "of unknown version".to_owned(), |version| version.to_string());
    format!("{version} in {}", found.folder.display())
}

/// Returns what a user does on a system where the headers cannot be fetched.
fn remedy() -> String {
    "could not get newer Vulkan headers. On other systems than Debian install a package with newer ones (Ubuntu 24.04: \
     libvulkan-dev; Fedora: vulkan-headers and vulkan-loader-devel; Arch: vulkan-headers; macOS: brew install \
     vulkan-headers vulkan-loader), or the Vulkan SDK, and set VULKAN_SDK to its folder"
        .to_owned()
}

fn tools() -> PathBuf {
    workspace::folder_from_env("LLAMA_SYS_TOOLS").unwrap_or_else(|| workspace::target().join("tools"))
}

fn stamp() -> String {
    format!("{}\nsha256 {}\n", PACKAGE.file(), PACKAGE.sha256)
}

fn is_complete(home: &Path) -> bool {
    fs::read_to_string(home.join(STAMP)).is_ok_and(|text| text == stamp())
}

/// Unpacks the headers so that no partial folder ever has the name that the build looks for.
fn install(deb: &Path, tools: &Path) -> Result<usize> {
    let could_not = |path: &Path| {
        let path = path.display().to_string();
        move || format!("could not write {path}: is the disk full, or the folder not writable?")
    };
    fs::create_dir_all(tools).with_context(could_not(tools))?;
    remove_leftovers(tools)?;
    let fresh = tempfile::Builder::new().prefix(LEFTOVER).tempdir_in(tools).with_context(could_not(tools))?;
    let files = debian::unpack(deb, "usr/include", &fresh.path().join("include"))?;
    fs::write(fresh.path().join(STAMP), stamp()).with_context(could_not(fresh.path()))?;
    let home = tools.join(FOLDER);
    if home.exists() {
        fs::remove_dir_all(&home).with_context(could_not(&home))?;
    }
    fs::rename(fresh.keep(), &home).with_context(could_not(&home))?;
    Ok(files)
}

/// The beginning of the name of a folder that is being filled.
const LEFTOVER: &str = ".vulkan-";

/// Removes the folders of interrupted runs.
fn remove_leftovers(tools: &Path) -> Result<()> {
    for entry in fs::read_dir(tools).with_context(|| format!("could not read {}", tools.display()))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(LEFTOVER) {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("could not remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_headers_with_the_stamp_of_this_package_count() {
        let home = tempfile::tempdir().unwrap();
        assert!(!is_complete(home.path()));
        fs::write(home.path().join(STAMP), "libvulkan-dev_1.4.300.0-1_amd64.deb\nsha256 00\n").unwrap();
        assert!(!is_complete(home.path()), "another version");
        fs::write(home.path().join(STAMP), stamp()).unwrap();
        assert!(is_complete(home.path()));
    }

    #[test]
    fn an_interrupted_installation_leaves_no_headers_and_is_removed_by_the_next() {
        let tools = tempfile::tempdir().unwrap();
        fs::create_dir(tools.path().join(".vulkan-interrupted")).unwrap();
        let broken = tools.path().join("broken.deb");
        fs::write(&broken, "!<arch>\n").unwrap();
        install(&broken, tools.path()).unwrap_err();
        assert!(!tools.path().join(FOLDER).exists());
        let names: Vec<_> =
            fs::read_dir(tools.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["broken.deb"]);
    }

    #[test]
    fn the_folder_is_the_one_that_the_build_looks_for() {
        assert_eq!(Path::new(headers::INSIDE_TOOLS), Path::new(FOLDER).join("include"));
    }
}
