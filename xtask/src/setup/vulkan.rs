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
use super::debian::{Deb, DebFolder};
use super::pin;
use crate::{progress, workspace};

/// The headers. Debian 12's own have version 1.3.239.
const HEADERS: DebFolder = DebFolder {
    package: Deb {
        name: "libvulkan-dev",
        version: "1.4.309.0-1",
        architecture: "amd64",
        release: "trixie",
        megabytes: 12,
        size: 1_556_388,
        sha256: "8d329d465e16168afff58b1bd0dd6db46aac2cc3f56054a481b25a04e90b345a",
    },
    from: "usr/include",
    name: "vulkan",
    inside: "include",
};

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
    let (version, folder) = (HEADERS.package.version, HEADERS.files());
    if HEADERS.is_complete() {
        progress::note("vulkan headers", &format!("up to date ({version} in {})", folder.display()));
        return Ok(());
    }
    progress::note("vulkan headers", &refusal);
    HEADERS.bring().with_context(remedy)
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
    use std::path::Path;

    use super::*;

    #[test]
    fn the_folder_is_the_one_that_the_build_looks_for() {
        assert_eq!(Path::new(HEADERS.name).join(HEADERS.inside), Path::new(headers::INSIDE_TOOLS));
    }
}
