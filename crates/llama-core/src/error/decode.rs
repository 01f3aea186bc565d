//! The error of decoding.

/// The reason why a batch was not decoded, and the state of the context's memory.
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
    /// llama.cpp's code 2. The complete parts of the batch stay in memory. In recurrent and hybrid models, which
    /// keep no earlier state, the sequences of the batch are removed from memory instead.
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
        /// The code: -2 for a failed allocation, -3 for a failed computation.
        code: i32,
    },
    /// An [`Observer`](crate::Observer) stopped the computation. Nothing of the batch is left in memory. In
    /// recurrent and hybrid models the batch's sequences are removed, in other models only its positions.
    #[error("decoding was cancelled by the observer; nothing of the batch is left in memory")]
    Cancelled,
}

impl DecodeError {
    /// Returns the error for a return code of `llama_decode` or `llama_encode`, and `None` for 0.
    pub(crate) fn from_code(code: i32) -> Option<Self> {
        match code {
            0 => None,
            1 => Some(Self::NoSlot),
            2 => Some(Self::Aborted),
            -1 => Some(Self::InvalidBatch),
            code => Some(Self::Failed { code }),
        }
    }

    /// Returns whether the context's memory is as it was before the call.
    #[must_use]
    pub fn memory_is_restored(self) -> bool {
        matches!(self, Self::NoSlot | Self::InvalidBatch)
    }
}
