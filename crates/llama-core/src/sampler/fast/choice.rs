//! What can be said about a selected token.

use crate::token::Token;

/// A selected token, how likely it was, and the likeliest others. Made to be used again: filling it anew allocates
/// only when there are more alternatives. See [`RowSampler::choose`](crate::RowSampler::choose).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Choice {
    /// The token.
    pub token: Token,
    /// The natural logarithm of the token's probability by the row as it was, before all samplers: softmax over all
    /// tokens.
    pub log_probability: f32,
    /// The token's probability when it was selected, after all samplers, 0 to 1; 1 from a greedy sampler.
    pub probability: f32,
    /// The likeliest tokens by the row as it was, with their log-probabilities, the likeliest first; of equal ones, the
    /// smaller token first.
    pub top: Vec<(Token, f32)>,
}

impl Default for Choice {
    /// Token 0, which is not likely.
    fn default() -> Self {
        Self { token: Token::new(0), log_probability: f32::NEG_INFINITY, probability: 0.0, top: Vec::new() }
    }
}
