//! Compiles the shim: our C++ between Rust and llama.cpp.

use std::path::PathBuf;

use crate::config::Config;

/// Compiles the shim against the headers of the library that is linked.
pub(crate) fn compile(config: &Config, include_dirs: &[PathBuf]) {
    let folder = config.manifest_dir.join("shim");
    let mut build = cc::Build::new();
    // The C++ runtime is named by `link`, after everything that needs it.
    build.cpp(true).std("c++17").cpp_link_stdlib(None).warnings(true).includes(include_dirs);
    build.opt_level(2);
    for file in ["guard.cpp", "breakdown.cpp", "file.cpp", "regex.cpp"] {
        build.file(folder.join(file));
    }
    if config.features.common {
        // llama.cpp's own headers have some.
        build.flag_if_supported("-Wno-unused-function");
        for file in ["common.cpp", "common_chat.cpp", "jinja_check.cpp", "text.cpp"] {
            build.file(folder.join(file));
        }
    }
    if config.target.is_msvc() {
        build.flag("/EHs");
    } else {
        build.flag("-fvisibility=hidden");
    }
    build.compile("llama-shim");
}
