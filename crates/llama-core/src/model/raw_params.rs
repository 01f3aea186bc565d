//! Model parameters in C's form, and the arrays to which they point.

use std::collections::HashSet;
use std::ffi::CString;

use super::kv_override::KvOverride;
use super::params::{LazyMode, LoadMode, ModelParams, SplitMode, invalid};
use super::tensor_override::TensorOverride;
use crate::device::{Device, DeviceKind};
use crate::error::Result;
use crate::ffi::guard::guarded;

/// llama.cpp's parameters with their arrays, which must live until the model is loaded. Afterwards llama.cpp keeps
/// none of the pointers (llama-model.cpp copies the proportions).
pub(crate) struct RawModelParams {
    raw: llama_sys::llama_model_params,
    /// The devices, NULL-terminated.
    devices: Option<Vec<llama_sys::ggml_backend_dev_t>>,
    /// The proportions, one for each possible device.
    tensor_split: Option<Vec<f32>>,
    /// The texts to which `tensor_overrides` point.
    _patterns: Vec<CString>,
    /// The overrides, terminated by an entry without a pattern.
    tensor_overrides: Vec<llama_sys::llama_model_tensor_buft_override>,
    /// The overrides, terminated by an entry with an empty key.
    kv_overrides: Vec<llama_sys::llama_model_kv_override>,
}

impl RawModelParams {
    pub(super) fn new(params: &ModelParams) -> Result<Self> {
        let patterns = patterns(params)?;
        Ok(Self {
            raw: scalars(params)?,
            devices: params.devices.as_deref().map(devices).transpose()?,
            tensor_split: tensor_split(&params.tensor_split)?,
            tensor_overrides: tensor_overrides(params, &patterns)?,
            _patterns: patterns,
            kv_overrides: kv_overrides(&params.kv_overrides)?,
        })
    }

    /// Returns the struct for C. Its pointers are valid as long as `self` is borrowed.
    pub(super) fn as_raw(&mut self) -> llama_sys::llama_model_params {
        let mut raw = self.raw;
        if let Some(devices) = &mut self.devices {
            raw.devices = devices.as_mut_ptr();
        }
        if let Some(split) = &self.tensor_split {
            raw.tensor_split = split.as_ptr();
        }
        if !self.tensor_overrides.is_empty() {
            raw.tensor_buft_overrides = self.tensor_overrides.as_ptr();
        }
        if !self.kv_overrides.is_empty() {
            raw.kv_overrides = self.kv_overrides.as_ptr();
        }
        raw
    }

    /// Sets the function that receives the progress, and its argument.
    pub(super) fn set_progress(
        &mut self,
        callback: llama_sys::llama_progress_callback,
        data: *mut core::ffi::c_void,
    ) {
        self.raw.progress_callback = callback;
        self.raw.progress_callback_user_data = data;
    }

    /// Keeps weights in the plain layout.
    pub(super) fn without_extra_bufts(&mut self) {
        self.raw.use_extra_bufts = false;
    }

    /// Disables mapping. Data that would be mapped is read, including tensors that would be read on demand by
    /// mapping.
    pub(super) fn without_mapping(&mut self) {
        use llama_sys::llama_load_mode as Load;
        if matches!(self.raw.load_mode, Load::LLAMA_LOAD_MODE_AUTO | Load::LLAMA_LOAD_MODE_MMAP) {
            self.raw.load_mode = Load::LLAMA_LOAD_MODE_NONE;
        }
        self.raw.lazy_mode = llama_sys::llama_lazy_mode::LLAMA_LAZY_MODE_OFF;
    }
}

/// Returns the parameters that are numbers and switches. Corresponds to `llama_model_default_params`.
fn scalars(params: &ModelParams) -> Result<llama_sys::llama_model_params> {
    use llama_sys::{llama_lazy_mode as Lazy, llama_load_mode as Load, llama_split_mode as Split};
    // SAFETY: takes no arguments.
    let mut raw = unsafe { guarded!(llama_model_default_params()) }?;
    raw.n_gpu_layers = params.n_gpu_layers;
    raw.split_mode = match params.split_mode {
        SplitMode::None => Split::LLAMA_SPLIT_MODE_NONE,
        SplitMode::Layer => Split::LLAMA_SPLIT_MODE_LAYER,
        SplitMode::Row => Split::LLAMA_SPLIT_MODE_ROW,
        SplitMode::Tensor => Split::LLAMA_SPLIT_MODE_TENSOR,
    };
    raw.main_gpu = i32::try_from(params.main_gpu)
        .map_err(|_| invalid("main_gpu", &params.main_gpu, format!("an index of a GPU (0..{})", i32::MAX)))?;
    raw.load_mode = match params.load_mode {
        // llama.cpp asserts that nothing is mapped if nothing is allocated (llama-model.cpp, load_tensors).
        _ if params.no_alloc => Load::LLAMA_LOAD_MODE_NONE,
        LoadMode::Auto => Load::LLAMA_LOAD_MODE_AUTO,
        LoadMode::Read => Load::LLAMA_LOAD_MODE_NONE,
        LoadMode::Mmap => Load::LLAMA_LOAD_MODE_MMAP,
        LoadMode::Mlock => Load::LLAMA_LOAD_MODE_MLOCK,
        LoadMode::MmapMlock => Load::LLAMA_LOAD_MODE_MMAP_MLOCK,
        LoadMode::DirectIo => Load::LLAMA_LOAD_MODE_DIRECT_IO,
    };
    raw.lazy_mode = match params.lazy_mode {
        LazyMode::Off => Lazy::LLAMA_LAZY_MODE_OFF,
        LazyMode::Auto => Lazy::LLAMA_LAZY_MODE_AUTO,
        LazyMode::On => Lazy::LLAMA_LAZY_MODE_ON,
    };
    raw.vocab_only = params.vocab_only;
    raw.no_alloc = params.no_alloc;
    raw.check_tensors = params.check_tensors;
    raw.use_extra_bufts = params.use_extra_bufts;
    raw.no_host = params.no_host;
    raw.load_mtp = params.load_mtp;
    Ok(raw)
}

fn devices(devices: &[Device]) -> Result<Vec<llama_sys::ggml_backend_dev_t>> {
    let names = || devices.iter().map(Device::name).collect::<Vec<_>>().join(", ");
    let most = crate::device::max_devices();
    if devices.len() > most {
        return Err(invalid("devices", &names(), format!("at most {most} devices")));
    }
    let mut seen = HashSet::new();
    for device in devices {
        if matches!(device.kind(), DeviceKind::Cpu | DeviceKind::Accelerator) {
            let reason = format!("a list of GPUs only: {} always takes part", device.name());
            return Err(invalid("devices", &names(), reason));
        }
        if !seen.insert(device) {
            return Err(invalid(
                "devices",
                &names(),
                format!("a list without duplicates: {} is named twice", device.name()),
            ));
        }
    }
    Ok(devices.iter().map(Device::raw).chain([core::ptr::null_mut()]).collect())
}

fn tensor_split(proportions: &[f32]) -> Result<Option<Vec<f32>>> {
    if proportions.is_empty() {
        return Ok(None);
    }
    let refuse = |reason| Err(invalid("tensor_split", &format!("{proportions:?}"), reason));
    let most = crate::device::max_devices();
    if proportions.len() > most {
        return refuse(format!("at most {most} parts, one for each device"));
    }
    if proportions.iter().any(|part| !part.is_finite() || *part < 0.0) {
        return refuse("finite numbers of at least 0".to_owned());
    }
    if !proportions.iter().sum::<f32>().is_finite() {
        return refuse("proportions with a finite sum: use smaller numbers".to_owned());
    }
    let mut all = proportions.to_vec();
    all.resize(most, 0.0);
    Ok(Some(all))
}

fn patterns(params: &ModelParams) -> Result<Vec<CString>> {
    let (count, most) = (params.tensor_overrides.len(), crate::model::max_tensor_overrides());
    if count > most {
        return Err(invalid(
            "tensor_override",
            &format!("set {count} times"),
            format!("set at most {most} times"),
        ));
    }
    params.tensor_overrides.iter().map(TensorOverride::pattern).collect()
}

fn tensor_overrides(
    params: &ModelParams,
    patterns: &[CString],
) -> Result<Vec<llama_sys::llama_model_tensor_buft_override>> {
    if patterns.is_empty() {
        return Ok(Vec::new());
    }
    let end = llama_sys::llama_model_tensor_buft_override {
        pattern: core::ptr::null(),
        buft: core::ptr::null_mut(),
    };
    let overrides = params.tensor_overrides.iter().zip(patterns).map(|(tensors, pattern)| {
        let buft = tensors.buffer_type(params.devices.as_deref())?;
        Ok(llama_sys::llama_model_tensor_buft_override { pattern: pattern.as_ptr(), buft })
    });
    overrides.chain([Ok(end)]).collect()
}

fn kv_overrides(overrides: &[KvOverride]) -> Result<Vec<llama_sys::llama_model_kv_override>> {
    if overrides.is_empty() {
        return Ok(Vec::new());
    }
    overrides.iter().map(KvOverride::to_raw).chain([Ok(KvOverride::end())]).collect()
}
