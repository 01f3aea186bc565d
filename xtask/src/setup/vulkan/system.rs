//! The parts of Vulkan that only root can install: the loader, a driver, the compiler of shaders and the SPIR-V headers.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::glslc;

/// A part of Vulkan, as the system has it.
struct Part {
    /// The name of the part, and what it is for.
    what: &'static str,
    /// Debian's package.
    package: &'static str,
    is_there: fn() -> bool,
}

const PARTS: [Part; 4] = [
    Part { what: "glslc, which compiles the shaders", package: "glslc", is_there: has_glslc },
    Part {
        what: "the SPIR-V headers (spirv/unified1/spirv.hpp)",
        package: "spirv-headers",
        is_there: has_spirv_headers,
    },
    Part { what: "the loader (libvulkan.so), to link", package: "libvulkan-dev", is_there: has_loader },
    Part {
        what: "a driver, of the GPU's maker or Mesa's, which also computes on the CPU",
        package: "mesa-vulkan-drivers",
        is_there: has_driver,
    },
];

/// Returns lines that name the missing parts and the command that installs them.
pub(super) fn lacks() -> Vec<String> {
    lines(&PARTS.iter().filter(|part| !(part.is_there)()).collect::<Vec<_>>())
}

fn lines(missing: &[&Part]) -> Vec<String> {
    if missing.is_empty() {
        return vec!["glslc, SPIR-V headers, loader and driver are there".to_owned()];
    }
    let mut lines: Vec<String> =
        missing.iter().map(|part| format!("missing, and to be installed by root: {}", part.what)).collect();
    let packages: Vec<&str> = missing.iter().map(|part| part.package).collect();
    lines.push(format!("Debian and Ubuntu: sudo apt install {}", packages.join(" ")));
    lines
}

fn has_glslc() -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let sdk = sdk().map(|sdk| sdk.join("bin"));
    let program = format!("glslc{}", env::consts::EXE_SUFFIX);
    let mut found = env::split_paths(&path).chain(sdk).map(|folder| folder.join(&program));
    found.find(|glslc| glslc.is_file()).is_some_and(|glslc| glslc::refusal(&glslc).is_none())
}

fn has_spirv_headers() -> bool {
    let folders = ["/usr/include", "/usr/local/include", "/opt/homebrew/include"].map(PathBuf::from);
    let mut folders = folders.into_iter().chain(sdk().map(|sdk| sdk.join("include")));
    folders.any(|folder| folder.join("spirv/unified1/spirv.hpp").is_file())
}

fn has_loader() -> bool {
    let multiarch = format!("/usr/lib/{}-linux-gnu", env::consts::ARCH);
    let folders =
        [&multiarch, "/usr/lib64", "/usr/lib", "/usr/local/lib", "/opt/homebrew/lib"].map(PathBuf::from);
    let mut folders = folders.into_iter().chain(sdk().map(|sdk| sdk.join("lib")));
    let names = ["libvulkan.so", "libvulkan.dylib"];
    folders.any(|folder| names.iter().any(|name| folder.join(name).exists()))
}

/// Whether a driver is registered where the loader looks.
fn has_driver() -> bool {
    if env::var_os("VK_DRIVER_FILES").or_else(|| env::var_os("VK_ICD_FILENAMES")).is_some() {
        return true;
    }
    let folders = ["/etc/vulkan/icd.d", "/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];
    folders.iter().any(|folder| holds_a_driver(Path::new(folder)))
}

fn holds_a_driver(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().extension().is_some_and(|extension| extension == "json"))
}

fn sdk() -> Option<PathBuf> {
    env::var_os("VULKAN_SDK").filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_come_with_the_command_that_installs_them() {
        let missing: Vec<&Part> = PARTS.iter().collect();
        assert_eq!(
            lines(&missing),
            [
                "missing, and to be installed by root: glslc, which compiles the shaders",
                "missing, and to be installed by root: the SPIR-V headers (spirv/unified1/spirv.hpp)",
                "missing, and to be installed by root: the loader (libvulkan.so), to link",
                "missing, and to be installed by root: a driver, of the GPU's maker or Mesa's, which also computes on the CPU",
                "Debian and Ubuntu: sudo apt install glslc spirv-headers libvulkan-dev mesa-vulkan-drivers",
            ]
        );
        assert_eq!(lines(&[]), ["glslc, SPIR-V headers, loader and driver are there"]);
    }

    #[test]
    fn a_driver_is_a_json_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!holds_a_driver(folder.path()));
        assert!(!holds_a_driver(&folder.path().join("missing")));
        fs::write(folder.path().join("lvp_icd.x86_64.json"), "{}").unwrap();
        assert!(holds_a_driver(folder.path()));
    }
}
