//! GPUs of all makers.

use std::path::PathBuf;

use super::{Backend, find_program, folder, has_header};
use crate::config::Config;
use crate::link::Linker;
use crate::vars;

pub(crate) fn backend() -> Backend {
    Backend {
        feature: "vulkan",
        option: "GGML_VULKAN",
        library: "ggml-vulkan",
        defines,
        missing,
        link,
        ..Backend::PLAIN
    }
}

fn defines(_: &Config) -> Vec<(String, String)> {
    Vec::new()
}

fn under_sdk(parts: &[&str]) -> Vec<PathBuf> {
    let sdk = folder(vars::VULKAN_SDK);
    parts.iter().filter_map(|part| sdk.as_ref().map(|sdk| sdk.join(part))).collect()
}

fn missing(_: &Config) -> Vec<String> {
    let includes = under_sdk(&["include", "Include"]);
    let way_out = format!("or install the Vulkan SDK and set {}", vars::VULKAN_SDK);
    let mut missing = Vec::new();
    if find_program("glslc", &under_sdk(&["bin", "Bin"])).is_none() {
        missing.push(format!("glslc was not found on PATH. Debian: apt install glslc; {way_out}"));
    }
    if !has_header("vulkan/vulkan.hpp", &includes) {
        missing
            .push(format!("vulkan/vulkan.hpp was not found. Debian: apt install libvulkan-dev; {way_out}"));
    }
    if !has_header("spirv/unified1/spirv.hpp", &includes) {
        missing.push(format!(
            "spirv/unified1/spirv.hpp was not found. Debian: apt install spirv-headers; {way_out}"
        ));
    }
    missing
}

fn link(config: &Config, linker: &mut Linker) {
    for folder in under_sdk(&["lib", "Lib"]) {
        linker.search_existing(&folder);
    }
    linker.system(if config.target.os == "windows" { "vulkan-1" } else { "vulkan" });
}
