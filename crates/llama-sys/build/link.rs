//! Link directives, the C++ runtime, and the metadata for crates that depend on this one.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::backend;
use crate::common_library;
use crate::config::Config;

/// Prints cargo's link directives.
#[derive(Default)]
pub(crate) struct Linker {
    searched: Vec<PathBuf>,
}

impl Linker {
    pub(crate) fn search(&mut self, folder: &Path) {
        if !self.searched.iter().any(|searched| searched == folder) {
            println!("cargo:rustc-link-search=native={}", folder.display());
            self.searched.push(folder.to_owned());
        }
    }

    pub(crate) fn search_existing(&mut self, folder: &Path) {
        if folder.is_dir() {
            self.search(folder);
        }
    }

    pub(crate) fn system(&mut self, name: &str) {
        println!("cargo:rustc-link-lib=dylib={name}");
    }

    pub(crate) fn framework(&mut self, name: &str) {
        println!("cargo:rustc-link-lib=framework={name}");
    }

    fn archive(&mut self, name: &str) {
        println!("cargo:rustc-link-lib=static={name}");
    }
}

/// Links the separately built part of the common library. It depends on all other libraries.
pub(crate) fn link_common(folder: &Path) {
    let mut linker = Linker::default();
    linker.search(folder);
    linker.archive(common_library::LIBRARY);
}

/// Links static libraries from a build's `lib` folder, dependents before their dependencies.
pub(crate) fn link_static(config: &Config, lib_dir: &Path, cmake_cache: Option<&Path>) -> Result<(), String> {
    let mut linker = Linker::default();
    linker.search(lib_dir);
    let mut libraries = vec!["llama", "ggml"];
    let backends = backend::enabled(config);
    libraries.extend(backends.iter().map(|backend| backend.library));
    libraries.extend(["ggml-cpu", "ggml-base"]);
    for library in libraries {
        if archive_path(lib_dir, library).is_none() {
            return Err(format!(
                "{} has no static library {library}: the features ask for it, but the build did not make it",
                lib_dir.display()
            ));
        }
        linker.archive(library);
    }
    for backend in backends {
        (backend.link)(config, &mut linker);
    }
    if let Some(cache) = cmake_cache {
        link_openmp(config, &mut linker, cache);
    }
    link_system(config, &mut linker);
    Ok(())
}

/// Links shared libraries from a folder. `archive_dir` holds the import libraries on Windows and the part of
/// `llama-common` that is always static.
pub(crate) fn link_shared(config: &Config, lib_dir: &Path, archive_dir: &Path) -> Result<(), String> {
    let mut linker = Linker::default();
    linker.search(lib_dir);
    linker.search_existing(archive_dir);
    let mut libraries = vec!["llama", "ggml", "ggml-base"];
    if !config.features.dynamic_backends {
        libraries.push("ggml-cpu");
    }
    for library in libraries {
        linker.system(library);
    }
    link_system(config, &mut linker);
    Ok(())
}

/// Links the libraries of the shim and of the common library, for a program that loads llama.cpp when it runs.
pub(crate) fn link_runtime(config: &Config) {
    link_system(config, &mut Linker::default());
}

/// Links a prebuilt library, preferring a shared one.
pub(crate) fn link_prebuilt(config: &Config, lib_dir: &Path) -> Result<(), String> {
    let names = ["libllama.so", "libllama.dylib", "llama.dll", "llama.lib"];
    let shared = names.iter().any(|name| lib_dir.join(name).is_file());
    if config.features.common && archive_path(lib_dir, "llama-common").is_none() && !shared {
        return Err(format!(
            "feature `common` needs llama-common, which {} does not hold: build llama.cpp with \
             -DLLAMA_BUILD_COMMON=ON or leave the feature out",
            lib_dir.display()
        ));
    }
    if config.features.common {
        link_prebuilt_common(lib_dir);
    }
    if shared
        && archive_path(lib_dir, "llama").is_none_or(|path| path.extension().is_some_and(|e| e == "lib"))
    {
        return link_shared(config, lib_dir, lib_dir);
    }
    if archive_path(lib_dir, "llama").is_none() {
        return Err(format!("{} holds no libllama, neither shared nor static", lib_dir.display()));
    }
    link_static(config, lib_dir, None)?;
    if config.features.openmp && !config.target.is_apple() && !config.target.is_msvc() {
        Linker::default().system("gomp");
    }
    Ok(())
}

/// Links the whole common library and, when it is static, its parts.
fn link_prebuilt_common(lib_dir: &Path) {
    let mut linker = Linker::default();
    linker.search(lib_dir);
    if archive_path(lib_dir, common_library::LIBRARY).is_none() {
        linker.system(common_library::LIBRARY);
    }
    for library in [common_library::LIBRARY, "llama-common-base", "cpp-httplib"] {
        if archive_path(lib_dir, library).is_some() {
            linker.archive(library);
        }
    }
}

/// Exports the metadata that build scripts of dependent crates read as `DEP_LLAMA_*`.
pub(crate) fn export_metadata(
    config: &Config,
    version: &str,
    lib_dir: Option<&Path>,
    include_dirs: &[PathBuf],
) {
    let includes = env::join_paths(include_dirs).unwrap_or_default();
    let backends: Vec<&str> = backend::enabled(config).iter().map(|backend| backend.feature).collect();
    println!("cargo:version={version}");
    if let Some(lib_dir) = lib_dir {
        println!("cargo:lib={}", lib_dir.display());
    }
    println!("cargo:include={}", includes.to_string_lossy());
    println!("cargo:backends={}", ["cpu"].iter().chain(&backends).copied().collect::<Vec<_>>().join(","));
    println!("cargo:static={}", !config.features.shared && !config.features.dynamic);
}

fn archive_path(lib_dir: &Path, library: &str) -> Option<PathBuf> {
    [format!("lib{library}.a"), format!("{library}.lib"), format!("{library}.a")]
        .iter()
        .map(|file| lib_dir.join(file))
        .find(|path| path.is_file())
}

/// Links the OpenMP runtime that CMake found, by the name that CMake found. MSVC's objects name their own.
fn link_openmp(config: &Config, linker: &mut Linker, cmake_cache: &Path) {
    if !config.features.openmp || config.target.is_msvc() {
        return;
    }
    let text = fs::read_to_string(cmake_cache).unwrap_or_default();
    let value = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{key}:")))?;
        Some(line.split_once('=')?.1.to_owned())
    };
    if value("GGML_OPENMP_ENABLED").as_deref() != Some("ON") {
        println!(
            "cargo:warning=feature `openmp`: the compiler has no OpenMP, so ggml's own threads are used. Install its \
             runtime (Debian with clang: apt install libomp-dev; macOS: brew install libomp) or leave the feature out"
        );
        return;
    }
    for name in value("OpenMP_CXX_LIB_NAMES").unwrap_or_default().split(';').filter(|name| !name.is_empty()) {
        if let Some(folder) =
            value(&format!("OpenMP_{name}_LIBRARY")).as_deref().and_then(|p| Path::new(p).parent())
        {
            linker.search_existing(folder);
        }
        linker.system(name);
    }
}

/// Links the platform's libraries, and the C++ runtime last.
fn link_system(config: &Config, linker: &mut Linker) {
    let target = &config.target;
    match target.os.as_str() {
        "linux" => ["m", "dl", "pthread"].iter().for_each(|name| linker.system(name)),
        "windows" => linker.system("advapi32"),
        _ => {}
    }
    if target.is_apple() {
        // ggml's CPU backend uses Accelerate with or without feature `blas`.
        linker.framework("Accelerate");
    }
    if let Some(name) = env::var("CXXSTDLIB").ok().filter(|name| !name.is_empty()) {
        linker.system(&name);
    } else if target.is_apple() || matches!(target.os.as_str(), "freebsd" | "openbsd" | "android") {
        linker.system(if target.os == "android" { "c++_shared" } else { "c++" });
    } else if !target.is_msvc() {
        linker.system("stdc++");
    }
}
