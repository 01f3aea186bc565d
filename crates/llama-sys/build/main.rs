//! Builds llama.cpp, or finds a built library, and tells cargo how to link it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a build script talks to cargo by printing")]

mod backend;
#[cfg(feature = "bindgen")]
mod bindings;
mod cache;
mod cmake;
mod common_library;
mod compiler;
mod config;
mod link;
mod runtime;
mod shim;
mod source;
mod tools;
mod vars;
mod version;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use config::Config;
use source::{Source, Tree};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("\nllama-sys: {reason}\n");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    println!("cargo:rustc-check-cfg=cfg(llama_sys_generated_at_build)");
    for part in ["build", "shim"] {
        println!("cargo:rerun-if-changed={part}");
    }
    let config = Config::from_environment()?;
    let source = source::locate(&config)?;
    if let (true, Source::Tree(tree)) = (cmake::is_child(), &source) {
        return cmake::run(&config, tree);
    }
    match source {
        Source::Nothing => println!("cargo:rustc-env=LLAMA_CPP_VERSION={}", version::BOUND),
        Source::Prebuilt { lib_dir, include_dir } => {
            let include_dirs = vec![include_dir];
            let version = prebuilt_version(&config, &lib_dir)?;
            finish(&config, &version, Some(&lib_dir), &include_dirs, shim::CommonLog::Silenced)?;
            link::link_prebuilt(&config, &lib_dir)?;
        }
        Source::Tree(tree) if config.features.dynamic => build_for_loading(&config, &tree)?,
        Source::Tree(tree) => {
            let version = tree.version();
            if version != version::BOUND && !config.features.bindgen {
                println!(
                    "cargo:warning=the llama.cpp tree has version {version}, but the bindings are for {}: \
                     add feature `bindgen` to generate matching ones",
                    version::BOUND
                );
            }
            let built = cmake::build(&config, &tree)?;
            // For programs that use the same native build, such as `cargo xtask bench`.
            let marker = config.out_dir.join("native-dir");
            std::fs::write(&marker, built.build_dir().display().to_string())
                .map_err(|error| format!("{}: {error}", marker.display()))?;
            let lib_dir =
                if config.features.shared { runtime::place(&config, &built)? } else { built.archive_dir() };
            finish(&config, &version, Some(&lib_dir), &tree.include_dirs(), shim::CommonLog::Own)?;
            if config.features.common {
                link::link_common(&common_library::build(&config, &tree)?);
            }
            if config.features.shared {
                link::link_shared(&config, &lib_dir, &built.archive_dir())?;
            } else {
                let cmake_cache = built.build_dir().join("CMakeCache.txt");
                link::link_static(&config, &lib_dir, Some(&cmake_cache))?;
            }
        }
    }
    Ok(())
}

/// Returns the version of a prebuilt library, and refuses one that the bindings are not for.
fn prebuilt_version(config: &Config, lib_dir: &Path) -> Result<String, String> {
    println!("cargo:rerun-if-changed={}", lib_dir.display());
    let Some(version) = version::of_library(lib_dir) else {
        println!(
            "cargo:warning=nothing in {} tells the version of the library: it must be {}, for which the bindings are",
            lib_dir.display(),
            version::BOUND
        );
        return Ok(version::BOUND.to_owned());
    };
    match version::refusal(vars::LIB_DIR, lib_dir, &version) {
        Some(refusal) if !config.features.bindgen => Err(refusal),
        _ => Ok(version),
    }
}

/// Builds everything but llama.cpp itself, which the program loads when it runs.
fn build_for_loading(config: &Config, tree: &Tree) -> Result<(), String> {
    let version = tree.version();
    if version != version::BOUND {
        return Err(format!(
            "the llama.cpp tree in {} has version {version}, but with feature `dynamic` it must have {}, for which the \
             bindings are: the program loads a library of the version of the tree",
            tree.root.display(),
            version::BOUND
        ));
    }
    finish(config, &version, None, &tree.include_dirs(), shim::CommonLog::Own)?;
    if config.features.common {
        link::link_common(&common_library::build(config, tree)?);
    }
    link::link_runtime(config);
    if config.target.os == "linux" {
        // For the test that these functions stay hidden from the library even then.
        println!("cargo:rustc-link-arg-tests=-rdynamic");
    }
    Ok(())
}

/// Builds the parts that every kind of library needs: the shim, bindings if requested, and metadata.
fn finish(
    config: &Config,
    version: &str,
    lib_dir: Option<&Path>,
    include_dirs: &[PathBuf],
    log: shim::CommonLog,
) -> Result<(), String> {
    println!("cargo:rustc-env=LLAMA_CPP_VERSION={version}");
    shim::compile(config, include_dirs, log);
    #[cfg(feature = "bindgen")]
    {
        bindings::write(&config.manifest_dir, include_dirs, &config.out_dir)?;
        println!("cargo:rustc-cfg=llama_sys_generated_at_build");
    }
    link::export_metadata(config, version, lib_dir, include_dirs);
    Ok(())
}
