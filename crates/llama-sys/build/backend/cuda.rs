//! NVIDIA GPUs.

use std::path::PathBuf;

use super::{Backend, find_program, folder};
use crate::config::Config;
use crate::link::Linker;
use crate::vars;

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

/// Turns NCCL off: ggml uses it whenever it is installed, and a binary should not depend on that.
fn defines(_: &Config) -> Vec<(String, String)> {
    vec![("GGML_CUDA_NCCL".to_owned(), "OFF".to_owned())]
}

fn roots() -> Vec<PathBuf> {
    folder(vars::CUDA_PATH)
        .into_iter()
        .chain(["/usr/local/cuda", "/opt/cuda", "/usr"].map(PathBuf::from))
        .collect()
}

fn missing(_: &Config) -> Vec<String> {
    let bins: Vec<PathBuf> = roots().into_iter().map(|root| root.join("bin")).collect();
    if folder(vars::CUDACXX).is_some_and(|nvcc| nvcc.is_file()) || find_program("nvcc", &bins).is_some() {
        return Vec::new();
    }
    vec![format!(
        "nvcc was not found on PATH. Install the CUDA toolkit (Debian: nvidia-cuda-toolkit) or set {} or {}",
        vars::CUDACXX,
        vars::CUDA_PATH
    )]
}

fn link(config: &Config, linker: &mut Linker) {
    for root in roots() {
        for part in ["lib64", "lib64/stubs", "lib/x64", "lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu/stubs"]
        {
            linker.search_existing(&root.join(part));
        }
    }
    let static_runtime = !config.target.is_msvc();
    linker.system(if static_runtime { "cudart_static" } else { "cudart" });
    for name in ["cublas", "cublasLt", "cuda"] {
        linker.system(name);
    }
    if config.target.os == "linux" {
        linker.system("rt");
    }
}
