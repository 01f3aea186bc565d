//! Builds the part of llama.cpp's common library that the shim needs: chat templates, answers, JSON schemas. It is
//! built beside a native build that is the same with and without feature `common`, and leaves out the code for
//! programs only: command lines, downloads, an HTTP client, consoles.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::Slot;
use crate::compiler;
use crate::config::Config;
use crate::source::Tree;

/// The name under which the library is linked.
pub(crate) const LIBRARY: &str = "llama-common";

/// The sources in `common` that are left out: those of programs, the log, which the shim replaces, and the parser of
/// templates, which the shim's `jinja_nodes.cpp` contains.
const LEFT_OUT: &[&str] = &[
    "arg",
    "console",
    "debug",
    "download",
    "file-lock",
    "hf-cache",
    "imatrix-loader",
    "llguidance",
    "log",
    "parser",
    "preset",
    "subproc",
];

/// The replacement for the log and for the file that CMake generates about the build.
const OWN: &str = "common_log.cpp";

/// The header that is included before each source.
const FIRST: &str = "common_time.h";

/// Builds the library, or finds a complete build, and returns its folder.
pub(crate) fn build(config: &Config, tree: &Tree) -> Result<PathBuf, String> {
    let shim = config.manifest_dir.join("shim");
    let read = |name: &str| {
        let path = shim.join(name);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let (source, root) = match &tree.stamp {
        Some(stamp) => (stamp.trim().to_owned(), Path::new("tree")),
        None => (tree.root.display().to_string(), tree.root.as_path()),
    };
    let parts = [
        source,
        config.target.triple.clone(),
        compiler::identity(),
        compiler::prefix_map(config, root).unwrap_or_default(),
        LEFT_OUT.join(" "),
        read(OWN)?,
        read(FIRST)?,
    ];
    let slot = Slot::open(config, "common", parts.join("\n--\n"))?;
    // A tree without a stamp may have changed.
    if tree.stamp.is_some() && slot.is_complete() {
        return Ok(slot.folder.clone());
    }
    slot.begin()?;
    compile(config, tree, &shim, &slot.folder)?;
    slot.complete()?;
    Ok(slot.folder.clone())
}

fn compile(config: &Config, tree: &Tree, shim: &Path, folder: &Path) -> Result<(), String> {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").cpp_link_stdlib(None).cargo_metadata(false).warnings(false);
    build.opt_level(2).debug(false).define("NDEBUG", None).out_dir(folder).includes(tree.include_dirs());
    build.files(sources(&tree.root.join("common"))?).file(shim.join(OWN));
    let first = shim.join(FIRST).display().to_string();
    if config.target.is_msvc() {
        build.flag("/EHs").flag("/bigobj").flag("/utf-8").flag(format!("/FI{first}"));
    } else {
        build.flag("-include").flag(first);
        build.flag("-fvisibility=hidden").flag("-fvisibility-inlines-hidden").flag("-w");
    }
    if let Some(flag) = compiler::prefix_map(config, &tree.root) {
        build.flag(flag);
    }
    build.try_compile(LIBRARY).map_err(|error| format!("building llama.cpp's common library failed: {error}"))
}

/// Returns the sources, sorted.
fn sources(common: &Path) -> Result<Vec<PathBuf>, String> {
    let mut sources = Vec::new();
    for folder in [common.to_owned(), common.join("jinja"), common.join("parsers")] {
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let is_wanted = path.extension().is_some_and(|extension| extension == "cpp")
                && !path.file_stem().is_some_and(|name| LEFT_OUT.iter().any(|left_out| name == *left_out));
            if is_wanted {
                sources.push(path);
            }
        }
    }
    sources.sort();
    Ok(sources)
}
