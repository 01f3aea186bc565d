//! The outcome of a call, and the expected outcome.

use std::fmt::Debug;

use llama_core::{DecodeError, Error, ErrorKind};

use crate::tally;

/// The expected outcome of a call: success, or an error of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Fine,
    Refused(&'static str),
    /// Success, or an error of a kind.
    FineOr(&'static str),
}

/// Compares the outcome of a call with the expected one.
#[track_caller]
pub(crate) fn check<T>(name: &'static str, call: &dyn Debug, result: &Result<T, Error>, expected: Expected) {
    let found = match result {
        Ok(_) => None,
        Err(error) => Some(kind(error)),
    };
    let agrees = match (expected, found) {
        (Expected::Fine | Expected::FineOr(_), None) => true,
        (Expected::Refused(expected) | Expected::FineOr(expected), Some(found)) => expected == found,
        _ => false,
    };
    tally::count(name, found.unwrap_or("fine"));
    let error = result.as_ref().err();
    assert!(agrees, "{name}, {call:?} must be {expected:?}, and is {}: {error:?}", found.unwrap_or("fine"));
}

fn kind(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::ContextCreation { .. } => "ContextCreation",
        ErrorKind::InvalidParameter(_) => "InvalidParameter",
        ErrorKind::Unsupported { .. } => "Unsupported",
        ErrorKind::InvalidToken { .. } => "InvalidToken",
        ErrorKind::InvalidSeqId { .. } => "InvalidSeqId",
        ErrorKind::InvalidPosition { .. } => "InvalidPosition",
        ErrorKind::InvalidRange { .. } => "InvalidRange",
        ErrorKind::EmptyBatch => "EmptyBatch",
        ErrorKind::BatchTooLarge { .. } => "BatchTooLarge",
        ErrorKind::NoOutput { .. } => "NoOutput",
        ErrorKind::Decode(DecodeError::NoSlot) => "Decode(NoSlot)",
        ErrorKind::Decode(DecodeError::InvalidBatch) => "Decode(InvalidBatch)",
        ErrorKind::Sampler { .. } => "Sampler",
        ErrorKind::InvalidSamplers { .. } => "InvalidSamplers",
        ErrorKind::Internal { .. } => "Internal",
        ErrorKind::Exception { .. } => "Exception",
        ErrorKind::Poisoned { .. } => "Poisoned",
        _ => "another",
    }
}
