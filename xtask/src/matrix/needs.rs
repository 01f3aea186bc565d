//! The tools and libraries that rows need, and whether this machine has them.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use super::outside;
use super::row::{Need, Probe};
use super::standard_library;
use crate::setup::Item;

pub(super) const LIBCLANG: Need =
    Need { name: "libclang", debian: &["libclang-dev"], items: &[Item::Libclang], probe: Probe::Build };

pub(super) const OPENBLAS: Need = Need {
    name: "OpenBLAS",
    debian: &["pkg-config", "libopenblas-dev"],
    items: &[],
    probe: Probe::PkgConfig("openblas"),
};

pub(super) const VULKAN: Need = Need {
    name: "Vulkan headers and loader",
    debian: &["libvulkan-dev"],
    items: &[Item::Vulkan],
    probe: Probe::Build,
};

pub(super) const SHADER_COMPILER: Need = Need {
    name: "glslc and SPIR-V headers",
    debian: &["glslc", "spirv-headers"],
    items: &[],
    probe: Probe::Build,
};

pub(super) const VULKAN_DRIVER: Need = Need {
    name: "a Vulkan driver",
    debian: &["mesa-vulkan-drivers"],
    items: &[],
    probe: Probe::Folder("/usr/share/vulkan/icd.d"),
};

pub(super) const CUDA: Need = Need {
    name: "CUDA toolkit",
    debian: &["nvidia-cuda-toolkit"],
    items: &[Item::Cuda],
    probe: Probe::Build,
};

pub(super) const ROCM: Need = Need {
    name: "ROCm",
    debian: &["hipcc", "libhipblas-dev", "librocblas-dev"],
    items: &[],
    probe: Probe::Build,
};

pub(super) const OTHER_FILE_SYSTEM: Need = Need {
    name: "a second file system",
    debian: &[],
    items: &[],
    probe: Probe::Folder(outside::OTHER_FILE_SYSTEM),
};

pub(super) const APPLE: Need =
    Need { name: "an Apple machine", debian: &[], items: &[], probe: Probe::Apple(true) };

pub(super) const NOT_APPLE: Need =
    Need { name: "a machine that is not Apple's", debian: &[], items: &[], probe: Probe::Apple(false) };

pub(super) const ARM64_COMPILER: Need = Need {
    name: "a C++ compiler for arm64",
    debian: &["g++-aarch64-linux-gnu"],
    items: &[],
    probe: Probe::Program("aarch64-linux-gnu-g++"),
};

pub(super) const QEMU: Need = Need {
    name: "qemu-user",
    debian: &["qemu-user-static"],
    items: &[],
    probe: Probe::Program("qemu-aarch64-static"),
};

pub(super) const STD_ARM64: Need = standard_library("aarch64-unknown-linux-gnu");

pub(super) const STD_MACOS: Need = standard_library("aarch64-apple-darwin");

pub(super) const STD_WINDOWS: Need = standard_library("x86_64-pc-windows-msvc");

const fn standard_library(target: &'static str) -> Need {
    Need {
        name: "Rust's standard library for the target",
        debian: &[],
        items: &[Item::RustSrc],
        probe: Probe::StandardLibrary(target),
    }
}

impl Need {
    /// Returns what is missing on this machine and how to get it. `None` when nothing is, or when only the build can
    /// tell.
    pub(super) fn missing(&self) -> Option<String> {
        let met = match self.probe {
            Probe::Build => true,
            Probe::PkgConfig(package) => pkg_config_knows(package),
            Probe::Program(program) => is_on_path(program),
            Probe::Folder(folder) => Path::new(folder).is_dir(),
            Probe::StandardLibrary(target) => standard_library::is_at_hand(target),
            Probe::Apple(expected) => cfg!(target_vendor = "apple") == expected,
        };
        (!met).then(|| self.sentence())
    }

    /// Returns what the user has to install, for a need that is not met or that only the build can judge.
    pub(super) fn remains(&self) -> Option<String> {
        match self.probe {
            Probe::Build => Some(self.sentence()),
            _ => self.missing(),
        }
    }

    fn sentence(&self) -> String {
        match self.probe {
            Probe::PkgConfig(package) => format!("pkg-config knows no package {package}{}", self.remedy()),
            Probe::Program(program) => format!("{program} was not found on PATH{}", self.remedy()),
            Probe::Folder(folder) => format!("needs {} at {folder}{}", self.name, self.remedy()),
            Probe::StandardLibrary(target) => {
                format!(
                    "Rust's standard library for {target} is not installed: rustup target add {target}; on Debian \
                     `cargo xtask setup rust-src` brings its sources"
                )
            }
            Probe::Build | Probe::Apple(_) => format!("needs {}{}", self.name, self.remedy()),
        }
    }

    fn remedy(&self) -> String {
        if self.debian.is_empty() {
            return String::new();
        }
        format!(". Debian: apt install {}", self.debian.join(" "))
    }
}

fn is_on_path(program: &str) -> bool {
    let (path, file) =
        (env::var_os("PATH").unwrap_or_default(), format!("{program}{}", env::consts::EXE_SUFFIX));
    env::split_paths(&path).any(|folder| folder.join(&file).is_file())
}

fn pkg_config_knows(package: &str) -> bool {
    let mut command = Command::new("pkg-config");
    command.args(["--exists", package]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_need_says_how_to_get_it() {
        let need = |probe| Need { name: "a thing", debian: &["libthing-dev", "thing"], items: &[], probe };
        let missing = need(Probe::PkgConfig("no-such-package")).missing().unwrap();
        assert_eq!(
            missing,
            "pkg-config knows no package no-such-package. Debian: apt install libthing-dev thing"
        );
        assert_eq!(need(Probe::Build).missing(), None, "the build says it");
        let missing = need(Probe::StandardLibrary("no-such-target")).sentence();
        assert!(missing.contains("not installed: rustup target add no-such-target"), "{missing}");
    }

    #[test]
    fn a_machine_is_apples_or_not() {
        assert_eq!([&APPLE, &NOT_APPLE].iter().filter(|need| need.missing().is_none()).count(), 1);
    }
}
