//! The library as a whole, devices, and errors.

use llama_core::device::{BackendReg, NumaStrategy, SystemReport, backend_regs, devices, init_numa, is_numa};
use llama_core::{DecodeError, Device, Error, Model, ModelParams, ParameterProblem};

use crate::Case;
use crate::values::texts;
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("init", |walk, _| (0..3).for_each(|_| walk.run("again", llama_core::init))),
    ("version", |walk, _| _ = walk.run("", llama_core::version)),
    ("system_info", |walk, _| _ = walk.run("", llama_core::system_info)),
    ("supports_mmap", |walk, _| _ = walk.run("", llama_core::device::supports_mmap)),
    ("supports_mlock", |walk, _| _ = walk.run("", llama_core::device::supports_mlock)),
    ("supports_gpu_offload", |walk, _| _ = walk.run("", llama_core::device::supports_gpu_offload)),
    ("supports_rpc", |walk, _| _ = walk.run("", llama_core::device::supports_rpc)),
    ("devices", |walk, _| _ = walk.run("", devices)),
    ("max_devices", |walk, _| _ = walk.run("", llama_core::device::max_devices)),
    ("max_tensor_overrides", |walk, _| _ = walk.run("", llama_core::model::max_tensor_overrides)),
    ("init_numa", |walk, _| {
        // Before the library is in use, when this is the only case, and afterwards.
        for strategy in [NumaStrategy::Numactl, NumaStrategy::Isolate, NumaStrategy::Distribute] {
            walk.call(format!("{strategy:?}"), || init_numa(strategy));
            walk.run("in use", llama_core::init);
        }
    }),
    ("is_numa", |walk, _| _ = walk.run("", is_numa)),
    ("backend_regs", |walk, _| _ = walk.run("", || format!("{:?}", backend_regs()))),
    ("ParameterProblem::new", |walk, _| {
        names(walk, |name| _ = ParameterProblem::new(name, f32::NAN, name).to_string());
    }),
    ("BackendReg::by_name", |walk, _| names(walk, |name| _ = BackendReg::by_name(name))),
    ("BackendReg::as_ptr", |walk, _| each_backend(walk, |backend| assert!(!backend.as_ptr().is_null()))),
    ("BackendReg::name", |walk, _| each_backend(walk, |backend| _ = backend.name())),
    ("BackendReg::devices", |walk, _| each_backend(walk, |backend| _ = backend.devices())),
    ("BackendReg::features", |walk, _| each_backend(walk, |backend| _ = backend.features())),
    ("SystemReport::new", |walk, _| _ = walk.run("", || SystemReport::new().to_string())),
    ("SystemReport::devices", |walk, _| _ = walk.run("", || SystemReport::new().devices().count())),
    ("Device::by_name", |walk, _| names(walk, |name| _ = Device::by_name(name))),
    ("Device::cpu", |walk, _| walk.run("", || assert!(Device::cpu().is_some()))),
    ("Device::id", |walk, _| each_device(walk, |device| _ = device.id())),
    ("Device::capabilities", |walk, _| each_device(walk, |device| _ = device.capabilities())),
    ("Device::backend_reg", |walk, _| each_device(walk, |device| _ = device.backend_reg())),
    ("Device::as_ptr", |walk, _| each_device(walk, |device| assert!(!device.as_ptr().is_null()))),
    ("Device::name", |walk, _| each_device(walk, |device| _ = device.name())),
    ("Device::description", |walk, _| each_device(walk, |device| _ = device.description())),
    ("Device::kind", |walk, _| each_device(walk, |device| _ = device.kind())),
    ("Device::memory", |walk, _| each_device(walk, |device| _ = device.memory())),
    ("Error::kind", |walk, _| _ = walk.run("", || format!("{:?}", error().kind()))),
    ("Error::log", |walk, _| _ = walk.run("", || error().log().len())),
    ("DecodeError::memory_is_restored", |walk, _| {
        for error in [DecodeError::NoSlot, DecodeError::Aborted, DecodeError::InvalidBatch] {
            walk.run(error, || error.memory_is_restored());
        }
    }),
];

fn each_device(walk: &mut Walk, run: impl Fn(&Device)) {
    for device in devices() {
        walk.run("", || run(&device));
    }
}

fn each_backend(walk: &mut Walk, run: impl Fn(&BackendReg)) {
    for backend in backend_regs() {
        walk.run("", || run(&backend));
    }
}

fn names(walk: &mut Walk, find: impl Fn(&str)) {
    for name in texts() {
        walk.run(name.len(), || find(&name));
    }
}

fn error() -> Error {
    Model::load("\0", &ModelParams::default()).unwrap_err()
}
