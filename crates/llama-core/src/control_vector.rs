//! Control vectors: directions that are added to the hidden state after each layer.

use core::ops::{Bound, RangeBounds};
use std::path::Path;

use llama_gguf::{Gguf, TensorInfo, TensorType};

use crate::context::Context;
use crate::error::{ErrorKind, ParameterProblem, Result};
use crate::ffi::guard::guarded;
use crate::model::Model;

/// A direction of `n_embd` floats for each layer of a model from layer 1 on; layer 0 never has one.
///
/// It is plain data: it is not tied to a model until it is [set](Context::set_control_vector) in a context, which
/// copies it.
///
/// ```
/// use llama_core::{Context, ContextParams, ControlVector, Model, ModelParams};
///
/// # fn main() -> Result<(), llama_core::Error> {
/// # let (base, happy) = (test_models::Tiny::Llama.path(), test_models::Tuned::ControlVector.path());
/// let model = Model::load(base, &ModelParams::default())?;
/// let mut context = Context::new(&model, &ContextParams::default())?;
/// let vector = ControlVector::load(happy, 0.8)?;
/// context.set_control_vector(&vector, ..)?;
/// context.clear_control_vector()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ControlVector {
    n_embd: u32,
    /// Directions from layer 1 on; the length is a multiple of `n_embd`. All values are finite.
    data: Vec<f32>,
}

impl ControlVector {
    /// Creates a vector from the directions of layer 1, layer 2 and so on, `n_embd` floats each. Missing layers have
    /// none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ControlVector`] if the data is empty, is not a whole number of layers, or contains a NaN or an
    /// infinity.
    pub fn from_slice(n_embd: u32, data: &[f32]) -> Result<Self> {
        let width = n_embd as usize;
        if width == 0 || data.is_empty() || !data.len().is_multiple_of(width) {
            return Err(unusable(format!(
                "{} floats are not a whole number of layers of {n_embd} floats each, from layer 1 on",
                data.len()
            )));
        }
        let vector = Self { n_embd, data: data.to_vec() };
        vector.check_finite()?;
        Ok(vector)
    }

    /// Loads the directions of a GGUF file, the tensors `direction.1`, `direction.2` and so on in F32, and
    /// multiplies them by `strength`. llama.cpp's tools write and read such files. To combine several files, [add]
    /// their vectors.
    ///
    /// [add]: ControlVector::add
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ControlVectorFile`] if the file is missing, malformed or truncated; [`ErrorKind::ControlVector`]
    /// if a tensor has another name, type or size, if there is none, or if a value or the strength is not finite.
    pub fn load(path: impl AsRef<Path>, strength: f32) -> Result<Self> {
        let path = path.as_ref();
        let failed = |cause| ErrorKind::ControlVectorFile { path: path.to_owned(), cause };
        let opened = llama_gguf::open_regular(path).and_then(|(file, _)| {
            let gguf = llama_gguf::validate_open_structure(path, &file)?;
            Ok((file, gguf))
        });
        let (mut file, gguf) = opened.map_err(failed)?;
        let in_file = |reason: String| unusable(format!("{}: {reason}", path.display()));
        let layers = directions(&gguf).map_err(in_file)?;
        let (Some((_, first)), Some(last)) = (layers.first(), layers.iter().map(|(layer, _)| *layer).max())
        else {
            return Err(in_file(
                "there is no tensor direction.1, direction.2 and so on in the file".to_owned(),
            ));
        };
        // Every direction is as wide as the first (`directions`).
        let n_embd =
            u32::try_from(first.elements()).ok().filter(|width| *width <= MAX_WIDTH).ok_or_else(|| {
                in_file(format!(
                    "directions of {} floats are wider than the limit of {MAX_WIDTH}",
                    first.elements()
                ))
            })?;
        let width = n_embd as usize;
        let mut vector = Self { n_embd, data: vec![0.0; width * last] };
        for (layer, info) in &layers {
            let bytes = gguf.read_tensor(&mut file, &info.name().to_str_lossy()).map_err(failed)?;
            let (values, _) = bytes.as_chunks::<4>();
            // There is room up to the last layer, and layers start at 1.
            let place = &mut vector.data[(layer - 1) * width..layer * width];
            for (sum, value) in place.iter_mut().zip(values) {
                *sum += f32::from_le_bytes(*value) * strength;
            }
        }
        vector.check_finite().map_err(|error| in_file(error.kind().to_string()))?;
        Ok(vector)
    }

    /// Adds another vector, multiplied by `strength`. Layers that one of them does not have count as zero.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ControlVector`] for vectors of different widths and for a sum that is not finite; this vector is
    /// unchanged then.
    pub fn add(&mut self, other: &Self, strength: f32) -> Result<()> {
        if self.n_embd != other.n_embd {
            return Err(unusable(format!(
                "directions of {} floats cannot be added to directions of {} floats: they are for different models",
                other.n_embd, self.n_embd
            )));
        }
        let mut sum = self.clone();
        sum.data.resize(self.data.len().max(other.data.len()), 0.0);
        for (sum, value) in sum.data.iter_mut().zip(&other.data) {
            *sum += value * strength;
        }
        sum.check_finite()?;
        *self = sum;
        Ok(())
    }

    /// Returns the width of a direction, in floats.
    #[must_use]
    pub fn n_embd(&self) -> u32 {
        self.n_embd
    }

    /// Returns the last layer that has a direction. Layer 0 has none, so this is at least 1.
    #[must_use]
    pub fn last_layer(&self) -> u32 {
        u32::try_from(self.data.len() / self.n_embd as usize).unwrap_or(u32::MAX)
    }

    /// Returns the direction of a layer, `n_embd` floats, or `None` for layer 0 and after the last layer.
    #[must_use]
    pub fn direction(&self, layer: u32) -> Option<&[f32]> {
        let before = layer.checked_sub(1)?;
        self.data.chunks(self.n_embd as usize).nth(before as usize)
    }

    fn check_finite(&self) -> Result<()> {
        let Some(at) = self.data.iter().position(|value| !value.is_finite()) else { return Ok(()) };
        let width = self.n_embd as usize;
        Err(unusable(format!(
            "the direction of layer {} has {} at index {}, but all values must be finite",
            at / width + 1,
            self.data[at],
            at % width
        )))
    }

    /// Checks that a model has these layers and this width, and returns the data for all of its layers from 1 on.
    fn fit(&self, model: &Model) -> Result<Vec<f32>> {
        let (n_embd, n_layer) = (model.n_embd(), model.n_layer());
        if self.n_embd != n_embd {
            return Err(unusable(format!(
                "its directions have {} floats, but the model's hidden state has {n_embd}, so it is for another model",
                self.n_embd
            )));
        }
        // Files may have a direction for the layer after the last, which llama.cpp's tools ignore.
        if self.last_layer() > n_layer {
            return Err(unusable(format!(
                "it has a direction for layer {}, but the model has {n_layer} layers, so it is for another model",
                self.last_layer()
            )));
        }
        let mut data = self.data.clone();
        data.resize((n_layer as usize).saturating_sub(1) * n_embd as usize, 0.0);
        Ok(data)
    }
}

/// Returns the tensors of a file with their layers, all of the same width.
fn directions(gguf: &Gguf) -> Result<Vec<(usize, &TensorInfo)>, String> {
    let mut layers: Vec<(usize, &TensorInfo)> = Vec::new();
    for info in gguf.tensors() {
        let name = info.name();
        let layer = name.as_str().and_then(|name| name.strip_prefix("direction.")?.parse().ok());
        let layer = layer.filter(|layer| (1..=MAX_LAYERS).contains(layer)).ok_or_else(|| {
            format!("the tensor name {name:?} must be direction.1 to direction.{MAX_LAYERS}")
        })?;
        if info.tensor_type() != TensorType::F32 {
            return Err(format!(
                "the tensor {name:?} has type {}, but must have type f32",
                info.tensor_type()
            ));
        }
        let width = info.elements();
        if width == 0 || info.shape().first() != Some(&width) {
            return Err(format!(
                "the tensor {name:?} with shape {:?} must be one row of floats",
                info.shape()
            ));
        }
        if let Some((_, first)) = layers.first().filter(|(_, first)| first.elements() != width) {
            return Err(format!(
                "the tensor {name:?} has {width} floats, but {:?} has {}",
                first.name(),
                first.elements()
            ));
        }
        layers.push((layer, info));
    }
    Ok(layers)
}

/// Maximum number of layers of a model (llama-hparams.h, `LLAMA_MAX_LAYERS`).
const MAX_LAYERS: usize = 512;

/// Maximum width of a direction in a file, which limits how much memory is allocated.
const MAX_WIDTH: u32 = 1 << 20;

impl Context {
    /// Adds the directions of a vector to the hidden state after each layer of the range, for tokens that are
    /// decoded later. `..` means all layers; the first layer that can have a direction is 1. The vector replaces the
    /// previous one.
    ///
    /// The models of a few encoders (BERT and related ones) and of some other architectures ignore control vectors.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ControlVector`] for a vector of another width than the model's [`n_embd`](crate::Model::n_embd)
    /// or with more layers than the model, [`ErrorKind::InvalidParameter`] for layers outside of 1 to `n_layer - 1`,
    /// [`ErrorKind::Poisoned`]; the previous vector stays then. [`ErrorKind::OutOfMemory`] if C cannot allocate it;
    /// the context is poisoned then.
    ///
    /// Corresponds to `llama_set_adapter_cvec`.
    pub fn set_control_vector(
        &mut self,
        vector: &ControlVector,
        layers: impl RangeBounds<u32>,
    ) -> Result<()> {
        self.check_poison()?;
        let data = vector.fit(self.model())?;
        let (start, end) = layer_range(&layers, self.model().n_layer())?;
        let n_embd = i32::try_from(vector.n_embd).unwrap_or(i32::MAX);
        let code = self.call(|raw| {
            // SAFETY: the context is valid and nothing computes with the previous vector after synchronising; the
            // data has a row of n_embd floats for every layer from 1 on, so that no previous row is left, and is
            // copied (llama-adapter.cpp, llama_adapter_cvec::apply).
            unsafe {
                guarded!(llama_synchronize(raw))?;
                guarded!(llama_set_adapter_cvec(raw, data.as_ptr(), data.len(), n_embd, start, end))
            }
        })?;
        if code == 0 {
            return Ok(());
        }
        // The width is right, so a buffer could not be allocated, and C would use the incomplete vector the next
        // time.
        let error = ErrorKind::OutOfMemory { message: "no buffer for the control vector".to_owned() }.into();
        self.poison_with(&error);
        Err(error)
    }

    /// Removes the control vector, for tokens that are decoded later. Corresponds to `llama_set_adapter_cvec`
    /// without data.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Poisoned`].
    pub fn clear_control_vector(&mut self) -> Result<()> {
        // SAFETY: the context is valid, and without data C reads no other argument.
        self.call(|raw| unsafe { guarded!(llama_set_adapter_cvec(raw, core::ptr::null(), 0, 0, 0, 0)) })
            .map(drop)
    }
}

/// Returns the first and the last layer of a range, which C takes inclusively.
fn layer_range(range: &impl RangeBounds<u32>, n_layer: u32) -> Result<(i32, i32)> {
    let last = n_layer.saturating_sub(1);
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 1,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => Some(*end),
        Bound::Excluded(end) => end.checked_sub(1),
        Bound::Unbounded => Some(last),
    };
    match (i32::try_from(start), end.map(i32::try_from)) {
        (Ok(first), Some(Ok(end))) if 1 <= start && first <= end && i64::from(end) <= i64::from(last) => {
            Ok((first, end))
        }
        _ => Err(ParameterProblem::new(
            "layers",
            format_args!("{:?}..{:?}", range.start_bound(), range.end_bound()),
            format!("within the layers that can have a direction, 1 to {last}, of which `..` is all"),
        )
        .into()),
    }
}

fn unusable(reason: String) -> crate::Error {
    ErrorKind::ControlVector { reason }.into()
}
