//! The architectures that a `native` build is for: those of the building machine's GPUs.
//!
//! `cargo xtask setup cuda` includes this file, so that setup and build agree.

use std::collections::BTreeSet;
use std::process::Command;

/// CMake's variable for the architectures.
pub(crate) const DEFINITION: &str = "CMAKE_CUDA_ARCHITECTURES";

/// Returns CMake's list of the architectures of this machine's GPUs, or `None` when it has none.
pub(crate) fn of_this_machine() -> Option<String> {
    let mut query = Command::new("nvidia-smi");
    query.args(["--query-gpu=compute_cap", "--format=csv,noheader"]);
    let output = query.output().ok().filter(|output| output.status.success())?;
    of_capabilities(&String::from_utf8_lossy(&output.stdout))
}

/// Returns CMake's list for compute capabilities, one in a line.
fn of_capabilities(printed: &str) -> Option<String> {
    let number = |line: &str| {
        let (major, minor) = line.trim().split_once('.')?;
        Some(major.parse::<u32>().ok()? * 10 + minor.parse::<u32>().ok()?)
    };
    let numbers: BTreeSet<u32> = printed.lines().filter_map(number).collect();
    let list: Vec<String> = numbers.iter().map(|number| format!("{number}-real")).collect();
    (!list.is_empty()).then(|| list.join(";"))
}

/// Returns what a user does when a `native` build finds no GPU. The variable holds CMake definitions.
pub(crate) fn missing(variable: &str) -> String {
    format!(
        "nvidia-smi names no GPU, but feature `native` builds for the GPUs of this machine. Name the architecture of the GPU \
         that the program is for, for example {variable}=-D{DEFINITION}=86 (75: RTX 20; 80: A100; 86: RTX 30; 89: RTX 40; \
         90: H100; 120: RTX 50), or leave feature `native` out to build for all of them, which takes many hours"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_architecture_is_named_once() {
        assert_eq!(of_capabilities("9.0\n8.6\n8.6\n12.0\n").unwrap(), "86-real;90-real;120-real");
        assert_eq!(of_capabilities("No devices were found\n"), None);
        assert_eq!(of_capabilities(""), None);
    }

    #[test]
    fn a_native_build_without_a_gpu_comes_with_both_ways_out() {
        assert_eq!(
            missing("LLAMA_SYS_CMAKE_ARGS"),
            "nvidia-smi names no GPU, but feature `native` builds for the GPUs of this machine. Name the architecture of the \
             GPU that the program is for, for example LLAMA_SYS_CMAKE_ARGS=-DCMAKE_CUDA_ARCHITECTURES=86 (75: RTX 20; 80: \
             A100; 86: RTX 30; 89: RTX 40; 90: H100; 120: RTX 50), or leave feature `native` out to build for all of them, \
             which takes many hours"
        );
    }
}
