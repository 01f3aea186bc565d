//! The library as a whole, devices, and errors.

use llama_core::{DecodeError, Device, Error, Model, ModelParams, devices};

use crate::Case;
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("init", |walk, _| (0..3).for_each(|_| walk.run("again", llama_core::init))),
    ("version", |walk, _| _ = walk.run("", llama_core::version)),
    ("system_info", |walk, _| _ = walk.run("", llama_core::system_info)),
    ("supports_mmap", |walk, _| _ = walk.run("", llama_core::supports_mmap)),
    ("supports_mlock", |walk, _| _ = walk.run("", llama_core::supports_mlock)),
    ("supports_gpu_offload", |walk, _| _ = walk.run("", llama_core::supports_gpu_offload)),
    ("supports_rpc", |walk, _| _ = walk.run("", llama_core::supports_rpc)),
    ("devices", |walk, _| _ = walk.run("", devices)),
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

fn error() -> Error {
    Model::load("\0", &ModelParams::default()).unwrap_err()
}
