//! The places of single tensors, by patterns of their names.

use std::ffi::CString;

use super::params::invalid;
use crate::device::{Device, DeviceKind};
use crate::error::Result;
use crate::ffi::guard::guarded;
use crate::ffi::regex;
use crate::ffi::string::to_c;

/// The longest pattern in bytes. C++ parses patterns by recursion, and deeply nested ones would exhaust the stack.
const MAX_PATTERN: usize = 256;

/// The place of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorPlace {
    /// The CPU, in the best arrangement.
    Cpu,
    /// A device that the model uses.
    Device(Device),
}

impl From<Device> for TensorPlace {
    fn from(device: Device) -> Self {
        if device.kind() == DeviceKind::Cpu { Self::Cpu } else { Self::Device(device) }
    }
}

/// A pattern and a place. Corresponds to `llama_model_tensor_buft_override`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TensorOverride {
    pub(super) pattern: String,
    pub(super) place: TensorPlace,
}

impl TensorOverride {
    /// Returns the pattern for C, after checking that C++ can read it.
    pub(super) fn pattern(&self) -> Result<CString> {
        let pattern = to_c("pattern of a tensor_override", &self.pattern)?;
        if self.pattern.len() > MAX_PATTERN {
            let excerpt: String = self.pattern.chars().take(40).collect();
            let reason = format!("at most {MAX_PATTERN} bytes long (it has {})", self.pattern.len());
            return Err(invalid("tensor_override", &format!("{excerpt}…"), reason));
        }
        match regex::refusal(&pattern)? {
            None => Ok(pattern),
            Some(message) => {
                let reason = format!("a regular expression: {message}");
                Err(invalid("tensor_override", &self.pattern, reason))
            }
        }
    }

    /// Returns the buffer type of the place. `devices` are the devices for the model, if they were named.
    pub(super) fn buffer_type(
        &self,
        devices: Option<&[Device]>,
    ) -> Result<llama_sys::ggml_backend_buffer_type_t> {
        match self.place {
            // SAFETY: takes no arguments.
            TensorPlace::Cpu => unsafe { guarded!(ggml_backend_cpu_buffer_type()) },
            TensorPlace::Device(device) => {
                if devices.is_some_and(|devices| !devices.contains(&device)) {
                    let reason =
                        format!("for a device that the model uses: add {} to devices", device.name());
                    return Err(invalid("tensor_override", &self.pattern, reason));
                }
                Ok(device.buffer_type())
            }
        }
    }
}
