//! The ways in which a file can contradict the format.

use crate::tensor::{MAX_DIMENSIONS, MAX_NAME, ShapeError};
use crate::tensor_type::TensorType;

/// A contradiction of the format at some place of a file. llama.cpp refuses each of them too.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// A count in the header is negative.
    #[error("the number of {what} is {count:#x}, which is negative as a 64-bit integer")]
    Count {
        /// The counted items: tensors or keys.
        what: &'static str,
        /// The count in the file.
        count: u64,
    },

    /// A string is longer than the limit.
    #[error("the length of {item} is {length} bytes, but the limit is {limit}")]
    StringLength {
        /// The string.
        item: String,
        /// The length in the file.
        length: u64,
        /// The greatest allowed length.
        limit: u64,
    },

    /// An array is longer than the limit.
    #[error("the array of metadata key \"{key}\" has {length} elements, but the limit is {limit}")]
    ArrayLength {
        /// The key.
        key: String,
        /// The length in the file.
        length: u64,
        /// The greatest allowed length.
        limit: u64,
    },

    /// A metadata key is empty.
    #[error("metadata key {index} (counted from 0) is empty")]
    EmptyKey {
        /// The index of the pair.
        index: u64,
    },

    /// Two pairs have the same key.
    #[error("metadata key \"{key}\" appears twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },

    /// A value has a type that does not exist.
    #[error("the value of metadata key \"{key}\" has type {id}, but the known types are 0 to 12")]
    ValueType {
        /// The key.
        key: String,
        /// The type in the file.
        id: u32,
    },

    /// An array contains arrays.
    #[error("the value of metadata key \"{key}\" is an array of arrays, which llama.cpp does not read")]
    NestedArray {
        /// The key.
        key: String,
    },

    /// `general.alignment` is not a `u32`.
    #[error("\"general.alignment\" is of type {found}, but must be u32")]
    AlignmentType {
        /// The type in the file.
        found: String,
    },

    /// `general.alignment` is zero or not a power of two.
    #[error("\"general.alignment\" is {alignment}, but must be a power of two")]
    Alignment {
        /// The alignment in the file.
        alignment: u32,
    },

    /// A tensor name is too long for llama.cpp.
    #[error("the name of tensor \"{name}\" is {length} bytes long, but the limit is {MAX_NAME}")]
    NameLength {
        /// The name, or its beginning.
        name: String,
        /// Its length in bytes.
        length: usize,
    },

    /// Two tensors have the same name.
    #[error("tensor \"{name}\" appears twice")]
    DuplicateTensor {
        /// The name.
        name: String,
    },

    /// A tensor has too many dimensions.
    #[error("tensor \"{name}\" has {count} dimensions, but the limit is {MAX_DIMENSIONS}")]
    Dimensions {
        /// The tensor.
        name: String,
        /// The number of dimensions in the file.
        count: usize,
    },

    /// A size does not fit in 63 bits (elements) or 64 bits (bytes).
    #[error("tensor \"{name}\" of shape {shape:?} is too large to count its elements or bytes")]
    ShapeOverflow {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<u64>,
    },

    /// A row is not a whole number of quantisation blocks.
    #[error(
        "tensor \"{name}\" has {row} elements in a row, which is not a multiple of the {} \
         in a block of {tensor_type}",
        tensor_type.block_size()
    )]
    Row {
        /// The tensor.
        name: String,
        /// The first dimension.
        row: u64,
        /// The type.
        tensor_type: TensorType,
    },

    /// A tensor type does not exist, or was removed from ggml.
    #[error("tensor \"{name}\" has type {id}, which {}", fate(*id))]
    TensorType {
        /// The tensor.
        name: String,
        /// The type in the file.
        id: u32,
    },

    /// The data of a tensor does not directly follow the tensor before it.
    #[error(
        "the data of tensor \"{name}\" is at offset {offset} of the data section, \
         but must be at {expected}: the offset {}",
        misplacement(*offset, *expected, *alignment)
    )]
    Offset {
        /// The tensor.
        name: String,
        /// The offset in the file.
        offset: u64,
        /// The end of the previous tensor's data, rounded up to the alignment.
        expected: u64,
        /// The alignment of the file.
        alignment: u64,
    },

    /// The total size of all tensors does not fit in 64 bits.
    #[error("the data up to tensor \"{name}\" is too large to count its bytes")]
    DataOverflow {
        /// The tensor at which the total overflows.
        name: String,
    },

    /// The size of the data differs from the size of its shape and type.
    #[error("the data of tensor \"{name}\" is {found} bytes, but its shape and type take {expected}")]
    DataLength {
        /// The tensor.
        name: String,
        /// The size in bytes by shape and type.
        expected: u64,
        /// The number of bytes given. For a stream that gives too many, the number at which it was stopped.
        found: u64,
    },
}

impl Flaw {
    pub(crate) fn from_shape(error: ShapeError, name: String, shape: &[u64]) -> Self {
        match error {
            ShapeError::Dimensions { count } => Self::Dimensions { name, count },
            ShapeError::Overflow => Self::ShapeOverflow { name, shape: shape.to_vec() },
            ShapeError::Row { row, tensor_type } => Self::Row { name, row, tensor_type },
        }
    }
}

fn fate(id: u32) -> String {
    match TensorType::removed(id) {
        Some(name) => format!("was {name} and has been removed; convert the model again"),
        None => "is unknown; the file may need a newer version of this library".to_owned(),
    }
}

fn misplacement(offset: u64, expected: u64, alignment: u64) -> String {
    if !offset.is_multiple_of(alignment) {
        format!("is not a multiple of the alignment {alignment}")
    } else if offset < expected {
        "overlaps the data before it".to_owned()
    } else {
        "leaves a gap after the data before it".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_says_how_it_is_wrong() {
        let at = |offset| Flaw::Offset { name: "w".into(), offset, expected: 64, alignment: 32 }.to_string();
        assert!(at(65).ends_with("but must be at 64: the offset is not a multiple of the alignment 32"));
        assert!(at(32).ends_with("the offset overlaps the data before it"));
        assert!(at(96).ends_with("the offset leaves a gap after the data before it"));
    }

    #[test]
    fn a_removed_type_is_told_from_an_unknown_one() {
        let of = |id| Flaw::TensorType { name: "w".into(), id }.to_string();
        assert!(of(31).contains("was q4_0_4_4"));
        assert!(of(99).contains("is unknown"));
    }
}
