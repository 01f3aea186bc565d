//! The sources of Rust's standard library, with which cargo builds it for targets that rustup has not installed.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::debian::{Deb, DebFolder};
use crate::{progress, workspace};

/// The version of the compiler that the sources belong to.
const VERSION: &str = "1.95.0";

const SOURCES: DebFolder = DebFolder {
    package: Deb {
        name: "rust-src",
        version: "1.95.0+dfsg1-2~bpo13+1",
        architecture: "all",
        release: "trixie-backports",
        megabytes: 46,
        size: 45_097_356,
        sha256: "7b76db5b880a77f9e52975d2baa6209d2f76d2c9c2789515c3088cb960e2c83b",
    },
    from: "usr/src/rustc-1.95.0/library",
    name: "rust-src",
    inside: "library",
};

/// Puts the sources in place, unless they are there.
pub(super) fn ensure() -> Result<()> {
    if let Some(folder) = library() {
        progress::note("rust-src", &format!("up to date ({VERSION} in {})", folder.display()));
        return Ok(());
    }
    if !is_for_this_compiler() {
        bail!(
            "the sources of Rust's standard library are those of {VERSION}, but this compiler has another version: use \
             `rustup component add rust-src`, or choose the compiler with `cargo +{VERSION}`"
        );
    }
    SOURCES
        .bring()
        .context("`rustup component add rust-src` brings the sources where rustup's server can be reached")
}

/// Returns the folder `library` of the sources, if they are complete and belong to this compiler.
pub(crate) fn library() -> Option<PathBuf> {
    (SOURCES.is_complete() && is_for_this_compiler()).then(|| SOURCES.files())
}

fn is_for_this_compiler() -> bool {
    let mut rustc = Command::new("rustc");
    let version = workspace::capture(rustc.arg("--version").current_dir(workspace::root()));
    version.is_ok_and(|text| text.split(' ').nth(1) == Some(VERSION))
}
