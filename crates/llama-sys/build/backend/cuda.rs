//! NVIDIA GPUs.

pub(crate) mod architectures;
pub(crate) mod toolkit;

use super::Backend;
use crate::config::Config;
use crate::link::Linker;
use crate::{runtime, vars};
use toolkit::{Places, Toolkit};

/// CMake's option that turns off the memory pool which calls the driver's library.
const NO_VMM: &str = "GGML_CUDA_NO_VMM";

pub(crate) fn backend() -> Backend {
    Backend {
        feature: "cuda",
        option: "GGML_CUDA",
        library: "ggml-cuda",
        defines,
        missing,
        link,
        contradiction,
    }
}

fn contradiction(config: &Config) -> Option<String> {
    if config.features.has_backend("hip") {
        return Some(
            "features `cuda` and `hip` cannot be linked together (ggml compiles the same code for both): choose one, or \
             use `dynamic-backends` builds of each"
                .to_owned(),
        );
    }
    config.target.is_apple().then(|| {
        format!("feature `cuda` has no toolkit for {}: use `metal` on Apple targets", config.target.triple)
    })
}

fn places(config: &Config) -> Places {
    Places::of_this_machine(vars::CUDACXX, vars::CUDA_PATH, config.tools.as_deref())
}

fn defines(config: &Config) -> Vec<(String, String)> {
    let mut defines = Vec::new();
    let mut define = |name: &str, value: &str| defines.push((name.to_owned(), value.to_owned()));
    // ggml uses NCCL whenever it is installed, and a binary should not depend on that.
    define("GGML_CUDA_NCCL", "OFF");
    if !config.features.shared {
        define("CMAKE_CUDA_VISIBILITY_PRESET", "hidden");
    }
    let toolkit = places(config).find();
    define(NO_VMM, if uses_vmm(config, toolkit.as_ref()) { "OFF" } else { "ON" });
    if let Some(architectures) = own_architectures(config) {
        define(architectures::DEFINITION, &architectures);
    }
    if let Some(toolkit) = toolkit.filter(|toolkit| !toolkit.is_on_path) {
        define("CMAKE_CUDA_COMPILER", &toolkit.nvcc.display().to_string());
        define("CUDAToolkit_ROOT", &toolkit.root.display().to_string());
    }
    defines
}

/// Whether ggml calls the driver's library, without which a program or a module that is linked to it does not load. A program
/// must start on machines without a driver, so only modules use it.
fn uses_vmm(config: &Config, toolkit: Option<&Toolkit>) -> bool {
    match config.cmake_definition(NO_VMM) {
        Some(value) => ["OFF", "0", "NO", "FALSE"].contains(&value.to_ascii_uppercase().as_str()),
        None => config.features.dynamic_backends && toolkit.is_some_and(Toolkit::has_driver_library),
    }
}

/// Whether the build is for the GPUs of this machine.
fn is_for_own_gpus(config: &Config) -> bool {
    config.is_native() && config.cmake_definition(architectures::DEFINITION).is_none()
}

fn own_architectures(config: &Config) -> Option<String> {
    is_for_own_gpus(config).then(architectures::of_this_machine).flatten()
}

fn missing(config: &Config) -> Vec<String> {
    let mut missing = Vec::new();
    if places(config).find().is_none() {
        missing.push(toolkit::missing(vars::CUDACXX, vars::CUDA_PATH));
    }
    if is_for_own_gpus(config) && own_architectures(config).is_none() {
        missing.push(architectures::missing(vars::CMAKE_ARGS));
    }
    missing
}

fn link(config: &Config, linker: &mut Linker) {
    let places = places(config);
    let toolkit = places.find();
    for folder in toolkit.iter().flat_map(Toolkit::library_folders) {
        linker.search(&folder);
        if toolkit.as_ref().is_some_and(|toolkit| places.is_in_tools(toolkit)) {
            runtime::find_at_run_time(config, linker, &folder);
        }
    }
    let static_runtime = !config.target.is_msvc();
    linker.system(if static_runtime { "cudart_static" } else { "cudart" });
    for name in ["cublas", "cublasLt"] {
        linker.system(name);
    }
    // A library that is already built may use it.
    let may_use_driver =
        config.lib_dir.is_some() && toolkit.as_ref().is_some_and(Toolkit::has_driver_library);
    if uses_vmm(config, toolkit.as_ref()) || may_use_driver {
        linker.system("cuda");
    }
    if config.target.os == "linux" {
        linker.system("rt");
    }
}
