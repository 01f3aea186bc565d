//! The description of one tensor in a file.

use crate::tensor_type::TensorType;
use crate::text::Text;

/// The most dimensions a tensor can have. Corresponds to `GGML_MAX_DIMS`.
pub const MAX_DIMENSIONS: usize = 4;

/// The longest tensor name in bytes. Corresponds to `GGML_MAX_NAME`, which counts a terminating NUL.
pub const MAX_NAME: usize = 63;

/// Name, shape, type and position of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    name: Text,
    tensor_type: TensorType,
    shape: Vec<u64>,
    elements: u64,
    bytes: u64,
    offset: u64,
}

impl TensorInfo {
    /// Checks the shape against the type. The caller checks the offset.
    pub(crate) fn new(name: Text, tensor_type: TensorType, shape: Vec<u64>) -> Result<Self, ShapeError> {
        let elements = element_count(&shape)?;
        let row = shape.first().copied().unwrap_or(1);
        if row % tensor_type.block_size() != 0 {
            return Err(ShapeError::Row { row, tensor_type });
        }
        let bytes = (elements / tensor_type.block_size())
            .checked_mul(tensor_type.block_bytes())
            .ok_or(ShapeError::Overflow)?;
        Ok(Self { name, tensor_type, shape, elements, bytes, offset: 0 })
    }

    pub(crate) fn at(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Returns the name, at most [`MAX_NAME`] bytes.
    #[must_use]
    pub fn name(&self) -> &Text {
        &self.name
    }

    /// Returns the type of the elements.
    #[must_use]
    pub fn tensor_type(&self) -> TensorType {
        self.tensor_type
    }

    /// Returns the elements per dimension, the fastest-running one first; at most [`MAX_DIMENSIONS`] of them.
    ///
    /// This is ggml's order, the reverse of NumPy's and PyTorch's: a matrix from `n_in` to `n_out` is
    /// `[n_in, n_out]`. An empty shape is one element.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Returns the number of elements, the product of the shape.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.elements
    }

    /// Returns the size of the data in bytes, without padding. Corresponds to `ggml_nbytes`.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the position of the data in bytes from the start of the data section.
    /// [`Gguf::tensor_range`](crate::Gguf::tensor_range) returns the position in the file.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

/// The reason why a shape is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShapeError {
    Dimensions { count: usize },
    Overflow,
    Row { row: u64, tensor_type: TensorType },
}

/// Returns the product of the dimensions, which llama.cpp holds in an `int64_t`.
///
/// llama.cpp asserts that the intermediate products fit, ignoring a zero after the first dimension.
fn element_count(shape: &[u64]) -> Result<u64, ShapeError> {
    const LIMIT: u64 = i64::MAX as u64;
    if shape.len() > MAX_DIMENSIONS {
        return Err(ShapeError::Dimensions { count: shape.len() });
    }
    if shape.iter().any(|&n| n > LIMIT) {
        return Err(ShapeError::Overflow);
    }
    let Some((&first, others)) = shape.split_first() else { return Ok(1) };
    let product =
        others.iter().filter(|&&n| n > 1).try_fold(first, |product, &n| match LIMIT / n > product {
            true => Ok(product * n),
            false => Err(ShapeError::Overflow),
        })?;
    Ok(if shape.contains(&0) { 0 } else { product })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(ty: TensorType, shape: &[u64]) -> Result<TensorInfo, ShapeError> {
        TensorInfo::new("t".into(), ty, shape.to_vec())
    }

    #[test]
    fn sizes_follow_shape_and_type() {
        let matrix = info(TensorType::Q8_0, &[64, 3]).unwrap();
        assert_eq!((matrix.elements(), matrix.bytes()), (192, 204));
        let scalar = info(TensorType::F32, &[]).unwrap();
        assert_eq!((scalar.elements(), scalar.bytes()), (1, 4));
        let empty = info(TensorType::F32, &[0, 1 << 62, 1 << 62]).unwrap();
        assert_eq!((empty.elements(), empty.bytes()), (0, 0));
    }

    #[test]
    fn impossible_shapes_are_refused() {
        assert_eq!(info(TensorType::F32, &[1; 5]), Err(ShapeError::Dimensions { count: 5 }));
        assert_eq!(info(TensorType::F32, &[1 << 32, 1 << 31]), Err(ShapeError::Overflow));
        assert_eq!(info(TensorType::F32, &[0, u64::MAX]), Err(ShapeError::Overflow));
        // gguf.cpp lets this pass and ggml.c then aborts.
        assert_eq!(info(TensorType::F32, &[1 << 40, 0, 1 << 40]), Err(ShapeError::Overflow));
        assert_eq!(info(TensorType::F64, &[1 << 62]), Err(ShapeError::Overflow));
        assert_eq!(
            info(TensorType::Q8_0, &[33]),
            Err(ShapeError::Row { row: 33, tensor_type: TensorType::Q8_0 })
        );
        assert!(info(TensorType::Q8_0, &[]).is_err(), "one element is not a block");
    }
}
