//! Asking llama.cpp for the memory that a context would take.

use super::{DevicePlan, MemoryUse};
use crate::context::{ContextParams, RawContext};
use crate::device::host_memory::HostMemory;
use crate::device::{Device, DeviceKind};
use crate::error::{ErrorKind, Result};
use crate::ffi::guard::guarded;
use crate::model::Model;
use crate::plan::guess;

/// The largest context in tokens that is laid out at its own size. llama.cpp keeps some 50 bytes for each token.
const MOST_TOKENS: u64 = 1 << 20;

/// The largest micro-batch in tokens that is laid out at its own size. The graphs of some architectures grow with
/// it.
const MOST_AT_ONCE: u64 = 1 << 12;

/// The bytes that are placed on one device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    device: Device,
    weights: u64,
    /// The part of the weights that is used as it is in the file.
    plain: u64,
    memory: u64,
    compute: u64,
    overhead: u64,
}

impl Measured {
    pub(super) fn into_use(self) -> MemoryUse {
        let Self { device, weights, memory, compute, .. } = self;
        MemoryUse { device, weights, memory, compute }
    }

    /// Converts to a plan. `maps` states whether weights that are used as they are in the file stay there.
    pub(super) fn into_plan(self, host: &HostMemory, maps: bool) -> DevicePlan {
        let Self { device, weights, plain, memory, compute, overhead } = self;
        let (free, total) = match device.kind() {
            DeviceKind::Cpu => (host.available, host.total),
            _ => {
                let memory = device.memory();
                (memory.free as u64, memory.total as u64)
            }
        };
        let mapped = if maps { plain } else { 0 };
        DevicePlan { device, weights, mapped, memory, compute, overhead, free, total }
    }

    pub(super) fn keep_weights(&mut self) {
        (self.memory, self.compute, self.overhead) = (0, 0, 0);
    }
}

/// Fails if the linked library cannot report the sizes. Corresponds to `llama_shim_has_memory_breakdown`.
pub(super) fn check_available() -> Result<()> {
    // SAFETY: takes no arguments.
    if unsafe { guarded!(llama_shim_has_memory_breakdown()) }? {
        return Ok(());
    }
    let reason =
        "llama.cpp's library came without src/llama-ext.h or its functions, which are needed for the sizes: build from source"
            .to_owned();
    Err(ErrorKind::Unsupported { operation: "planning memory", reason }.into())
}

/// Measures what a context of a model without weights would take. The flag states whether the result is
/// extrapolated.
pub(super) fn measure(model: &Model, params: &ContextParams) -> Result<(Vec<Measured>, bool)> {
    let tokens = guess::n_ctx(model, params);
    let at_once = u64::from(params.n_ubatch.min(params.n_batch));
    let estimated = tokens > MOST_TOKENS || at_once > MOST_AT_ONCE;
    let mut measured = if estimated {
        extrapolate(tokens, MOST_TOKENS, |tokens| {
            extrapolate(at_once, MOST_AT_ONCE, |at_once| lay_out(model, params, tokens, at_once))
        })?
    } else {
        buffers(&RawContext::create(model, params, None)?)?
    };
    let overhead = guess::overhead(model, params);
    for device in measured.iter_mut().filter(|device| device.device.kind() == DeviceKind::Cpu) {
        device.overhead = overhead;
    }
    Ok((measured, estimated))
}

/// Measures at `x`, or beyond the limit extrapolates linearly from the limit and its half: sizes of buffers grow
/// with the number of tokens.
fn extrapolate(
    x: u64,
    limit: u64,
    mut measure: impl FnMut(u64) -> Result<Vec<Measured>>,
) -> Result<Vec<Measured>> {
    if x <= limit {
        return measure(x);
    }
    let (first, second) = (measure(limit / 2)?, measure(limit)?);
    let line = |first: u64, second: u64| {
        let rise = second.saturating_sub(first);
        let steps = u128::from(x - limit / 2);
        let value = u128::from(first) + u128::from(rise) * steps / u128::from(limit - limit / 2);
        u64::try_from(value).unwrap_or(u64::MAX)
    };
    Ok(first
        .iter()
        .zip(&second)
        .map(|(first, second)| Measured {
            device: second.device,
            weights: second.weights,
            plain: second.plain,
            memory: line(first.memory, second.memory),
            compute: line(first.compute, second.compute),
            overhead: 0,
        })
        .collect())
}

/// Measures a context of another size.
fn lay_out(model: &Model, params: &ContextParams, tokens: u64, at_once: u64) -> Result<Vec<Measured>> {
    let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let at_once = small(at_once);
    let params = params.clone().n_ctx(small(tokens)).n_ubatch(at_once).n_batch(at_once.max(params.n_seq_max));
    buffers(&RawContext::create(model, &params, None)?)
}

/// Returns the buffers of a context and its model, summed for each device. The CPU is last.
pub(super) fn buffers(context: &RawContext) -> Result<Vec<Measured>> {
    check_available()?;
    let mut measured: Vec<Measured> = Vec::new();
    let cpu = Device::cpu();
    // SAFETY: takes no arguments and returns a constant that always exists.
    let plain = unsafe { llama_sys::ggml_backend_cpu_buffer_type() };
    for raw in raw_buffers(context)? {
        let named =
            Device::from_raw(raw.device).filter(|device| device.kind() != DeviceKind::Cpu && !raw.is_host);
        let Some(device) = named.or(cpu) else { continue };
        let index = measured.iter().position(|entry| entry.device == device).unwrap_or_else(|| {
            measured.push(Measured { device, weights: 0, plain: 0, memory: 0, compute: 0, overhead: 0 });
            measured.len() - 1
        });
        measured[index].weights += raw.model;
        if raw.buffer_type == plain {
            measured[index].plain += raw.model;
        }
        measured[index].memory += raw.context;
        measured[index].compute += raw.compute;
    }
    let order = crate::device::devices();
    measured.sort_by_key(|entry| {
        (entry.device.kind() == DeviceKind::Cpu, order.iter().position(|d| *d == entry.device))
    });
    Ok(measured)
}

/// Returns the entries that the shim reports, one for each buffer type. Corresponds to
/// `llama_shim_memory_breakdown`.
fn raw_buffers(context: &RawContext) -> Result<Vec<llama_sys::llama_shim_buffer_use>> {
    let empty = llama_sys::llama_shim_buffer_use {
        buffer_type: core::ptr::null_mut(),
        device: core::ptr::null_mut(),
        is_host: false,
        model: 0,
        context: 0,
        compute: 0,
    };
    let mut entries = vec![empty; 32];
    loop {
        let (pointer, capacity) = (entries.as_mut_ptr(), entries.len());
        // SAFETY: the context is valid and only read, and the array has `capacity` entries.
        let count = unsafe { guarded!(llama_shim_memory_breakdown(context.as_ptr(), pointer, capacity)) }?;
        let enough = count <= capacity;
        entries.resize(count, empty);
        if enough {
            return Ok(entries);
        }
    }
}
