//! Beam search: finds likely texts by continuing several hypotheses at once.

mod hypothesis;
mod search;

use llama_core::Token;

use self::search::Search;
use super::Begun;
use crate::error::{ErrorKind, ParameterProblem, Result, refuse};
use crate::event::FinishReason;
use crate::generation_builder::GenerationBuilder;
use crate::request::Request;
use crate::when_full::WhenFull;

/// Parameters of [`GenerationBuilder::beam_search`].
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BeamParams {
    /// The number of hypotheses that are continued at once and of texts that are returned, 1 to 256. Default: 4.
    pub width: usize,
    /// The power of the number of tokens by which the log-probability of a text is divided before texts are compared, 0 to
    /// 100: 0 finds the likeliest text, which is a short one; larger values favour longer texts. Default: 1.
    pub length_penalty: f32,
    /// Whether the search ends as soon as `width` texts have ended, or only when no hypothesis can become better than
    /// these. Default: true.
    pub early_stopping: bool,
}

impl Default for BeamParams {
    fn default() -> Self {
        Self { width: 4, length_penalty: 1.0, early_stopping: true }
    }
}

impl BeamParams {
    /// Sets [`width`](Self#structfield.width).
    #[must_use]
    pub fn width(mut self, width: usize) -> Self {
        self.width = width;
        self
    }

    /// Sets [`length_penalty`](Self#structfield.length_penalty).
    #[must_use]
    pub fn length_penalty(mut self, penalty: f32) -> Self {
        self.length_penalty = penalty;
        self
    }

    /// Sets [`early_stopping`](Self#structfield.early_stopping).
    #[must_use]
    pub fn early_stopping(mut self, early: bool) -> Self {
        self.early_stopping = early;
        self
    }

    fn validate(&self) -> Result<()> {
        let mut problems = Vec::new();
        if !(1..=256).contains(&self.width) {
            problems.push(ParameterProblem::new("width", self.width, "from 1 to 256"));
        }
        if !(0.0..=100.0).contains(&self.length_penalty) {
            problems.push(ParameterProblem::new("length_penalty", self.length_penalty, "from 0 to 100"));
        }
        refuse(problems)
    }

    /// Returns the value that texts are compared by.
    #[allow(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
    fn score(&self, log_probability: f64, n_tokens: usize) -> f64 {
        log_probability / (n_tokens.max(1) as f64).powf(f64::from(self.length_penalty))
    }
}

/// A text that beam search has found.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Beam {
    /// The text.
    pub text: String,
    /// Its tokens, the one that ended it included.
    pub tokens: Vec<Token>,
    /// The natural logarithm of the probability of each token after those before it.
    pub token_log_probabilities: Vec<f32>,
    /// The natural logarithm of its probability: the sum of those of its tokens.
    pub log_probability: f64,
    /// The value that texts were compared by: see [`BeamParams::length_penalty`].
    pub score: f64,
    /// Why it ended.
    pub reason: FinishReason,
}

/// See [`GenerationBuilder::beam_search`].
pub(crate) fn beam_search(builder: &GenerationBuilder, params: &BeamParams) -> Result<Vec<Beam>> {
    params.validate()?;
    check(&builder.request)?;
    let begun = Begun::new(builder)?;
    let board = begun.shared_board(builder, params.width)?;
    let beams = Search::new(builder, params, &begun, board)?.run()?;
    let is_full = beams.iter().any(|beam| beam.reason == FinishReason::ContextFull);
    if is_full && matches!(builder.request.when_full, WhenFull::Error) {
        return Err(ErrorKind::ContextFull { n_ctx: builder.llama.n_ctx() }.into());
    }
    Ok(beams)
}

/// Refuses everything that a request may ask for and beam search does not do.
fn check(request: &Request) -> Result<()> {
    let sampling = &request.params.sampling;
    let is_greedy = sampling.temperature == Some(0.0);
    let is_used = |name: &str| match name {
        "logit_bias" => true,
        "temperature" => is_greedy,
        _ => false,
    };
    let refused = sampling.set_names().into_iter().filter(|name| !is_used(name));
    let others = [
        ("stop_when", request.criterion.is_some()),
        ("repetition_guard", request.params.repetition_guard.is_some()),
        ("progress", request.wanted.progress),
    ];
    let others = others.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name);
    let expected = "left out of a beam search: use `complete` or `completions` with it";
    let problems = refused.chain(others).map(|name| ParameterProblem::new(name, "set", expected));
    let alternatives = request.wanted.alternatives.filter(|n| *n > 0);
    let alternatives =
        alternatives.map(|n| ParameterProblem::new("log_probabilities", n, "0 in a beam search"));
    refuse(problems.chain(alternatives).collect())
}
