//! AMD GPUs.

use std::path::PathBuf;

use super::{Backend, find_program, folder};
use crate::config::Config;
use crate::link::Linker;
use crate::vars;

pub(crate) fn backend() -> Backend {
    Backend { feature: "hip", option: "GGML_HIP", library: "ggml-hip", missing, link, ..Backend::PLAIN }
}

fn root() -> PathBuf {
    folder(vars::ROCM_PATH).unwrap_or_else(|| PathBuf::from("/opt/rocm"))
}

fn missing(_: &Config) -> Vec<String> {
    if find_program("hipcc", &[root().join("bin")]).is_some() {
        return Vec::new();
    }
    vec![format!(
        "hipcc was not found on PATH or in {}. Install ROCm with its hipblas and rocblas development packages, or \
         set {}",
        root().join("bin").display(),
        vars::ROCM_PATH
    )]
}

fn link(_: &Config, linker: &mut Linker) {
    linker.search_existing(&root().join("lib"));
    for name in ["amdhip64", "rocblas", "hipblas"] {
        linker.system(name);
    }
}
