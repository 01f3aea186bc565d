//! The rows of the matrix: the only list of them, from which the workflow is made too.

use super::left_out;
use super::needs::{
    APPLE, ARM64_COMPILER, CUDA, LIBCLANG, NOT_APPLE, OPENBLAS, OTHER_FILE_SYSTEM, QEMU, ROCM,
    SHADER_COMPILER, STD_ARM64, STD_MACOS, STD_WINDOWS, VULKAN, VULKAN_DRIVER,
};
use super::outside::Outside;
use super::row::{Row, Runner, Suite, Value};

const LINK: &str = "llama-sys";
const CORE: &str = "llama-core";
const GEN: &str = "llama-gen";

const NO_DEVICE: &str = "no device is assumed";

/// Topics of llama-core's tests that compute with a library whose internal headers are not at hand.
const COMPUTING: &[&str] = &["decode::", "greedy::", "tokenize::"];

/// Topics of the tests that compute on a device.
const ON_DEVICE: &[&str] = &["on_device::"];

/// The first device of Vulkan, which may be Mesa's lavapipe: ggml skips devices that compute on the CPU unless they are named.
const VULKAN_DEVICE: &[(&str, Value)] =
    &[("GGML_VK_VISIBLE_DEVICES", Value::Text("0")), ("LLAMA_TEST_DEVICE", Value::Text("Vulkan0"))];

/// Topics of llama-core's tests that a program with CUDA passes on a machine without a driver.
const WITHOUT_DRIVER: &[&str] = &["decode::", "greedy::", "no_driver::", "system::", "tokenize::"];

/// One architecture of GPUs, H100's, because each one takes an hour. `native` would need a GPU.
const ONE_ARCHITECTURE: &[(&str, Value)] =
    &[("LLAMA_SYS_CMAKE_ARGS", Value::Text("-DCMAKE_CUDA_ARCHITECTURES=90-real"))];

/// Topics of llama-gen's tests that need devices of other machines.
const RPC: &[&str] = &["rpc::"];

/// The version of the library that the build must refuse.
const OTHER_VERSION: &str = "0.0.1";

/// The rows, which together contain every feature of `llama-sys`.
pub(super) const ROWS: &[Row] = &[
    Row::new("static", "", Suite::Test(CORE), 18),
    Row::new("no features", "--no-default-features", Suite::Test(LINK), 10),
    Row::new("openmp off", "--no-default-features --features native", Suite::Test(CORE), 18),
    Row::new("native off", "--no-default-features --features openmp", Suite::Test(LINK), 10),
    Row::new("common on", "--features common", Suite::Test(CORE), 18),
    Row::new("common off", "--no-default-features --features openmp,native", Suite::Test(GEN), 12),
    Row::new("tokenizers", "--features tokenizers", Suite::Test(GEN), 12),
    Row::new("bindgen", "--features bindgen", Suite::Test(LINK), 10).needs(&[&LIBCLANG]),
    Row::new("shared", "--features shared,common", Suite::Test(CORE), 18),
    Row::new("dynamic-backends", "--features dynamic-backends,common", Suite::Test(CORE), 30),
    // The library is a shared build that is installed as its users would.
    Row::new("dynamic", "--features dynamic,common", Suite::Test(CORE), 18)
        .env(&[("LLAMA_LIBRARY", Value::Installed("--features shared"))]),
    Row::new("dynamic, bindings", "--features dynamic,common", Suite::Test(LINK), 12)
        .env(&[("LLAMA_LIBRARY", Value::Installed("--features shared"))]),
    Row::new(
        "dynamic with cuda",
        "--features dynamic,cuda",
        Suite::Refuse("features `dynamic` and `cuda` contradict each other"),
        1,
    ),
    Row::new("own tree", "", Suite::Test(CORE), 18).env(&[("LLAMA_CPP_DIR", Value::Tree)]),
    Row::new("prebuilt, static", "", Suite::Topics(CORE, COMPUTING), 10)
        .env(&[("LLAMA_LIB_DIR", Value::Installed(""))]),
    Row::new("prebuilt, shared", "", Suite::Topics(CORE, COMPUTING), 10)
        .env(&[("LLAMA_LIB_DIR", Value::Installed("--features shared"))]),
    Row::new(
        "prebuilt, other version",
        "",
        Suite::Refuse("holds llama.cpp 0.0.1, but the bindings are for"),
        1,
    )
    .env(&[("LLAMA_LIB_DIR", Value::OfVersion(OTHER_VERSION))]),
    Row::new("panic = abort, core", "--features common", Suite::Abort(CORE, left_out::CORE), 20),
    Row::new("panic = abort, gen", "", Suite::Abort(GEN, left_out::GEN), 20),
    Row::new("rpc", "--features rpc,common", Suite::Test(CORE), 18),
    Row::new("rpc, gen", "--features rpc", Suite::Topics(GEN, RPC), 12),
    Row::new("blas", "--features blas", Suite::Test(CORE), 18).needs(&[&OPENBLAS]),
    Row::new("vulkan", "--features vulkan,common", Suite::Topics(CORE, ON_DEVICE), 30)
        .env(VULKAN_DEVICE)
        .needs(&[&VULKAN, &SHADER_COMPILER, &VULKAN_DRIVER])
        .runner(Some(Runner::LINUX.within("ubuntu:24.04", false))),
    Row::new("vulkan, gen", "--features vulkan", Suite::Topics(GEN, ON_DEVICE), 30)
        .env(VULKAN_DEVICE)
        .needs(&[&VULKAN, &SHADER_COMPILER, &VULKAN_DRIVER])
        .runner(Some(Runner::LINUX.within("ubuntu:24.04", false))),
    Row::new("cuda", "--features cuda", Suite::Topics(CORE, WITHOUT_DRIVER), 90)
        .env(ONE_ARCHITECTURE)
        .needs(&[&CUDA])
        .runner(Some(Runner::LINUX.within("nvidia/cuda:12.6.3-devel-ubuntu24.04", true)))
        .by_name(),
    Row::new("cuda, module", "--features cuda,dynamic-backends", Suite::Topics(CORE, WITHOUT_DRIVER), 90)
        .env(ONE_ARCHITECTURE)
        .needs(&[&CUDA])
        .runner(None)
        .by_name(),
    Row::new("hip", "--features hip", Suite::Build(CORE, NO_DEVICE), 30).needs(&[&ROCM]).runner(None),
    Row::new("metal", "--features metal", Suite::Test(CORE), 18)
        .needs(&[&APPLE])
        .runner(Some(Runner::LINUX.on("macos-15").build_only())),
    Row::new(
        "metal elsewhere",
        "--features metal",
        Suite::Refuse("feature `metal` needs an Apple target"),
        1,
    )
    .needs(&[&NOT_APPLE]),
    Row::new("cuda with hip", "--features cuda,hip", Suite::Refuse("features `cuda` and `hip`"), 1),
    Row::new("outside", "", Suite::Outside(Outside::PLAIN), 10),
    Row::new("outside, names", "", Suite::Outside(Outside { unusual_names: true, ..Outside::PLAIN }), 14),
    Row::new(
        "outside, other disk",
        "",
        Suite::Outside(Outside { other_file_system: true, ..Outside::PLAIN }),
        10,
    )
    .needs(&[&OTHER_FILE_SYSTEM]),
    Row::new("outside, install", "", Suite::Outside(Outside { installs: true, ..Outside::PLAIN }), 10),
    Row::new("outside, panic = abort", "", Suite::Outside(Outside { aborts: true, ..Outside::PLAIN }), 10),
    Row::new("outside, offline", "", Suite::Outside(Outside { offline: true, ..Outside::PLAIN }), 10),
    Row::new("outside, target-cpu", "", Suite::Outside(Outside::PLAIN), 10)
        .env(&[("RUSTFLAGS", Value::Text("-C target-cpu=native"))]),
    Row::new("outside, two versions", "", Suite::TwoVersions("links to the native library `llama`"), 1),
    Row::new(
        "Linux arm64, qemu",
        "--no-default-features --features openmp,common",
        Suite::Topics(CORE, COMPUTING),
        30,
    )
    .target("aarch64-unknown-linux-gnu")
    .env(&[
        ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", Value::Text("aarch64-linux-gnu-gcc")),
        (
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
            Value::Text("qemu-aarch64-static -L /usr/aarch64-linux-gnu"),
        ),
    ])
    .needs(&[&ARM64_COMPILER, &QEMU, &STD_ARM64]),
    Row::new("nothing native", "", Suite::Check(None), 5).runner(Some(Runner::LINUX.oldest_rust())),
    Row::new("macOS, nothing native", "", Suite::Check(Some(GEN)), 2)
        .target("aarch64-apple-darwin")
        .needs(&[&STD_MACOS]),
    Row::new("Windows, nothing native", "", Suite::Check(Some(GEN)), 2)
        .target("x86_64-pc-windows-msvc")
        .needs(&[&STD_WINDOWS]),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::command::words;
    use super::*;

    #[test]
    fn no_row_exists_twice() {
        let slugs: BTreeSet<_> = ROWS.iter().map(Row::slug).collect();
        assert_eq!(slugs.len(), ROWS.len(), "two rows would share a log");
        let work = |row: &Row| {
            let command = words(row, false).join(" ");
            let env: Vec<_> = row.env.iter().map(|(name, value)| format!("{name} {value:?}")).collect();
            format!("{command} {:?} {}", row.suite, env.join(" "))
        };
        let works: BTreeSet<_> = ROWS.iter().map(work).collect();
        assert_eq!(works.len(), ROWS.len(), "two rows do the same work: {works:#?}");
    }
}
