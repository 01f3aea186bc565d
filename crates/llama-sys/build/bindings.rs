//! The bindgen settings for llama.cpp's headers. `cargo xtask codegen` uses them for the committed bindings, and the
//! build script for feature `bindgen`. Both include this file, so it needs only bindgen and std.

#![allow(dead_code, reason = "each of the two programs uses the part that it needs")]

use std::collections::HashSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A C header, its folder, and the module for its items.
pub(crate) struct Header {
    /// Name of the header file.
    pub(crate) file: &'static str,
    /// Name of the module under `llama_sys::bindings`.
    pub(crate) module: &'static str,
    /// The tree that it belongs to.
    pub(crate) tree: Tree,
    /// The builds of the library that contain its functions.
    pub(crate) linked: Linked,
}

impl Header {
    /// Returns the usual name of the header: `llama.h`, `shim/guard.h`.
    pub(crate) fn name(&self) -> String {
        match self.tree {
            Tree::LlamaCpp => self.file.to_owned(),
            Tree::Shim => format!("shim/{}", self.file),
        }
    }
}

/// The tree that a header belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tree {
    /// llama.cpp's public headers.
    LlamaCpp,
    /// This crate's own `shim` folder.
    Shim,
}

/// The builds of the library that contain the functions of a header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linked {
    /// Every build.
    Always,
    /// Builds with cargo feature `common`.
    Common,
    /// Builds without cargo features `dynamic-backends` and `dynamic`, with which the CPU backend may be a module that is
    /// loaded at run time.
    CpuBackend,
}

impl Linked {
    /// Returns the Rust attribute for code that needs the functions, with a line break, or nothing when they are
    /// always present.
    pub(crate) fn rust_condition(self) -> &'static str {
        match self {
            Linked::Always => "",
            Linked::Common => "#[cfg(feature = \"common\")]\n",
            Linked::CpuBackend => "#[cfg(not(any(feature = \"dynamic-backends\", feature = \"dynamic\")))]\n",
        }
    }
}

/// Functions that llama.cpp declares but does not define. They are not bound.
pub(crate) const UNDEFINED: &[&str] = &["ggml_threadpool_get_n_threads"];

const fn upstream(file: &'static str, module: &'static str) -> Header {
    Header { file, module, tree: Tree::LlamaCpp, linked: Linked::Always }
}

const fn shim(file: &'static str, module: &'static str) -> Header {
    Header { file, module, tree: Tree::Shim, linked: Linked::Always }
}

/// All bound headers. The headers of single backends are left out: whether they can be linked depends on the build,
/// and ggml-backend.h reaches every backend through its registry.
pub(crate) const HEADERS: &[Header] = &[
    upstream("llama.h", "llama"),
    upstream("ggml.h", "ggml"),
    upstream("ggml-alloc.h", "ggml_alloc"),
    upstream("ggml-backend.h", "ggml_backend"),
    Header { linked: Linked::CpuBackend, ..upstream("ggml-cpu.h", "ggml_cpu") },
    upstream("ggml-opt.h", "ggml_opt"),
    upstream("gguf.h", "gguf"),
    shim("guard.h", "shim"),
    shim("process.h", "shim_process"),
    shim("samplers.h", "shim_samplers"),
    shim("by_address.h", "shim_by_address"),
    shim("breakdown.h", "shim_breakdown"),
    shim("architecture.h", "shim_architecture"),
    shim("file.h", "shim_file"),
    shim("graph.h", "shim_graph"),
    shim("regex.h", "shim_regex"),
    shim("rpc.h", "shim_rpc"),
    Header { linked: Linked::Common, ..shim("common.h", "shim_common") },
    Header { linked: Linked::Common, ..shim("template_budget.h", "shim_template_budget") },
    Header { linked: Linked::Common, ..shim("common_chat.h", "shim_common_chat") },
];

/// The folders of the headers.
pub(crate) struct Dirs {
    /// Folders with llama.cpp's headers: `include` and `ggml/include` of its tree, or the one folder of an
    /// installed llama.cpp.
    pub(crate) llama_cpp: Vec<PathBuf>,
    /// The `shim` folder of this crate.
    pub(crate) shim: PathBuf,
}

impl Dirs {
    /// Returns the path of a header.
    ///
    /// # Errors
    ///
    /// No folder has it.
    pub(crate) fn find(&self, header: &Header) -> Result<PathBuf, String> {
        let in_shim = std::slice::from_ref(&self.shim);
        let folders = if header.tree == Tree::Shim { in_shim } else { self.llama_cpp.as_slice() };
        folders
            .iter()
            .map(|folder| folder.join(header.file))
            .find(|path| path.is_file())
            .ok_or_else(|| format!("the header {} was not found in {folders:?}", header.file))
    }

    /// Returns the text of a header.
    ///
    /// # Errors
    ///
    /// No folder has it, or it cannot be read.
    pub(crate) fn read(&self, header: &Header) -> Result<String, String> {
        let path = self.find(header)?;
        fs::read_to_string(&path).map_err(|error| format!("{} could not be read: {error}", path.display()))
    }
}

/// Returns a builder for the items of `bound` that these headers declare themselves, without the headers that they
/// include. Deprecated functions are included: see `deprecated_functions`.
///
/// # Errors
///
/// A header is missing.
pub(crate) fn builder<'a>(
    bound: impl IntoIterator<Item = &'a Header>,
    dirs: &Dirs,
) -> Result<bindgen::Builder, String> {
    let oldest_rust = bindgen::RustTarget::stable(89, 0).map_err(|error| error.to_string())?;
    let mut builder = bindgen::Builder::default()
        .use_core()
        .rust_target(oldest_rust)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .formatter(bindgen::Formatter::Prettyplease)
        .generate_comments(false)
        .generate_cstr(true)
        .layout_tests(true)
        .derive_copy(true)
        .derive_debug(true)
        // A zeroed params struct is not a default one, and some C enums have no zero.
        .derive_default(false)
        .prepend_enum_name(false)
        .default_enum_style(bindgen::EnumVariation::NewType { is_bitfield: false, is_global: false })
        // A failed assertion throws through the C functions, and a panic may pass through a callback.
        .override_abi(bindgen::Abi::CUnwind, ".*")
        // An included header is bound in its own module, or, as `FILE`, written by hand.
        .allowlist_recursively(false)
        .blocklist_type("FILE")
        // ggml.h defines it only on Windows.
        .blocklist_var("_WIN32_WINNT");
    for folder in &dirs.llama_cpp {
        builder = builder.clang_arg(format!("-I{}", folder.display()));
    }
    if let Some(folder) = compiler_headers() {
        builder = builder.clang_args(["-isystem", &folder.display().to_string()]);
    }
    let mut enums = HashSet::new();
    for header in HEADERS {
        enums.extend(enum_names(&dirs.read(header)?));
    }
    builder = builder.parse_callbacks(Box::new(Names { enums }));
    for header in bound {
        let path = dirs.find(header)?.display().to_string();
        builder = builder.allowlist_file(literally(&path)).header(path);
    }
    Ok(builder)
}

/// Returns the folder of the C compiler's own headers, such as `stddef.h` and `stdbool.h`, which libclang may lack.
fn compiler_headers() -> Option<PathBuf> {
    let compiler = env::var_os("CC").filter(|compiler| !compiler.is_empty()).unwrap_or_else(|| "cc".into());
    let printed = Command::new(compiler).arg("-print-file-name=include").output().ok()?.stdout;
    let folder = PathBuf::from(String::from_utf8(printed).ok()?.trim_end());
    folder.join("stddef.h").is_file().then_some(folder)
}

/// Generates all bindings as one file.
///
/// # Errors
///
/// A header is missing or cannot be parsed.
pub(crate) fn generate(dirs: &Dirs, common: bool) -> Result<String, String> {
    let headers = || HEADERS.iter().filter(|header| common || header.linked != Linked::Common);
    let mut builder = builder(headers(), dirs)?;
    for header in headers() {
        for function in deprecated_functions(&dirs.read(header)?) {
            builder = builder.blocklist_function(function);
        }
    }
    for function in UNDEFINED {
        builder = builder.blocklist_function(function);
    }
    let bindings = builder.generate().map_err(|error| format!("bindgen failed: {error}"))?;
    Ok(bindings.to_string())
}

/// Writes `bindings.rs` into a build script's `OUT_DIR`, for feature `bindgen`.
///
/// # Errors
///
/// The errors of [`generate`], or the file cannot be written.
pub(crate) fn write(manifest_dir: &Path, include_dirs: &[PathBuf], out_dir: &Path) -> Result<(), String> {
    let dirs = Dirs { llama_cpp: include_dirs.to_vec(), shim: manifest_dir.join("shim") };
    let common = env::var_os("CARGO_FEATURE_COMMON").is_some();
    // clang-sys panics when it finds no libclang.
    let generated = std::panic::catch_unwind(|| generate(&dirs, common));
    let bindings = generated.map_err(|_| {
        "feature `bindgen` needs libclang, and it was not found or could not be used. Debian: apt install \
         libclang-dev; any system: pip install libclang; then set LIBCLANG_PATH to its folder. Without the feature the \
         committed bindings are used, which need no libclang"
            .to_owned()
    })??;
    let path = out_dir.join("bindings.rs");
    fs::write(&path, bindings).map_err(|error| format!("{} could not be written: {error}", path.display()))
}

/// The suffix of a function's name when there is an enum of the same name, as for `llama_pooling_type`. Unlike C,
/// Rust cannot have a function and a newtype of one name in one module.
pub(crate) const FUNCTION_SUFFIX: &str = "_fn";

/// Callbacks that keep functions and enums apart.
#[derive(Debug)]
struct Names {
    enums: HashSet<String>,
}

impl bindgen::callbacks::ParseCallbacks for Names {
    fn item_name(&self, item: bindgen::callbacks::ItemInfo<'_>) -> Option<String> {
        let clashes =
            matches!(item.kind, bindgen::callbacks::ItemKind::Function) && self.enums.contains(item.name);
        clashes.then(|| format!("{}{FUNCTION_SUFFIX}", item.name))
    }
}

/// Returns the names of the enums that a header defines.
fn enum_names(header: &str) -> Vec<String> {
    header
        .split_inclusive('{')
        .filter_map(|code| {
            let mut words = code.strip_suffix('{')?.split_whitespace().rev();
            let name = words.next()?;
            (words.next()? == "enum").then(|| name.to_owned())
        })
        .collect()
}

/// Returns the functions that a header marks as deprecated, inside `DEPRECATED(…)` and `GGML_DEPRECATED(…)`. They are
/// not bound. bindgen does not expose the mark in clang's syntax tree.
pub(crate) fn deprecated_functions(header: &str) -> Vec<String> {
    let code: String = header
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n");
    code.split("DEPRECATED(").skip(1).filter_map(first_called_name).collect()
}

/// Returns the first identifier before an opening parenthesis.
fn first_called_name(code: &str) -> Option<String> {
    let (before, _) = code.split_once('(')?;
    let before = before.trim_end();
    let start = before.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
    Some(before[start..].to_owned()).filter(|name| !name.is_empty())
}

/// Returns a regular expression that matches exactly this path, with either separator.
fn literally(path: &str) -> String {
    path.chars().fold(String::new(), |mut pattern, c| {
        match c {
            '/' | '\\' => pattern.push_str("[/\\\\]"),
            _ if c.is_alphanumeric() || matches!(c, '_' | '-') => pattern.push(c),
            _ => pattern.extend(['\\', c]),
        }
        pattern
    })
}
