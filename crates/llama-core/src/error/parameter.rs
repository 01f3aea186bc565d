//! A parameter whose value cannot be used.

use std::fmt;

/// A parameter whose value cannot be used.
///
/// ```
/// use llama_core::{Context, ContextParams, ErrorKind, Model, ModelParams};
///
/// # fn main() -> Result<(), llama_core::Error> {
/// # let model = Model::load(test_models::Tiny::Llama.path(), &ModelParams::default())?;
/// let error = Context::new(&model, &ContextParams::default().n_batch(0)).unwrap_err();
/// let ErrorKind::InvalidParameter(problem) = error.kind() else { unreachable!() };
/// assert_eq!(problem.name, "n_batch");
/// assert_eq!(error.to_string(), "n_batch is 0, but must be from 1 to 2147483647");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ParameterProblem {
    /// The parameter's name, for example `n_batch`.
    pub name: String,
    /// The value that was given, as text.
    pub value: String,
    /// The values that the parameter can have: the end of a sentence that begins with "must be".
    pub expected: String,
}

impl ParameterProblem {
    /// Creates the problem of a parameter that has `value` and must be `expected`.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl fmt::Display, expected: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.to_string(), expected: expected.into() }
    }
}

impl fmt::Display for ParameterProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, but must be {}", self.name, self.value, self.expected)
    }
}
