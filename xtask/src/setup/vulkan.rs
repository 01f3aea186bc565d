//! The Vulkan headers for feature `vulkan`: the system's, or newer ones of a later Debian under `target/tools`.

#[path = "../../../crates/llama-sys/build/backend/vulkan/glslc.rs"]
#[allow(dead_code, reason = "llama-sys's build uses the rest")]
mod glslc;
#[path = "../../../crates/llama-sys/build/backend/vulkan/headers.rs"]
#[allow(dead_code, reason = "llama-sys's build uses the rest")]
mod headers;
mod system;

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use self::headers::{Headers, Needed};
use super::debian::{self, Deb};
use super::folder::{self, Folder};
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

/// Returns the folder among the tools; `headers::INSIDE_TOOLS` is inside it.
fn unpacked() -> Folder {
    Folder {
        name: "vulkan",
        stamp: ".deb",
        packages: format!("{}\nsha256 {}\n", PACKAGE.file(), PACKAGE.sha256),
    }
}

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
    let (unpacked, tools) = (unpacked(), folder::tools());
    let home = unpacked.within(&tools);
    if unpacked.is_complete(&tools) {
        progress::note("vulkan headers", &format!("up to date ({} in {})", PACKAGE.version, home.display()));
        return Ok(());
    }
    progress::note("vulkan headers", &refusal);
    let deb = PACKAGE.obtain().with_context(remedy)?;
    let step = Step::spinner(format!("unpacking {}", PACKAGE.file()));
    let files =
        unpacked.install(&tools, |fresh| debian::unpack(&deb, "usr/include", &fresh.join("include")))?;
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_broken_package_leaves_no_headers() {
        let tools = tempfile::tempdir().unwrap();
        let broken = tools.path().join("broken.deb");
        fs::write(&broken, "!<arch>\n").unwrap();
        let fill = |fresh: &Path| debian::unpack(&broken, "usr/include", &fresh.join("include"));
        unpacked().install(tools.path(), fill).unwrap_err();
        let names: Vec<_> =
            fs::read_dir(tools.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["broken.deb"]);
    }

    #[test]
    fn the_folder_is_the_one_that_the_build_looks_for() {
        assert_eq!(Path::new(headers::INSIDE_TOOLS), Path::new(unpacked().name).join("include"));
    }
}
