//! Builds both programs from one native build, so that the same objects are compared.

use std::env::consts::EXE_SUFFIX;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::native::messages::Messages;
use crate::progress::Step;
use crate::{native, setup, workspace};

/// The two programs to compare.
pub(super) struct Programs {
    pub(super) llama_bench: PathBuf,
    pub(super) decode: PathBuf,
}

/// Builds the harness, and then llama-bench in the folder in which the harness's llama.cpp was built.
pub(super) fn build() -> Result<Programs> {
    let harness = ["build", "--release", "-p", "llama-benches", "--bin", "decode"];
    let messages = Messages::read(&native::build_and_read("building the harness", || {
        let mut cargo = workspace::cargo();
        cargo.args(harness);
        cargo
    })?);
    let decode = messages.executable("llama-benches", "benches")?;
    Ok(Programs { llama_bench: llama_bench(&messages.native_dir()?)?, decode })
}

fn llama_bench(native: &Path) -> Result<PathBuf> {
    let step = Step::announce("building llama-bench beside the library");
    let _lock = lock(native)?;
    let cmake = setup::tools::cmake();
    let switches = ["-DLLAMA_BUILD_COMMON=ON", "-DLLAMA_BUILD_TOOLS=ON", "-DLLAMA_BUILD_SERVER=OFF"];
    workspace::capture(Command::new(&cmake).args(switches).arg(native))?;
    let mut build = Command::new(&cmake);
    build.arg("--build").arg(native).args(["--config", "Release", "--target", "llama-bench"]);
    workspace::run(&mut build).context("llama-bench did not build: see the errors above")?;
    let program = find(native)?;
    step.done("built");
    Ok(program)
}

/// Opens the lock that the build script of llama-sys holds while it builds in this folder.
fn lock(native: &Path) -> Result<File> {
    let slot = native.parent().unwrap_or(native).with_extension("lock");
    let failed = || format!("could not lock {}: is the folder writable?", slot.display());
    let file = File::options().create(true).append(true).open(&slot).with_context(failed)?;
    file.lock().with_context(failed)?;
    Ok(file)
}

fn find(native: &Path) -> Result<PathBuf> {
    let name = format!("llama-bench{EXE_SUFFIX}");
    let bin = native.join("bin");
    let places = [bin.join(&name), bin.join("Release").join(&name)];
    places
        .into_iter()
        .find(|place| place.is_file())
        .with_context(|| format!("no {name} in {}", bin.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn llama_bench_is_found_where_each_generator_puts_it() {
        let name = format!("llama-bench{EXE_SUFFIX}");
        for place in ["bin", "bin/Release"] {
            let native = tempfile::tempdir().unwrap();
            assert!(find(native.path()).is_err());
            fs::create_dir_all(native.path().join(place)).unwrap();
            fs::write(native.path().join(place).join(&name), "").unwrap();
            assert_eq!(find(native.path()).unwrap(), native.path().join(place).join(&name));
        }
    }
}
