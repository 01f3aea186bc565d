//! Builds both programs from one native build, so that the same objects are compared.

use std::env::consts::EXE_SUFFIX;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

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
    native::build("building the harness", workspace::cargo().args(harness))?;
    let mut again = workspace::cargo();
    again.args(harness).args(["--quiet", "--message-format=json"]);
    let built = Built::read(&workspace::capture(&mut again)?);
    let decode =
        built.decode.context("cargo names no executable for the harness: run `cargo clean` and try again")?;
    let out_dir =
        built.out_dir.context("cargo names no build script of llama-sys: run `cargo clean` and try again")?;
    let marker = out_dir.join("native-dir");
    let native = fs::read_to_string(&marker).with_context(|| {
        format!(
            "could not read {}: without a llama.cpp built here there is nothing to build llama-bench from; unset \
             LLAMA_LIB_DIR and LLAMA_SYS_NO_BUILD",
            marker.display()
        )
    })?;
    Ok(Programs { llama_bench: llama_bench(Path::new(native.trim()))?, decode })
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

/// The parts of cargo's JSON messages about a build that are needed.
#[derive(Default)]
struct Built {
    decode: Option<PathBuf>,
    out_dir: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    package_id: Option<String>,
    executable: Option<PathBuf>,
    out_dir: Option<PathBuf>,
}

impl Built {
    fn read(messages: &str) -> Self {
        let mut built = Self::default();
        for message in messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok()) {
            let package = message.package_id.as_deref().unwrap_or_default();
            match message.reason.as_str() {
                "compiler-artifact" if is(package, "llama-benches", "benches") => {
                    built.decode = message.executable;
                }
                "build-script-executed" if is(package, "llama-sys", "llama-sys") => {
                    built.out_dir = message.out_dir;
                }
                _ => {}
            }
        }
        built
    }
}

/// Whether a package id belongs to a package: `path+file:///w/crates/llama-sys#0.1.0`, or, when the folder has
/// another name, `path+file:///w/benches#llama-benches@0.1.0`.
fn is(id: &str, name: &str, folder: &str) -> bool {
    id.contains(&format!("#{name}@")) || id.contains(&format!("/{folder}#"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_and_the_build_folder_are_found_among_cargos_messages() {
        let messages = r#"
            {"reason":"compiler-artifact","package_id":"registry+x#serde@1.0.0","executable":null}
            {"reason":"build-script-executed","package_id":"registry+x#anyhow@1.0.0","out_dir":"/t/anyhow/out"}
            {"reason":"build-script-executed","package_id":"path+file:///w/crates/llama-sys#0.1.0","out_dir":"/t/llama-sys/out"}
            {"reason":"compiler-artifact","package_id":"path+file:///w/crates/llama-sys#0.1.0","executable":null}
            {"reason":"compiler-artifact","package_id":"path+file:///w/benches#llama-benches@0.1.0","executable":"/t/decode"}
            {"reason":"build-finished","success":true}"#;
        let trimmed: Vec<_> = messages.lines().map(str::trim).collect();
        let built = Built::read(&trimmed.join("\n"));
        assert_eq!(built.decode, Some("/t/decode".into()));
        assert_eq!(built.out_dir, Some("/t/llama-sys/out".into()));
    }

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
