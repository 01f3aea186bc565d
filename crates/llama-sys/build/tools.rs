//! Finds cmake and ninja on PATH, or in the folder that `cargo xtask setup` fills.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::config::Config;
use crate::vars;

/// The oldest CMake that configures llama.cpp with every backend.
const MINIMUM_CMAKE: (u32, u32) = (3, 18);

/// The programs of a native build.
pub(crate) struct Tools {
    pub(crate) cmake: PathBuf,
    /// Without ninja CMake chooses its default generator.
    pub(crate) ninja: Option<PathBuf>,
}

impl Tools {
    /// Returns `PATH` with ninja's folder at its end. The generator of Vulkan's shaders is a project of its own, which CMake
    /// configures without the path of ninja.
    pub(crate) fn search_path(&self) -> OsString {
        let path = env::var_os("PATH").unwrap_or_default();
        let ninja = self.ninja.as_deref().filter(|ninja| ninja.is_absolute()).and_then(Path::parent);
        let folders = env::split_paths(&path).chain(ninja.map(Path::to_owned));
        env::join_paths(folders).unwrap_or(path)
    }
}

/// Finds the programs. The error says how to get them.
pub(crate) fn find(config: &Config) -> Result<Tools, String> {
    let cmake = env::var_os(vars::CMAKE)
        .map(PathBuf::from)
        .or_else(|| working("cmake", is_new_enough))
        .or_else(|| in_folder(config.tools.as_deref(), "cmake"))
        .ok_or_else(|| {
            format!(
                "cmake {}.{} or newer was not found. In the workspace run `cargo xtask setup`, which installs it \
                 without root; elsewhere install it (Debian: apt install cmake; any system: pip install cmake) or \
                 set {} to the program",
                MINIMUM_CMAKE.0,
                MINIMUM_CMAKE.1,
                vars::CMAKE
            )
        })?;
    let ninja = working("ninja", |_| true).or_else(|| in_folder(config.tools.as_deref(), "ninja"));
    Ok(Tools { cmake, ninja })
}

/// Returns a program on PATH that runs. A broken launcher script of another Python is skipped.
fn working(name: &str, accepts: fn(&str) -> bool) -> Option<PathBuf> {
    let output = Command::new(name).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    (output.status.success() && accepts(&text)).then(|| PathBuf::from(name))
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split_whitespace().nth(2).unwrap_or_default().split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= MINIMUM_CMAKE,
        _ => false,
    }
}

fn in_folder(tools: Option<&Path>, name: &str) -> Option<PathBuf> {
    let scripts = if cfg!(windows) { "Scripts" } else { "bin" };
    let program = tools?.join("venv").join(scripts).join(format!("{name}{}", env::consts::EXE_SUFFIX));
    program.is_file().then_some(program)
}
