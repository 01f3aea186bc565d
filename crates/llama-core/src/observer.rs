//! Observation of the tensors of a computation: the scheduler's evaluation callback.

use core::ffi::{CStr, c_char, c_void};
use core::ops::ControlFlow;
use std::borrow::Cow;

use llama_gguf::TensorType;

use crate::error::{ErrorKind, Result};
use crate::ffi::guard::guarded;

/// An observer of the results of a model's operations while they are computed. Passed to
/// [`Context::with_observer`](crate::Context::with_observer).
///
/// Observed operations are computed one by one, and their results are copied, which takes time: let
/// [`wants`](Observer::wants) return true for as few as possible. A closure observes all of them.
///
/// It is called by the thread that decodes. A panic ends the computation like [`ControlFlow::Break`], and is resumed
/// by [`decode`](crate::Context::decode).
///
/// ```
/// use core::ops::ControlFlow;
/// use llama_core::observer::{TensorData, TensorInfo};
/// use llama_core::{Batch, Context, ContextParams, Model, ModelParams, Observer, Pos, SeqId, Token};
///
/// /// Prints the last layer's output.
/// struct Print;
///
/// impl Observer for Print {
///     fn wants(&mut self, tensor: &TensorInfo<'_>) -> bool {
///         tensor.name() == "l_out-1"
///     }
///
///     fn observe(&mut self, tensor: &TensorData<'_>) -> ControlFlow<()> {
///         let mut values = Vec::new();
///         if tensor.to_f32(&mut values).is_ok() {
///             println!("{} {:?}: {:?}", tensor.info().name(), tensor.info().shape(), &values[..4]);
///         }
///         ControlFlow::Continue(())
///     }
/// }
///
/// # fn main() -> Result<(), llama_core::Error> {
/// # let model = Model::load(test_models::Tiny::Llama.path(), &ModelParams::default())?;
/// let mut context = Context::with_observer(&model, &ContextParams::default(), Print)?;
/// let mut batch = Batch::new();
/// batch.push_prompt(&[Token::new(5)], SeqId::new(0), Pos::new(0))?;
/// context.decode(&batch)?;
/// # Ok(())
/// # }
/// ```
///
/// Corresponds to `ggml_backend_sched_eval_callback`.
pub trait Observer: Send + 'static {
    /// Returns whether to observe the result of this operation. Called before it is computed.
    fn wants(&mut self, tensor: &TensorInfo<'_>) -> bool {
        let _ = tensor;
        true
    }

    /// Observes the result of an operation. With [`ControlFlow::Break`] the computation ends with
    /// [`DecodeError::Cancelled`](crate::DecodeError::Cancelled); on GPUs it may run to its end first.
    fn observe(&mut self, tensor: &TensorData<'_>) -> ControlFlow<()>;
}

impl<F: FnMut(&TensorData<'_>) -> ControlFlow<()> + Send + 'static> Observer for F {
    fn observe(&mut self, tensor: &TensorData<'_>) -> ControlFlow<()> {
        self(tensor)
    }
}

/// The properties of a tensor before it is computed.
#[derive(Clone, Copy)]
pub struct TensorInfo<'t> {
    /// The C tensor. It is neither `Send` nor `Sync`: tensors belong to C and stay on the observing thread.
    raw: &'t llama_sys::ggml_tensor,
}

impl<'t> TensorInfo<'t> {
    pub(crate) fn new(raw: &'t llama_sys::ggml_tensor) -> Self {
        Self { raw }
    }

    /// Returns the name, for example `l_out-1`: llama.cpp's name of the result, and the layer.
    #[must_use]
    pub fn name(&self) -> Cow<'t, str> {
        let name = &self.raw.name;
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        // SAFETY: `c_char` has the size and every value of `u8`, and the slice is a part of the array.
        String::from_utf8_lossy(unsafe { core::slice::from_raw_parts(name.as_ptr().cast::<u8>(), length) })
    }

    /// Returns the operation, for example `MUL_MAT` or `SILU`. Corresponds to `ggml_op_desc`.
    #[must_use]
    pub fn op(&self) -> Cow<'static, str> {
        // SAFETY: the tensor is valid, and ggml has a name for its operation, since it computes it.
        lossy(unsafe { llama_sys::ggml_op_desc(self.raw) })
    }

    /// Returns the number of elements in each of the four dimensions; the first is the length of a row.
    #[must_use]
    pub fn shape(&self) -> [usize; 4] {
        self.raw.ne.map(|n| usize::try_from(n).unwrap_or(0))
    }

    /// Returns the distance in bytes between adjacent elements, in each of the four dimensions.
    #[must_use]
    pub fn strides(&self) -> [usize; 4] {
        self.raw.nb
    }

    /// Returns the type of the elements, or `None` if it is unknown to this version.
    #[must_use]
    #[allow(clippy::useless_conversion, reason = "the enum's integer is signed on some platforms")]
    pub fn tensor_type(&self) -> Option<TensorType> {
        #[allow(clippy::useless_conversion, reason = "the enum's integer is signed on some platforms")]
        TensorType::from_id(u32::try_from(self.raw.type_.0).ok()?)
    }

    /// Returns whether it is a view of another tensor, so that its elements need not be contiguous.
    #[must_use]
    pub fn is_view(&self) -> bool {
        !self.raw.view_src.is_null()
    }

    /// Returns a copy of the contents, or `None` for weights in a device-specific layout and for tensors without
    /// memory.
    ///
    /// Contents in the CPU's memory are copied too: between the elements of a view, and in elements that an
    /// operation does not compute, there may be uninitialised bytes. C may copy such bytes; a slice of them would
    /// not be sound.
    pub(crate) fn data<'d>(self, copy: &'d mut Vec<u64>) -> Result<Option<TensorData<'d>>>
    where
        't: 'd,
    {
        // SAFETY: the tensor is valid, and so is the tensor that it is a view of.
        let buffer = unsafe { self.raw.view_src.as_ref().unwrap_or(self.raw).buffer };
        if buffer.is_null() || self.raw.data.is_null() {
            return Ok(None);
        }
        // SAFETY: the tensor and its buffer are valid; the functions compute from their fields.
        let (size, is_host, usage) = unsafe {
            (
                guarded!(ggml_nbytes(self.raw))?,
                guarded!(ggml_backend_buffer_is_host(buffer))?,
                guarded!(ggml_backend_buffer_get_usage(buffer))?,
            )
        };
        let weights = llama_sys::ggml_backend_buffer_usage::GGML_BACKEND_BUFFER_USAGE_WEIGHTS;
        if !is_host && usage == weights {
            return Ok(None);
        }
        copy.resize(size.div_ceil(size_of::<u64>()), 0);
        let target = copy.as_mut_ptr().cast::<c_void>();
        // SAFETY: the copy has room for the tensor's bytes, which the function reads from the buffer
        // (ggml-backend.cpp, `ggml_backend_tensor_get`): in the CPU's memory from `data` on, where the tensor has
        // `size` bytes (ggml.c, `ggml_nbytes`). Nothing computes meanwhile: the scheduler has waited for the device.
        unsafe { guarded!(ggml_backend_tensor_get(self.raw, target, 0, size)) }?;
        // SAFETY: the vector has at least `size` bytes. All of them were set to zero, and C has written over them.
        let bytes = unsafe { core::slice::from_raw_parts(copy.as_ptr().cast::<u8>(), size) };
        Ok(Some(TensorData { info: self, bytes }))
    }
}

impl core::fmt::Debug for TensorInfo<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TensorInfo")
            .field("name", &self.name())
            .field("op", &self.op())
            .field("shape", &self.shape())
            .field("type", &self.tensor_type())
            .finish()
    }
}

/// A computed tensor and its contents, valid while the observer is called.
#[derive(Clone, Copy, Debug)]
pub struct TensorData<'t> {
    info: TensorInfo<'t>,
    bytes: &'t [u8],
}

impl<'t> TensorData<'t> {
    /// Returns name, operation, shape and type.
    #[must_use]
    pub fn info(&self) -> &TensorInfo<'t> {
        &self.info
    }

    /// Returns a copy of the bytes from the first element to the last, including gaps between them: see
    /// [`strides`](TensorInfo::strides). Bytes in gaps, and elements that the operation does not compute, can have
    /// any value.
    #[must_use]
    pub fn bytes(&self) -> &'t [u8] {
        self.bytes
    }

    /// Writes all elements as floats into `values`, which is cleared first, row by row. Integers become the nearest
    /// floats, and quantised types are dequantised.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] for a type that ggml does not convert.
    pub fn to_f32(&self, values: &mut Vec<f32>) -> Result<()> {
        values.clear();
        let [n0, n1, n2, n3] = self.info.shape();
        let convert = self.converter()?;
        let total = n0.saturating_mul(n1).saturating_mul(n2).saturating_mul(n3);
        values.reserve(total);
        for i3 in 0..n3 {
            for i2 in 0..n2 {
                for i1 in 0..n1 {
                    self.push_row([i1, i2, i3], n0, &convert, values);
                }
            }
        }
        if values.len() == total {
            Ok(())
        } else {
            Err(self.unsupported("its elements are outside of its bytes"))
        }
    }

    /// Adds a row, in blocks of the type, up to the end of the bytes.
    fn push_row(&self, at: [usize; 3], n0: usize, convert: &Converter, values: &mut Vec<f32>) {
        let strides = self.info.strides();
        let start = at
            .iter()
            .zip(&strides[1..])
            .fold(0_usize, |sum, (i, stride)| sum.saturating_add(i.saturating_mul(*stride)));
        for block in 0..n0 / convert.block {
            let first = start.saturating_add(block.saturating_mul(strides[0]));
            let bytes = self.bytes.get(first..first.saturating_add(convert.size));
            if let Some(bytes) = bytes {
                convert.push(bytes, values);
            }
        }
    }

    fn converter(&self) -> Result<Converter> {
        use llama_sys::ggml_type as Type;
        let number = match self.info.raw.type_ {
            Type::GGML_TYPE_F32 => Some(Number::F32),
            Type::GGML_TYPE_I32 => Some(Number::I32),
            Type::GGML_TYPE_I64 => Some(Number::I64),
            Type::GGML_TYPE_I16 => Some(Number::I16),
            Type::GGML_TYPE_I8 => Some(Number::I8),
            _ => None,
        };
        // SAFETY: ggml computes with the tensor, so its table has the type.
        let traits = unsafe { &*llama_sys::ggml_get_type_traits(self.info.raw.type_) };
        let block = usize::try_from(traits.blck_size).unwrap_or(0);
        let number = number.or_else(|| traits.to_float.map(Number::Ggml));
        match number {
            Some(number) if block > 0 => Ok(Converter { number, block, size: traits.type_size }),
            _ => Err(self.unsupported("ggml has no conversion of its type")),
        }
    }

    fn unsupported(&self, reason: &str) -> crate::Error {
        let reason = format!("{reason}: {:?}", self.info);
        ErrorKind::Unsupported { operation: "reading a tensor as floats", reason }.into()
    }
}

/// The conversion of a type's elements to floats.
struct Converter {
    number: Number,
    /// Number of elements in a block.
    block: usize,
    /// Number of bytes in a block.
    size: usize,
}

enum Number {
    F32,
    I64,
    I32,
    I16,
    I8,
    Ggml(unsafe extern "C-unwind" fn(*const c_void, *mut f32, i64)),
}

impl Converter {
    #[allow(clippy::cast_precision_loss, reason = "the nearest float is what is promised")]
    fn push(&self, bytes: &[u8], values: &mut Vec<f32>) {
        match self.number {
            Number::F32 => values.extend(array(bytes).map(f32::from_ne_bytes)),
            Number::I64 => values.extend(array(bytes).map(|bytes| i64::from_ne_bytes(bytes) as f32)),
            Number::I32 => values.extend(array(bytes).map(|bytes| i32::from_ne_bytes(bytes) as f32)),
            Number::I16 => values.extend(array(bytes).map(|bytes| f32::from(i16::from_ne_bytes(bytes)))),
            Number::I8 => values.extend(array(bytes).map(|bytes| f32::from(i8::from_ne_bytes(bytes)))),
            Number::Ggml(convert) => {
                let start = values.len();
                values.resize(start + self.block, 0.0);
                let target = values[start..].as_mut_ptr();
                let block = i64::try_from(self.block).unwrap_or(0);
                // SAFETY: the bytes are one block of the type, and there is room for its elements.
                unsafe { convert(bytes.as_ptr().cast::<c_void>(), target, block) };
            }
        }
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

fn lossy(text: *const c_char) -> Cow<'static, str> {
    if text.is_null() {
        return Cow::Borrowed("");
    }
    // SAFETY: a NUL-terminated constant name in one of ggml's tables.
    unsafe { CStr::from_ptr(text) }.to_string_lossy()
}
