//! `cargo xtask setup`: fetches the llama.cpp tree, build tools and test models that are missing.
//!
//! Every item is verified, put in place by a rename, and recorded after that, so that the next run does not take the
//! leftovers of an interrupted run for complete. A run that finds everything takes no time.

pub(crate) mod cuda;
mod debian;
mod folder;
pub(crate) mod models;
pub(crate) mod pin;
mod python;
pub(crate) mod rust_src;
mod stamp;
pub(crate) mod tools;
mod vulkan;
mod wheel;

use std::fs::{self, File, TryLockError};

use anyhow::{Context as _, Result};

use crate::{progress, workspace};

/// Fetches the inputs of the build, the demo and the tests. Errors say how to work without a registry.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The items to set up; all of them when none is named.
    #[arg(value_enum)]
    items: Vec<Item>,
}

/// An item to set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Item {
    /// The llama.cpp source tree.
    Pin,
    /// CMake and ninja, when the system has none.
    Tools,
    /// SmolLM2-135M-Instruct, the default model of the demo and the benchmarks.
    Smollm2,
    /// all-MiniLM-L6-v2, to exercise conversion and embeddings.
    Minilm,
    /// The generated models that most tests use.
    Tiny,
    /// The libclang for `cargo xtask codegen`; set up only on request.
    Libclang,
    /// The headers for feature `vulkan`, when the system's are too old; set up only on request.
    Vulkan,
    /// The sources of Rust's standard library, to check and build for other targets; set up only on request.
    RustSrc,
    /// A CUDA toolkit for feature `cuda`, when the system has none; set up only on request.
    Cuda,
}

/// The items that the tests need.
pub(crate) const ALL: &[Item] = &[Item::Pin, Item::Tools, Item::Smollm2, Item::Minilm, Item::Tiny];

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure(if args.items.is_empty() { ALL } else { &args.items })
}

/// Sets up each item that is missing. Prints one line for each item that exists already.
pub(crate) fn ensure(items: &[Item]) -> Result<()> {
    let _lock = lock()?;
    for item in items {
        match item {
            Item::Pin => pin::ensure()?,
            Item::Tools => tools::ensure()?,
            Item::Smollm2 => models::ensure(&models::SMOLLM2)?,
            Item::Minilm => models::ensure(&models::MINILM)?,
            Item::Tiny => models::ensure_tiny()?,
            Item::Libclang => drop(tools::libclang()?),
            // The sources say which version they need.
            Item::RustSrc => rust_src::ensure()?,
            Item::Vulkan => pin::ensure().and_then(|()| vulkan::ensure())?,
            Item::Cuda => cuda::ensure()?,
        }
    }
    Ok(())
}

/// Locks the checkout for one set-up run at a time. The lock ends with the file's last handle, also after a crash.
fn lock() -> Result<File> {
    let target = workspace::target();
    fs::create_dir_all(&target).with_context(|| format!("could not create {}", target.display()))?;
    let path = target.join(".setup.lock");
    let failed = || format!("could not lock {}: is the folder writable?", path.display());
    let file = File::create(&path).with_context(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress::note("setup", "another set-up is running in this checkout; waiting for it");
            file.lock().with_context(failed)?;
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(failed),
    }
    Ok(file)
}
