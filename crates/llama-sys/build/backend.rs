//! ggml's backends: one file each, with its CMake definitions, the tools that it needs, and the libraries that it
//! links.

mod blas;
mod cuda;
mod hip;
mod metal;
mod rpc;
mod vulkan;

use std::env;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::link::Linker;

/// A backend that a cargo feature switches on.
pub(crate) struct Backend {
    /// The cargo feature, and the backend's name in `DEP_LLAMA_BACKENDS`.
    pub(crate) feature: &'static str,
    /// The CMake option.
    pub(crate) option: &'static str,
    /// The library that ggml builds for it.
    pub(crate) library: &'static str,
    /// Further CMake definitions.
    pub(crate) defines: fn(&Config) -> Vec<(String, String)>,
    /// The missing tools of the toolchain, each with how to get it.
    pub(crate) missing: fn(&Config) -> Vec<String>,
    /// The system libraries of a static link.
    pub(crate) link: fn(&Config, &mut Linker),
    /// The reason why the backend cannot be built for the target or with the other features.
    pub(crate) contradiction: fn(&Config) -> Option<String>,
}

impl Backend {
    /// A backend that defines, needs and links nothing of its own.
    const PLAIN: Self = Self {
        feature: "",
        option: "",
        library: "",
        defines: |_| Vec::new(),
        missing: |_| Vec::new(),
        link: |_, _| {},
        contradiction: |_| None,
    };
}

/// Returns all backends, in the order in which they are linked.
pub(crate) fn all() -> Vec<Backend> {
    vec![
        cuda::backend(),
        hip::backend(),
        vulkan::backend(),
        metal::backend(),
        blas::backend(),
        rpc::backend(),
    ]
}

/// Returns the backends whose feature is on.
pub(crate) fn enabled(config: &Config) -> Vec<Backend> {
    all().into_iter().filter(|backend| config.features.has_backend(backend.feature)).collect()
}

/// Refuses backends that cannot be built for the target or with the other features.
pub(crate) fn refuse_contradictions(config: &Config) -> Result<(), String> {
    enabled(config).iter().find_map(|backend| (backend.contradiction)(config)).map_or(Ok(()), Err)
}

/// Refuses to start a long build that would fail, and names all missing tools at once.
pub(crate) fn check_tools(config: &Config) -> Result<(), String> {
    let mut lines = Vec::new();
    for backend in enabled(config) {
        for missing in (backend.missing)(config) {
            lines.push(format!("  feature `{}`: {missing}", backend.feature));
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    Err(format!("the toolchain for the chosen features is not complete:\n{}", lines.join("\n")))
}

/// Looks for a program on PATH and in further folders.
fn find_program(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(folders.iter().cloned())
        .map(|folder| folder.join(&file))
        .find(|candidate| candidate.is_file())
}

/// Returns the folder that an environment variable names.
fn folder(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Whether a header exists in one of the folders or in the system's include folders.
fn has_header(header: &str, folders: &[PathBuf]) -> bool {
    let system = ["/usr/include", "/usr/local/include", "/opt/homebrew/include"].map(PathBuf::from);
    folders.iter().chain(system.iter()).any(|folder| Path::new(folder).join(header).is_file())
}
