//! Details of a selected token.

use crate::token::Token;

/// A selected token, its probability, and the most likely tokens. It is reusable: refilling it allocates only when
/// there are more alternatives than before. See [`RowSampler::choose`](crate::sampler::RowSampler::choose).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Choice {
    /// The token.
    pub token: Token,
    /// Natural logarithm of the token's probability in the original row, before all samplers: softmax over all
    /// tokens.
    pub log_probability: f32,
    /// The token's probability when it was selected, after all samplers, 0 to 1; 1 from a greedy sampler.
    pub probability: f32,
    /// The most likely tokens of the original row with their log-probabilities, in descending order; among equals,
    /// the smaller token comes first.
    pub top: Vec<(Token, f32)>,
}

impl Default for Choice {
    /// Token 0 with probability 0.
    fn default() -> Self {
        Self { token: Token::new(0), log_probability: f32::NEG_INFINITY, probability: 0.0, top: Vec::new() }
    }
}
