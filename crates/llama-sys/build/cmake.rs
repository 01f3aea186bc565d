//! The native build: all CMake definitions, and the run of CMake.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::backend;
use crate::cache::Slot;
use crate::compiler;
use crate::config::Config;
use crate::source::Tree;
use crate::tools;

/// Set for the child process that runs the `cmake` crate, so that its output can go to a file.
const CHILD: &str = "LLAMA_SYS_CMAKE_CHILD";

/// A finished build.
pub(crate) struct Built {
    /// The folder with `lib` for archives, beside CMake's `build`.
    folder: PathBuf,
}

impl Built {
    /// Returns the folder of static libraries, and of the import libraries of shared ones on Windows.
    pub(crate) fn archive_dir(&self) -> PathBuf {
        self.folder.join("lib")
    }

    /// Returns the folder of shared libraries and loadable backends.
    pub(crate) fn runtime_dir(&self) -> PathBuf {
        self.folder.join("build/bin")
    }

    pub(crate) fn build_dir(&self) -> PathBuf {
        self.folder.join("build")
    }
}

/// Whether this process is the child that only runs CMake.
pub(crate) fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

/// Builds the tree, or finds a complete build.
pub(crate) fn build(config: &Config, tree: &Tree) -> Result<Built, String> {
    let slot = Slot::open(config, "native", description(config, tree)?)?;
    let built = Built { folder: slot.folder.clone() };
    // A tree without a stamp may have changed; CMake and ninja detect that.
    if tree.stamp.is_some() && slot.is_complete() {
        return Ok(built);
    }
    backend::check_tools(config)?;
    slot.begin()?;
    run_child(config, &slot.folder)?;
    slot.complete()?;
    Ok(built)
}

/// Runs the `cmake` crate, in the child process.
pub(crate) fn run(config: &Config, tree: &Tree) -> Result<(), String> {
    let folder = PathBuf::from(env::var_os(CHILD).ok_or("the folder of the build is not set")?);
    let ninja = tools::find(config)?.ninja;
    let (c_flags, cpp_flags) = compiler::flags(config, &tree.root, &amx_header(config));
    let mut cmake = cmake::Config::new(&tree.root);
    cmake.profile("Release").out_dir(&folder).no_build_target(true).always_configure(true);
    if let Some(ninja) = &ninja {
        cmake.generator("Ninja").define("CMAKE_MAKE_PROGRAM", ninja);
    }
    for flag in c_flags {
        cmake.cflag(flag);
    }
    for flag in cpp_flags {
        cmake.cxxflag(flag);
    }
    if config.features.has_backend("cuda")
        && let Some(flag) = compiler::prefix_map(config, &tree.root)
    {
        // nvcc hands it on to the compiler of C++.
        cmake.define("CMAKE_CUDA_FLAGS", format!("-Xcompiler={flag}"));
    }
    for (name, value) in defines(config) {
        cmake.define(name, value);
    }
    cmake.define("CMAKE_ARCHIVE_OUTPUT_DIRECTORY", folder.join("lib"));
    for arg in &config.cmake_args {
        cmake.configure_arg(arg);
    }
    cmake.build();
    Ok(())
}

/// Returns all definitions of the build.
fn defines(config: &Config) -> Vec<(String, String)> {
    let features = &config.features;
    let mut defines = Vec::new();
    let mut define = |name: &str, value: &str| defines.push((name.to_owned(), value.to_owned()));
    let on = |value: bool| if value { "ON" } else { "OFF" };

    define("BUILD_SHARED_LIBS", on(features.shared));
    define("CMAKE_POSITION_INDEPENDENT_CODE", "ON");
    if !features.shared {
        define("CMAKE_C_VISIBILITY_PRESET", "hidden");
        define("CMAKE_CXX_VISIBILITY_PRESET", "hidden");
        define("CMAKE_VISIBILITY_INLINES_HIDDEN", "ON");
    }
    // The needed part of the common library is built separately: see `common_library`.
    for part in ["COMMON", "TOOLS", "EXAMPLES", "TESTS", "SERVER", "APP", "UI", "MTMD"] {
        define(&format!("LLAMA_BUILD_{part}"), "OFF");
    }
    define("LLAMA_ALL_WARNINGS", "OFF");
    define("LLAMA_OPENSSL", "OFF");
    // The commit of the surrounding repository is not llama.cpp's, and would change every object with each commit.
    define("GIT_EXE", "OFF");
    define("LLAMA_BUILD_NUMBER", "0");
    define("LLAMA_BUILD_COMMIT", "pinned");
    define("GGML_NATIVE", on(config.is_native()));
    define("GGML_OPENMP", on(features.openmp));
    define("GGML_BACKEND_DL", on(features.dynamic_backends));
    define("GGML_CPU_ALL_VARIANTS", on(features.dynamic_backends));
    for backend in backend::all() {
        define(backend.option, on(features.has_backend(backend.feature)));
    }
    for backend in backend::enabled(config) {
        defines.extend((backend.defines)(config));
    }
    defines
}

/// Returns a text of everything that determines the build's result.
fn description(config: &Config, tree: &Tree) -> Result<String, String> {
    let amx_header = amx_header(config);
    let amx =
        fs::read_to_string(&amx_header).map_err(|error| format!("{}: {error}", amx_header.display()))?;
    // The stamp identifies a pinned tree wherever it is stored, so two checkouts share a build.
    let (source, root, header) = match &tree.stamp {
        Some(stamp) => (stamp.trim().to_owned(), Path::new("tree"), Path::new("header")),
        None => (tree.root.display().to_string(), tree.root.as_path(), amx_header.as_path()),
    };
    let (c_flags, cpp_flags) = compiler::flags(config, root, header);
    let cpu = if config.is_native() { compiler::cpu_identity() } else { String::new() };
    // Headers among the workspace's tools are pinned, so two checkouts share a build in spite of their folders.
    let tools = config.tools.as_ref().map(|tools| tools.display().to_string()).unwrap_or_default();
    let value = |value: &str| match value.strip_prefix(&tools) {
        Some(inside) if !tools.is_empty() => format!("tools{inside}"),
        _ => value.to_owned(),
    };
    let defines: Vec<String> =
        defines(config).iter().map(|(name, defined)| format!("{name}={}", value(defined))).collect();
    let parts = [
        source,
        config.target.triple.clone(),
        compiler::identity(),
        defines.join("\n"),
        config.cmake_args.join("\n"),
        c_flags.join(" "),
        cpp_flags.join(" "),
        amx,
        cpu,
    ];
    Ok(parts.join("\n--\n"))
}

fn amx_header(config: &Config) -> PathBuf {
    config.manifest_dir.join("shim/amx_tile_config.h")
}

/// Runs this program again with its output in a file, because CMake and ninja print a lot and only a failure is worth
/// showing. `cargo xtask` also reads the progress from this log.
fn run_child(config: &Config, folder: &Path) -> Result<(), String> {
    let log_path = config.build_cache.as_deref().unwrap_or(folder).join("build.log");
    let failed = |error: std::io::Error| format!("{}: {error}", log_path.display());
    let log = File::create(&log_path).map_err(failed)?;
    let program = env::current_exe().map_err(failed)?;
    let tools = tools::find(config)?;
    let status = Command::new(program)
        .env(CHILD, folder)
        .env("PATH", tools.search_path())
        .env("CMAKE", tools.cmake)
        // Lets ccache treat the same file in two checkouts as one.
        .env("CCACHE_BASEDIR", config.manifest_dir.join("../.."))
        .env("CCACHE_NOHASHDIR", "1")
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log)
        .status()
        .map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    let text =
        fs::read(&log_path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    Err(format!("building llama.cpp failed; the whole log is {}\n{}", log_path.display(), explanation(&text)))
}

/// Returns the lines of the log that explain the failure: the errors with some context, or else the end.
fn explanation(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let is_error = |line: &str| {
        let line = line.to_ascii_lowercase();
        line.contains("error") && !line.contains("panicked") && !line.contains("-werror")
    };
    let first = lines.iter().position(|line| is_error(line));
    let start = first.map_or(lines.len().saturating_sub(30), |at| at.saturating_sub(2));
    lines[start..lines.len().min(start + 40)].join("\n")
}
