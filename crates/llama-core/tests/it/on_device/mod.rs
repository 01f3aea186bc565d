//! Models on a GPU, compared with the same models on the CPU: layers, logits, texts, states, samplers, embeddings, adapters,
//! plans, aborts, and memory that is not there.
//!
//! `LLAMA_TEST_DEVICE` names the device, for example `Vulkan0`; a device that is not there is then a failure. Without the
//! variable the tests use the first GPU, and where there is none they say so and pass. Mesa's lavapipe is a GPU for these tests:
//! `GGML_VK_VISIBLE_DEVICES=0 LLAMA_TEST_DEVICE=Vulkan0`.

mod batches;
mod layers;
mod results;
mod states;
mod stops;

use std::env;
use std::io::Write as _;
use std::path::Path;

use crate::greedy::difference;
use llama_core::device::DeviceKind;
use llama_core::{Device, Model, ModelParams, device};

/// The variable that names the device.
const LLAMA_TEST_DEVICE: &str = "LLAMA_TEST_DEVICE";

/// Returns the device of the tests, or `None` after a line that says that there is none.
fn gpu() -> Option<Device> {
    if let Some(name) = env::var(LLAMA_TEST_DEVICE).ok().filter(|name| !name.is_empty()) {
        return Some(Device::by_name(&name).unwrap_or_else(|| {
            let names: Vec<String> = device::devices().iter().map(Device::name).collect();
            panic!("{LLAMA_TEST_DEVICE} is {name}, but must be one of {names:?}")
        }));
    }
    let is_gpu = |device: &Device| matches!(device.kind(), DeviceKind::Gpu | DeviceKind::IntegratedGpu);
    let found = device::devices().into_iter().find(is_gpu);
    if found.is_none() {
        let mut log = std::io::stderr();
        writeln!(log, "skipped: there is no GPU, and {LLAMA_TEST_DEVICE} names no device").unwrap();
    }
    found
}

/// The largest difference of two rows, relative to the largest value of the CPU's row.
///
/// Measured on lavapipe: 2.1e-2 for a quantised model with quantised keys, because the CPU also quantises what it multiplies
/// with; 4.5e-3 for a model of 16-bit numbers; 1e-3 for states that have moved.
const TOLERANCE: f32 = 4e-2;

/// Asserts that a row of the device is as close to the CPU's as the tolerance says, and prints the difference, which
/// `--nocapture` shows.
#[track_caller]
fn assert_close(expected: &[f32], found: &[f32], what: impl std::fmt::Display) {
    let worst = difference(expected, found);
    let mut log = std::io::stdout();
    writeln!(log, "{what}: {worst:.1e}").unwrap();
    assert!(worst < TOLERANCE, "{what}: {worst}");
}

/// Loads a model with all layers on a device.
fn on(device: Device, path: impl AsRef<Path>) -> Model {
    Model::load(path.as_ref(), &ModelParams::default().devices([device])).unwrap()
}

/// Loads a model with all layers on the CPU.
fn on_cpu(path: impl AsRef<Path>) -> Model {
    Model::load(path.as_ref(), &ModelParams::default().devices([])).unwrap()
}
