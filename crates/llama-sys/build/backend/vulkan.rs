//! GPUs of all makers.

pub(crate) mod glslc;
pub(crate) mod headers;

use std::path::PathBuf;

use super::{Backend, find_program, folder, has_header};
use crate::config::Config;
use crate::link::Linker;
use crate::source::{self, Source};
use crate::vars;
use headers::{Headers, Needed};

/// CMake's variable for the folder of the headers.
const INCLUDE_DIR: &str = "Vulkan_INCLUDE_DIR";

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

/// Names the folder of the headers, except when the compiler finds it by itself.
fn defines(config: &Config) -> Vec<(String, String)> {
    let system = headers::system_folders();
    match choose_headers(config) {
        Ok(headers) if !system.contains(&headers.folder) => {
            vec![(INCLUDE_DIR.to_owned(), headers.folder.display().to_string())]
        }
        _ => Vec::new(),
    }
}

fn under_sdk(parts: &[&str]) -> Vec<PathBuf> {
    let sdk = folder(vars::VULKAN_SDK);
    parts.iter().filter_map(|part| sdk.as_ref().map(|sdk| sdk.join(part))).collect()
}

/// Returns the folder of headers that the tools of the workspace include.
fn in_tools(config: &Config) -> Option<PathBuf> {
    config.tools.as_ref().map(|tools| tools.join(headers::INSIDE_TOOLS))
}

/// Returns the folders to look for headers in, the preferred ones first. A folder in `LLAMA_SYS_CMAKE_ARGS` is the only one.
fn header_folders(config: &Config) -> Vec<PathBuf> {
    if let Some(given) = config.cmake_definition(INCLUDE_DIR) {
        return vec![given.into()];
    }
    let sdk = under_sdk(&["include", "Include"]);
    sdk.into_iter().chain(headers::system_folders()).chain(in_tools(config)).collect()
}

fn choose_headers(config: &Config) -> Result<Headers, String> {
    let needed = match source::locate(config) {
        Ok(Source::Tree(tree)) => Needed::by_tree(&tree.root),
        _ => None,
    };
    headers::choose(&header_folders(config), needed)
}

fn missing(config: &Config) -> Vec<String> {
    let way_out = format!("install the Vulkan SDK and set {}", vars::VULKAN_SDK);
    let mut missing = Vec::new();
    match find_program("glslc", &under_sdk(&["bin", "Bin"])) {
        None => missing.push(format!("glslc was not found on PATH. Debian: apt install glslc; or {way_out}")),
        Some(glslc) => {
            missing.extend(
                glslc::refusal(&glslc).map(|refusal| format!("{refusal}. Install a newer one, or {way_out}")),
            );
        }
    }
    match choose_headers(config) {
        Err(reason) => missing.push(format!(
            "{reason}. In the workspace run `cargo xtask setup vulkan`, which brings newer headers without root; \
             elsewhere {way_out}"
        )),
        Ok(headers) if Some(&headers.folder) == in_tools(config).as_ref() && lacks_loader(config) => {
            missing.push(format!(
                "the library of the Vulkan loader (libvulkan.so) was not found. Debian: apt install libvulkan-dev; or \
                 {way_out}"
            ));
        }
        Ok(_) => {}
    }
    if !has_header("spirv/unified1/spirv.hpp", &under_sdk(&["include", "Include"])) {
        missing.push(format!(
            "spirv/unified1/spirv.hpp was not found. Debian: apt install spirv-headers; or {way_out}"
        ));
    }
    missing
}

/// Whether the loader's library is in none of the folders where Linux distributions put it. The headers that setup brings
/// come without it.
fn lacks_loader(config: &Config) -> bool {
    if config.target.os != "linux" || config.host != config.target.triple {
        return false;
    }
    let multiarch = format!("/usr/lib/{}-linux-gnu", config.target.arch);
    let system = [multiarch.as_str(), "/usr/lib64", "/usr/lib", "/usr/local/lib"].map(PathBuf::from);
    under_sdk(&["lib"]).into_iter().chain(system).all(|folder| !folder.join("libvulkan.so").exists())
}

fn link(config: &Config, linker: &mut Linker) {
    for folder in under_sdk(&["lib", "Lib"]) {
        linker.search_existing(&folder);
    }
    linker.system(if config.target.os == "windows" { "vulkan-1" } else { "vulkan" });
}
