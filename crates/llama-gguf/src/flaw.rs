//! The ways in which a file can contradict the format.

use crate::tensor::{MAX_DIMENSIONS, MAX_NAME, ShapeError};
use crate::tensor_type::TensorType;

/// What is wrong at some place of a file. All of it is refused by llama.cpp as well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// A count in the header is negative.
    #[error("the number of {what} is {count:#x}, which is negative as a 64-bit integer")]
    Count {
        /// Tensors or keys.
        what: &'static str,
        /// The number found.
        count: u64,
    },

    /// A string claims to be longer than any may be.
    #[error("the length of {item} is {length} bytes, the limit is {limit}")]
    StringLength {
        /// Which string.
        item: String,
        /// The length found.
        length: u64,
        /// The greatest length allowed.
        limit: u64,
    },

    /// An array claims to be longer than any may be.
    #[error("the array of metadata key \"{key}\" has {length} elements, the limit is {limit}")]
    ArrayLength {
        /// The key.
        key: String,
        /// The length found.
        length: u64,
        /// The greatest length allowed.
        limit: u64,
    },

    /// A metadata key of no bytes.
    #[error("metadata key {index} (counted from 0) is empty")]
    EmptyKey {
        /// Which of the pairs.
        index: u64,
    },

    /// Two pairs with one key.
    #[error("metadata key \"{key}\" appears twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },

    /// A value of a type that does not exist.
    #[error("the value of metadata key \"{key}\" has type {id}, known are 0 to 12")]
    ValueType {
        /// The key.
        key: String,
        /// The type found.
        id: u32,
    },

    /// An array of arrays.
    #[error("the value of metadata key \"{key}\" is an array of arrays, which llama.cpp does not read")]
    NestedArray {
        /// The key.
        key: String,
    },

    /// `general.alignment` is not a `u32`.
    #[error("\"general.alignment\" is of type {found}, it must be u32")]
    AlignmentType {
        /// The type found.
        found: String,
    },

    /// `general.alignment` is zero or no power of two.
    #[error("\"general.alignment\" is {alignment}, it must be a power of two")]
    Alignment {
        /// The alignment found.
        alignment: u32,
    },

    /// A tensor name that llama.cpp cannot hold.
    #[error("the name of tensor \"{name}\" is {length} bytes long, the limit is {MAX_NAME}")]
    NameLength {
        /// The name, or the beginning of it.
        name: String,
        /// Its length in bytes.
        length: usize,
    },

    /// Two tensors with one name.
    #[error("tensor \"{name}\" appears twice")]
    DuplicateTensor {
        /// The name.
        name: String,
    },

    /// Too many dimensions.
    #[error("tensor \"{name}\" has {count} dimensions, the limit is {MAX_DIMENSIONS}")]
    Dimensions {
        /// The tensor.
        name: String,
        /// The number found.
        count: usize,
    },

    /// A size that does not fit in 63 (elements) or 64 bits (bytes).
    #[error("tensor \"{name}\" of shape {shape:?} is too large to count its elements or bytes")]
    ShapeOverflow {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<u64>,
    },

    /// A row that is not a whole number of quantisation blocks.
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

    /// A tensor type that does not exist, or no longer does.
    #[error("tensor \"{name}\" has type {id}, which {}", fate(*id))]
    TensorType {
        /// The tensor.
        name: String,
        /// The type found.
        id: u32,
    },

    /// Tensor data that is not where the sizes of the tensors before it put it.
    #[error(
        "the data of tensor \"{name}\" is at offset {offset} of the data section, \
         it must be at {expected}: {}",
        misplacement(*offset, *expected, *alignment)
    )]
    Offset {
        /// The tensor.
        name: String,
        /// The offset found.
        offset: u64,
        /// The end of the data before it, rounded up to the alignment.
        expected: u64,
        /// The alignment of the file.
        alignment: u64,
    },

    /// The sizes of all tensors together do not fit in 64 bits.
    #[error("the data up to tensor \"{name}\" is too large to count its bytes")]
    DataOverflow {
        /// The tensor that is too much.
        name: String,
    },

    /// Data of another size than shape and type say.
    #[error("the data of tensor \"{name}\" is {found} bytes, its shape and type take {expected}")]
    DataLength {
        /// The tensor.
        name: String,
        /// The bytes of shape and type.
        expected: u64,
        /// The bytes given; for a stream that gives too many, how many there were when it was stopped.
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
        format!("it is not a multiple of the alignment {alignment}")
    } else if offset < expected {
        "it overlaps the data before it".to_owned()
    } else {
        "it leaves a gap after the data before it".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_says_how_it_is_wrong() {
        let at = |offset| Flaw::Offset { name: "w".into(), offset, expected: 64, alignment: 32 }.to_string();
        assert!(at(65).ends_with("it must be at 64: it is not a multiple of the alignment 32"));
        assert!(at(32).ends_with("it overlaps the data before it"));
        assert!(at(96).ends_with("it leaves a gap after the data before it"));
    }

    #[test]
    fn a_removed_type_is_told_from_an_unknown_one() {
        let of = |id| Flaw::TensorType { name: "w".into(), id }.to_string();
        assert!(of(31).contains("was q4_0_4_4"));
        assert!(of(99).contains("is unknown"));
    }
}
