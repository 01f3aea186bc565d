//! Compiles the shim, the C++ between Rust and llama.cpp.

use std::path::PathBuf;

use crate::config::Config;

/// The destination of the common library's log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommonLog {
    /// It goes to llama.cpp's log.
    Own,
    /// It is silenced: a prebuilt library writes it to stderr.
    Silenced,
}

/// The sources that every build has.
const ALWAYS: &[&str] = &[
    "architecture.cpp",
    "breakdown.cpp",
    "by_address.cpp",
    "calls.cpp",
    "computing.cpp",
    "file.cpp",
    "graph.cpp",
    "guard.cpp",
    "process.cpp",
    "regex.cpp",
    "rpc.cpp",
    "samplers.cpp",
];

/// The sources over the common library.
const COMMON: &[&str] = &[
    "chat_answer.cpp",
    "chat_continue.cpp",
    "common.cpp",
    "common_chat.cpp",
    "jinja_check.cpp",
    "schema_check.cpp",
    "text.cpp",
];

/// Compiles the shim against the headers of the library that is linked.
pub(crate) fn compile(config: &Config, include_dirs: &[PathBuf], log: CommonLog) {
    let folder = config.manifest_dir.join("shim");
    let mut build = cc::Build::new();
    // `link` names the C++ runtime, after everything that needs it.
    build.cpp(true).std("c++17").cpp_link_stdlib(None).warnings(true).includes(include_dirs);
    // The parser of templates asserts conditions that templates can violate.
    build.opt_level(2).define("NDEBUG", None);
    // Only if the tree has ggml's internal headers.
    build.includes(
        include_dirs.iter().filter(|dir| dir.ends_with("ggml/include")).map(|dir| dir.with_file_name("src")),
    );
    for file in ALWAYS {
        build.file(folder.join(file));
    }
    if config.features.common {
        build.define("LLAMA_SHIM_COMMON", None);
        // llama.cpp's own headers contain unused functions.
        build.flag_if_supported("-Wno-unused-function");
        for file in COMMON {
            build.file(folder.join(file));
        }
    }
    // A prebuilt library contains its own parser.
    if config.features.common && log == CommonLog::Own {
        for file in ["jinja_budget.cpp", "jinja_builtins.cpp", "jinja_nodes.cpp"] {
            build.file(folder.join(file));
        }
    }
    if config.features.dynamic_backends || config.features.dynamic {
        build.define("LLAMA_SHIM_DYNAMIC_BACKENDS", None);
    }
    if config.features.dynamic {
        build.define("LLAMA_SHIM_DYNAMIC", None).file(folder.join("dynamic.cpp"));
    }
    if log == CommonLog::Silenced {
        build.define("LLAMA_SHIM_SILENCE_COMMON_LOG", None);
    }
    if config.target.is_msvc() {
        build.flag("/EHs");
    } else {
        build.flag("-fvisibility=hidden");
    }
    build.compile("llama-shim");
}
