//! What a selecting sampler came to.

use crate::error::{Error, ErrorKind, Result};
use crate::token::Token;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Selected {
    pub(super) token: Token,
    /// Its probability among what was left to select from.
    pub(super) p: f32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Selection {
    Of(Selected),
    /// Nothing is left that may be selected.
    AllMasked,
    /// Infinite logits, or such that a sampler has made infinite.
    NotNumbers,
}

impl Selection {
    pub(super) fn check(self) -> Result<Selected> {
        match self {
            Self::Of(selected) => Ok(selected),
            Self::AllMasked => Err(all_masked(true)),
            Self::NotNumbers => {
                Err(error("the probabilities are not numbers: the logits or the biases are too large"))
            }
        }
    }
}

/// An error of a whole row.
pub(super) fn error(reason: impl Into<String>) -> Error {
    ErrorKind::Sampler { name: "row", reason: reason.into() }.into()
}

/// The error for logits, or sums of logits and biases, that are not numbers.
pub(super) fn not_a_number() -> Error {
    error("some logits are not numbers (NaN): the computation before it went wrong")
}

/// The error for a row in which nothing may be selected, from the beginning on or after some samplers.
pub(super) fn all_masked(by_samplers: bool) -> Error {
    let reason = if by_samplers {
        "every candidate has been masked"
    } else {
        "no logit is above negative infinity: there is nothing to select from"
    };
    ErrorKind::DeadEnd { name: "row", reason }.into()
}
