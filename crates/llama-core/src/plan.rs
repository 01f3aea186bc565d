//! The memory that a model and a context need, computed before it is allocated.

mod guess;
mod limits;
mod measure;

use core::fmt;

pub(crate) use limits::{explain_context, explain_weights, refuse_context, refuse_weights};
use measure::Measured;

use crate::context::{ContextParams, RawContext};
use crate::device::Device;
use crate::device::host_memory::HostMemory;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::exit;
use crate::model::{Model, ModelParams, ModelSource, load_without_weights};

/// The memory that a model and a context take on every device, and the memory that each device has. llama.cpp
/// computes the sizes by laying everything out without allocating.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LoadPlan {
    devices: Vec<DevicePlan>,
    estimated: bool,
}

/// The part of a [`LoadPlan`] for one device. All numbers are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DevicePlan {
    /// The device. The CPU's memory is the system's memory, including memory that is pinned for other devices.
    pub device: Device,
    /// The weights.
    pub weights: u64,
    /// The part of the weights that stays in the mapped file, from which the system can read it again.
    pub mapped: u64,
    /// The memory of the sequences: the cache of keys and values, or the recurrent state.
    pub memory: u64,
    /// The intermediate results of one micro-batch.
    pub compute: u64,
    /// An estimate of what llama.cpp allocates beside its buffers: the bookkeeping of the cache and the first rows
    /// of results. Larger batches of results take more.
    pub overhead: u64,
    /// The memory that is free now.
    pub free: u64,
    /// The device's total memory.
    pub total: u64,
}

/// The memory that a context and its model take on one device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct MemoryUse {
    /// The device.
    pub device: Device,
    /// The model's weights, which all its contexts share.
    pub weights: u64,
    /// The memory of the sequences.
    pub memory: u64,
    /// The intermediate results.
    pub compute: u64,
}

impl Model {
    /// Computes how much memory a model and a context with these parameters would take, and whether it fits. Reads
    /// the metadata and allocates no weights and no cache. Takes as long as loading the vocabulary.
    ///
    /// ```
    /// use llama_core::{ContextParams, Model, ModelParams};
    ///
    /// # let path = test_models::Tiny::Llama.path();
    /// let plan = Model::plan(&path, &ModelParams::default(), &ContextParams::default().n_ctx(4096))?;
    /// assert!(plan.fits());
    /// for device in plan.devices() {
    ///     println!("{}: {} of {} bytes", device.device.name(), device.required(), device.free);
    /// }
    /// # Ok::<(), llama_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`Model::load`] and [`Context::new`](crate::Context::new), except for lack of memory.
    /// [`ErrorKind::Unsupported`] for parameters that load no weights, and if a prebuilt library was linked without
    /// llama.cpp's own headers.
    pub fn plan(
        source: impl Into<ModelSource>,
        model: &ModelParams,
        context: &ContextParams,
    ) -> Result<LoadPlan> {
        let _inside = exit::enter()?;
        let source = source.into();
        check_possible(model)?;
        context.to_raw()?;
        let (planned, maps) = load_without_weights(&source, model)?;
        let (measured, estimated) = measure::measure(&planned, context)?;
        Ok(LoadPlan::new(measured, maps, estimated))
    }

    /// Computes how much of the free memory another context would take. The weights are already loaded and count as
    /// 0.
    ///
    /// # Errors
    ///
    /// The errors of [`Model::plan`]. The file of the model must still exist. [`ErrorKind::Unsupported`] for a model
    /// created in memory.
    pub fn plan_context(&self, context: &ContextParams) -> Result<LoadPlan> {
        let Some(source) = self.source() else {
            let reason = "it was created in memory, and has no file from which to plan".to_owned();
            return Err(ErrorKind::Unsupported { operation: "planning memory", reason }.into());
        };
        let mut plan = Self::plan(source.clone(), self.params(), context)?;
        plan.devices.iter_mut().for_each(|device| (device.weights, device.mapped) = (0, 0));
        Ok(plan)
    }
}

/// Returns the memory that a context and its model take on every device.
pub(crate) fn memory_use(context: &RawContext) -> Result<Vec<MemoryUse>> {
    let buffers = measure::buffers(context)?;
    Ok(buffers.into_iter().map(Measured::into_use).collect())
}

/// Returns the plan of a model's weights alone.
fn weights(source: &ModelSource, params: &ModelParams) -> Result<LoadPlan> {
    check_possible(params)?;
    let (planned, maps) = load_without_weights(source, params)?;
    let smallest = ContextParams::default().n_ctx(1).n_batch(1).n_ubatch(1).n_threads(1);
    let (mut measured, _) = measure::measure(&planned, &smallest)?;
    measured.iter_mut().for_each(Measured::keep_weights);
    Ok(LoadPlan::new(measured, maps, false))
}

fn check_possible(params: &ModelParams) -> Result<()> {
    if params.is_vocab_only() {
        let reason = "it is loaded with vocab_only and has no weights".to_owned();
        return Err(ErrorKind::Unsupported { operation: "planning memory", reason }.into());
    }
    measure::check_available()
}

impl LoadPlan {
    fn new(measured: Vec<Measured>, maps: bool, estimated: bool) -> Self {
        let host = HostMemory::now();
        let devices = measured.into_iter().map(|device| device.into_plan(&host, maps)).collect();
        Self { devices, estimated }
    }

    /// Returns all devices that hold a part. The CPU is last.
    #[must_use]
    pub fn devices(&self) -> &[DevicePlan] {
        &self.devices
    }

    /// Returns the bytes of weights on all devices.
    #[must_use]
    pub fn weights(&self) -> u64 {
        self.sum(|device| device.weights)
    }

    /// Returns the bytes of the sequences' memory on all devices.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.sum(|device| device.memory)
    }

    /// Returns the bytes of intermediate results on all devices.
    #[must_use]
    pub fn compute(&self) -> u64 {
        self.sum(|device| device.compute)
    }

    /// Returns the sum of all bytes on all devices.
    #[must_use]
    pub fn required(&self) -> u64 {
        self.sum(DevicePlan::required)
    }

    /// Returns whether every device has room for its part.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.devices.iter().all(DevicePlan::fits)
    }

    /// Returns whether every device has room for the part that cannot be read again from the model's file. If this
    /// is true and [`fits`](LoadPlan::fits) is false, the model runs slowly, because the system reads parts of the
    /// file again and again.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.devices.iter().all(|device| device.required() - device.mapped <= device.free)
    }

    /// Returns whether the numbers were extrapolated from smaller contexts. llama.cpp needs too much memory to lay
    /// out more than a million tokens, or more than 4096 at a time. The numbers are then a lower bound.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        self.estimated
    }

    /// Returns the error for a `model` or a `context` of this plan.
    fn does_not_fit(&self, what: &'static str) -> Error {
        ErrorKind::DoesNotFit {
            what,
            weights: self.weights(),
            memory: self.memory(),
            compute: self.compute(),
            required: self.required(),
            free: self.sum(|device| device.free),
            estimated: self.estimated,
            plan: self.to_string(),
        }
        .into()
    }

    fn sum(&self, bytes: impl Fn(&DevicePlan) -> u64) -> u64 {
        self.devices.iter().map(bytes).fold(0, u64::saturating_add)
    }
}

impl DevicePlan {
    /// Returns the sum of all bytes on this device.
    #[must_use]
    pub fn required(&self) -> u64 {
        [self.weights, self.memory, self.compute, self.overhead].into_iter().fold(0, u64::saturating_add)
    }

    /// Returns whether the device has room for its part.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.required() <= self.free
    }
}

impl fmt::Display for LoadPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.estimated {
            write!(f, "at least ")?;
        }
        for (index, device) in self.devices.iter().enumerate() {
            if index > 0 {
                write!(f, "; ")?;
            }
            write!(f, "{device}")?;
        }
        Ok(())
    }
}

impl fmt::Display for DevicePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} (", Bytes(self.required()), self.device.name())?;
        let parts = [
            ("weights", self.weights),
            ("memory", self.memory),
            ("compute", self.compute),
            ("overhead", self.overhead),
        ];
        for (index, (name, bytes)) in parts.into_iter().filter(|(_, bytes)| *bytes > 0).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {}", Bytes(bytes))?;
        }
        write!(f, "), where {} of {} are free", Bytes(self.free), Bytes(self.total))
    }
}

/// A number of bytes, displayed with a unit.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut unit = "B";
        let (mut scale, mut tenths) = (1_u128, u128::from(self.0) * 10);
        for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
            if tenths / scale < 10_240 {
                break;
            }
            (unit, scale) = (next, scale * 1024);
        }
        if scale == 1 {
            return write!(f, "{} B", self.0);
        }
        tenths /= scale;
        write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::Bytes;

    #[test]
    fn bytes_are_displayed_with_a_unit() {
        let text = |bytes| Bytes(bytes).to_string();
        assert_eq!(text(0), "0 B");
        assert_eq!(text(1023), "1023 B");
        assert_eq!(text(1024), "1.0 KiB");
        assert_eq!(text(1536 << 20), "1.5 GiB");
        assert_eq!(text(u64::MAX), "15.9 EiB");
    }
}
