//! Cargo's JSON messages about a build, and the folder of the native build in them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The parts of cargo's messages that are needed.
#[derive(Default)]
pub(crate) struct Messages {
    /// Package ids and the executables built for them.
    executables: Vec<(String, PathBuf)>,
    /// The `OUT_DIR` of llama-sys.
    out_dir: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    package_id: Option<String>,
    executable: Option<PathBuf>,
    out_dir: Option<PathBuf>,
}

impl Messages {
    /// Reads the output of a build with `--message-format=json`.
    pub(crate) fn read(messages: &str) -> Self {
        let mut read = Self::default();
        for message in messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok()) {
            let package = message.package_id.unwrap_or_default();
            match message.reason.as_str() {
                "compiler-artifact" => {
                    read.executables.extend(message.executable.map(|executable| (package, executable)));
                }
                "build-script-executed" if is(&package, "llama-sys", "llama-sys") => {
                    read.out_dir = message.out_dir;
                }
                _ => {}
            }
        }
        read
    }

    /// Returns the last executable of a package, which is in a folder of this name.
    pub(crate) fn executable(&self, package: &str, folder: &str) -> Result<PathBuf> {
        let of_package = self.executables.iter().rfind(|(id, _)| is(id, package, folder));
        let executable = of_package.map(|(_, executable)| executable.clone());
        executable.with_context(|| {
            format!("cargo names no executable of {package}: run `cargo clean` and try again")
        })
    }

    /// Returns the folder of the build script of llama-sys.
    pub(crate) fn out_dir(&self) -> Result<&Path> {
        let out_dir = self.out_dir.as_deref();
        out_dir.context("cargo names no build script of llama-sys: run `cargo clean` and try again")
    }

    /// Returns the folder in which CMake built llama.cpp.
    pub(crate) fn native_dir(&self) -> Result<PathBuf> {
        let out_dir = self.out_dir()?;
        let marker = out_dir.join("native-dir");
        let native = fs::read_to_string(&marker).with_context(|| {
            format!(
                "could not read {}: a llama.cpp that is built here is needed; unset LLAMA_LIB_DIR and \
                 LLAMA_SYS_NO_BUILD",
                marker.display()
            )
        })?;
        Ok(native.trim().into())
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
        let built = Messages::read(&trimmed.join("\n"));
        assert_eq!(built.executable("llama-benches", "benches").unwrap(), PathBuf::from("/t/decode"));
        assert!(built.executable("llama-sys", "llama-sys").is_err());
        assert_eq!(built.out_dir, Some("/t/llama-sys/out".into()));
    }

    #[test]
    fn the_native_folder_is_read_from_the_marker() {
        let out = tempfile::tempdir().unwrap();
        let messages = Messages { executables: Vec::new(), out_dir: Some(out.path().into()) };
        assert!(messages.native_dir().unwrap_err().to_string().contains("unset LLAMA_LIB_DIR"));
        fs::write(out.path().join("native-dir"), "/cache/build\n").unwrap();
        assert_eq!(messages.native_dir().unwrap(), PathBuf::from("/cache/build"));
    }
}
