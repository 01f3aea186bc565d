//! A BLAS library for long prompts on the CPU.

use super::{Backend, find_program};
use crate::config::Config;
use crate::link::Linker;

pub(crate) fn backend() -> Backend {
    Backend {
        feature: "blas",
        option: "GGML_BLAS",
        library: "ggml-blas",
        defines,
        missing,
        link,
        ..Backend::PLAIN
    }
}

fn vendor(config: &Config) -> &'static str {
    if config.target.is_apple() { "Apple" } else { "OpenBLAS" }
}

fn defines(config: &Config) -> Vec<(String, String)> {
    vec![("GGML_BLAS_VENDOR".to_owned(), vendor(config).to_owned())]
}

fn missing(config: &Config) -> Vec<String> {
    if config.target.is_apple() || find_program("pkg-config", &[]).is_some() {
        return Vec::new();
    }
    vec![
        "pkg-config, by which CMake finds OpenBLAS, was not found. Debian: apt install pkg-config \
          libopenblas-dev"
            .to_owned(),
    ]
}

fn link(config: &Config, linker: &mut Linker) {
    if config.target.is_apple() {
        linker.framework("Accelerate");
    } else {
        linker.system("openblas");
    }
}
