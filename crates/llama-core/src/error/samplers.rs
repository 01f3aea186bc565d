//! Problems of a chain's samplers.

use core::fmt;

use super::ParameterProblem;

/// A problem with one sampler of a chain. Its [`Display`](fmt::Display) is the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SamplerProblem {
    /// The sampler's index in the chain.
    pub index: usize,
    /// The sampler's name; `chain` for a chain without samplers.
    pub sampler: &'static str,
    /// Description of the problem and of valid values.
    pub reason: String,
    /// The parameter whose value is the problem. `None` for other problems.
    pub parameter: Option<ParameterProblem>,
    /// Position in the text of a grammar that does not parse. `None` for other problems, and for a grammar without
    /// the needed rules.
    pub position: Option<GrammarPosition>,
}

/// A position in the text of a grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GrammarPosition {
    /// Line, from 1.
    pub line: usize,
    /// Column, in characters from 1.
    pub column: usize,
}

impl SamplerProblem {
    pub(crate) fn new(index: usize, sampler: &'static str, reason: String) -> Self {
        Self { index, sampler, reason, parameter: None, position: None }
    }
}

impl fmt::Display for SamplerProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Displays the problems of one chain as an error message.
pub(super) struct List<'a>(pub(super) &'a [SamplerProblem]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [problem] = self.0 {
            return write!(f, "sampler {}: {problem}", problem.sampler);
        }
        write!(f, "sampler chain: {} problems:", self.0.len())?;
        for problem in self.0 {
            write!(f, "\n  sampler {} ({}): {problem}", problem.index, problem.sampler)?;
        }
        Ok(())
    }
}
