//! Why a batch was not decoded, and what is left in memory.

/// Why a batch was not decoded, and what is left in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum DecodeError {
    /// llama.cpp's code 1. Memory is as it was before the call.
    #[error(
        "no room in the context's memory for the batch; memory is as before the call. Use a smaller batch, remove \
             sequences, or create the context with a larger n_ctx"
    )]
    NoSlot,
    /// llama.cpp's code 2. In recurrent and hybrid models, whose state has no earlier version, the sequences of the
    /// batch are removed from memory instead.
    #[error(
        "decoding was aborted by the abort callback; the parts of the batch that were complete stay in memory: \
             see Memory::seq_pos_max"
    )]
    Aborted,
    /// llama.cpp's code -1. Memory is as it was before the call.
    #[error("llama.cpp refused the batch as invalid; memory is as before the call")]
    InvalidBatch,
    /// llama.cpp's other codes.
    #[error(
        "decoding failed with code {code}; the parts of the batch that were complete stay in memory: see \
             Memory::seq_pos_max"
    )]
    #[non_exhaustive]
    Failed {
        /// The code: -2 allocation, -3 computation.
        code: i32,
    },
    /// An [`Observer`](crate::Observer) stopped the computation. Nothing of the batch is left in memory: of recurrent
    /// and hybrid models the batch's sequences are removed, of others only its positions.
    #[error("decoding was cancelled by the observer; nothing of the batch is left in memory")]
    Cancelled,
}

impl DecodeError {
    /// The error for a return code of `llama_decode` or `llama_encode`, `None` for 0.
    pub(crate) fn from_code(code: i32) -> Option<Self> {
        match code {
            0 => None,
            1 => Some(Self::NoSlot),
            2 => Some(Self::Aborted),
            -1 => Some(Self::InvalidBatch),
            code => Some(Self::Failed { code }),
        }
    }

    /// Whether the context's memory is as it was before the call.
    #[must_use]
    pub fn memory_is_restored(self) -> bool {
        matches!(self, Self::NoSlot | Self::InvalidBatch)
    }
}
