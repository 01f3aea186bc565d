//! Results of selecting samplers.

use crate::error::{Error, ErrorKind, Result};
use crate::token::Token;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Selected {
    pub(super) token: Token,
    /// The token's probability among the remaining candidates.
    pub(super) p: f32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Selection {
    Of(Selected),
    /// No candidate is left that may be selected.
    AllMasked,
    /// The logits are infinite, possibly because a sampler has changed them.
    NotNumbers,
}

impl Selection {
    pub(super) fn check(self) -> Result<Selected> {
        match self {
            Self::Of(selected) => Ok(selected),
            Self::AllMasked => Err(all_masked(true)),
            Self::NotNumbers => {
                Err(error("the probabilities are NaN: the logits or the biases are too large"))
            }
        }
    }
}

/// Returns an error for a whole row.
pub(super) fn error(reason: impl Into<String>) -> Error {
    ErrorKind::Sampler { name: "row", reason: reason.into() }.into()
}

/// Returns the error for logits, or sums of logits and biases, that are NaN.
pub(super) fn not_a_number() -> Error {
    error("some logits are NaN: the computation before it went wrong")
}

/// Returns the error for a row in which nothing may be selected, either from the start or after some samplers.
pub(super) fn all_masked(by_samplers: bool) -> Error {
    let reason = if by_samplers {
        "every candidate has been masked"
    } else {
        "no logit is above negative infinity: there is nothing to select from"
    };
    ErrorKind::DeadEnd { name: "row", reason }.into()
}
