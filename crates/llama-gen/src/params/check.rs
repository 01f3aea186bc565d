//! Checks parameters and collects all problems. The ranges are those of `llama-core`'s samplers.

use core::fmt::Display;
use core::ops::RangeInclusive;

use llama_core::{ErrorKind as CoreError, Model, Token};

use super::generation::GenerationParams;
use super::logit_bias::BiasTarget;
use super::sampler_name::SamplerName;
use super::sampling::ResolvedSampling;
use crate::error::{ErrorKind, ParameterProblem, Result};
use crate::sampler;

/// The most tokens that a sampler remembers.
const MAX_LAST_N: u32 = 1 << 24;
/// Bytes of a DRY breaker, and their number.
const MAX_BREAKER: usize = 40;
const MAX_BREAKERS: usize = 64;
/// Characters of a text that a message quotes.
const MAX_EXCERPT: usize = 60;

pub(super) fn sampling(params: &ResolvedSampling, problems: &mut Vec<ParameterProblem>) {
    let mut check = Check { problems };
    of_temperature(params, &mut check);
    of_truncation(params, &mut check);
    of_penalties(params, &mut check);
    of_selection(params, &mut check);
    for (index, bias) in params.logit_bias.iter().enumerate() {
        let valid = (-1e6..=1e6).contains(&bias.bias) || bias.bias == f32::NEG_INFINITY;
        let expected = "from -1000000 to 1000000, or false in JSON to forbid the token";
        check.valid(&format!("logit_bias[{index}].bias"), bias.bias, valid, expected);
    }
}

pub(super) fn generation(params: &GenerationParams, problems: &mut Vec<ParameterProblem>) {
    if params.max_tokens == Some(0) {
        problems.push(ParameterProblem::new("max_tokens", 0, "at least 1, or None for no limit"));
    }
    if let Some(index) = params.stop.iter().position(String::is_empty) {
        let expected = "at least one character long: an empty text would end every generation at once";
        problems.push(ParameterProblem::new(format!("stop[{index}]"), "\"\"", expected));
    }
    if let Some(guard) = params.repetition_guard {
        guard.check(problems);
    }
}

/// Checks tokens against the vocabulary, and the grammar and the samplers by creating a chain of them.
pub(super) fn with_vocabulary(
    params: &GenerationParams,
    sampling: &ResolvedSampling,
    model: &Model,
    problems: &mut Vec<ParameterProblem>,
) -> Result<()> {
    let n_vocab = model.vocab().n_tokens();
    let outside = |token: Token| usize::try_from(token.get()).map_or(true, |id| id >= n_vocab);
    let biased = sampling.logit_bias.iter().enumerate().filter_map(|(index, bias)| match bias.target {
        BiasTarget::Token(token) => Some((format!("logit_bias[{index}].target"), token)),
        BiasTarget::Text(_) => None,
    });
    let stops = params.stop_tokens.iter().enumerate();
    let stops = stops.map(|(index, token)| (format!("stop_tokens[{index}]"), *token));
    for (name, token) in biased.chain(stops).filter(|(_, token)| outside(*token)) {
        let expected = format!("in the vocabulary of {n_vocab} tokens (0..{n_vocab})");
        problems.push(ParameterProblem::new(name, format!("token {token}"), expected));
    }
    if !problems.is_empty() {
        return Ok(());
    }
    let Err(error) = sampler::chain(sampling, model, model, params.ignore_eos) else { return Ok(()) };
    match error.kind() {
        ErrorKind::Core(core) => match core.kind() {
            CoreError::InvalidSamplers { problems: found, .. } => {
                problems
                    .extend(found.iter().map(|problem| unusable(problem.sampler, sampling, &problem.reason)));
            }
            CoreError::Sampler { name, reason, .. } => problems.push(unusable(name, sampling, reason)),
            _ => return Err(error),
        },
        _ => return Err(error),
    }
    Ok(())
}

/// Creates the problem of a sampler that llama-core refuses.
fn unusable(sampler: &str, sampling: &ResolvedSampling, reason: &str) -> ParameterProblem {
    let grammar = sampling.grammar.as_ref().filter(|_| sampler == "grammar");
    let value = grammar.map_or_else(|| "set".to_owned(), |grammar| excerpt(&grammar.text));
    ParameterProblem::new(sampler, value, format!("usable with this model: {reason}"))
}

/// Quotes the beginning of a text.
fn excerpt(text: &str) -> String {
    match text.char_indices().nth(MAX_EXCERPT) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

struct Check<'p> {
    problems: &'p mut Vec<ParameterProblem>,
}

impl Check<'_> {
    fn refuse(&mut self, name: &str, value: impl Display, expected: impl Into<String>) {
        self.problems.push(ParameterProblem::new(name, value, expected));
    }

    fn valid(&mut self, name: &str, value: f32, valid: bool, expected: &str) {
        if !valid {
            self.refuse(name, value, expected);
        }
    }

    fn range(&mut self, name: &str, value: f32, range: RangeInclusive<f32>) {
        let text = format!("from {} to {}", range.start(), range.end());
        self.valid(name, value, range.contains(&value), &text);
    }

    /// Refuses a value that is not above 0 and at most 1.
    fn share(&mut self, name: &str, value: f32) {
        self.valid(name, value, value > 0.0 && value <= 1.0, "above 0 and at most 1");
    }

    /// Refuses a number of tokens that is too large; `u32::MAX` means all.
    fn last_n(&mut self, name: &str, value: u32) {
        if value > MAX_LAST_N && value != u32::MAX {
            self.refuse(name, value, format!("from 0 to {MAX_LAST_N}, or -1 in JSON for all"));
        }
    }
}

fn of_temperature(params: &ResolvedSampling, check: &mut Check<'_>) {
    let temperature = params.temperature;
    let valid = temperature == 0.0 || (temperature >= 1e-5 && temperature.is_finite());
    check.valid("temperature", temperature, valid, "0, or at least 0.00001");
    check.range("dynatemp_range", params.dynatemp_range, 0.0..=1e6);
    check.range("dynatemp_exponent", params.dynatemp_exponent, 0.0..=1e6);
}

fn of_truncation(params: &ResolvedSampling, check: &mut Check<'_>) {
    check.share("top_p", params.top_p);
    check.range("min_p", params.min_p, 0.0..=1.0);
    check.share("typical_p", params.typical_p);
    check.range("top_n_sigma", params.top_n_sigma, -1e6..=1e6);
    check.range("xtc_probability", params.xtc_probability, 0.0..=1.0);
    check.share("xtc_threshold", params.xtc_threshold);
}

fn of_penalties(params: &ResolvedSampling, check: &mut Check<'_>) {
    check.last_n("repeat_last_n", params.repeat_last_n);
    check.range("repeat_penalty", params.repeat_penalty, 1e-3..=1e3);
    check.range("frequency_penalty", params.frequency_penalty, -1e4..=1e4);
    check.range("presence_penalty", params.presence_penalty, -1e4..=1e4);
    check.range("dry_multiplier", params.dry_multiplier, 0.0..=1e6);
    check.range("dry_base", params.dry_base, 1.0..=1e6);
    if params.dry_allowed_length > MAX_LAST_N {
        let expected = format!("from 0 to {MAX_LAST_N}");
        check.refuse("dry_allowed_length", params.dry_allowed_length, expected);
    }
    check.last_n("dry_penalty_last_n", params.dry_penalty_last_n);
    let breakers = &params.dry_sequence_breakers;
    if breakers.len() > MAX_BREAKERS {
        let (value, expected) =
            (format!("a list of {} texts", breakers.len()), format!("at most {MAX_BREAKERS} texts"));
        check.refuse("dry_sequence_breakers", value, expected);
    }
    for (index, breaker) in breakers.iter().enumerate() {
        if breaker.is_empty() || breaker.len() > MAX_BREAKER || breaker.contains('\0') {
            let expected = format!("from 1 to {MAX_BREAKER} bytes long, without NUL");
            check.refuse(&format!("dry_sequence_breakers[{index}]"), excerpt(breaker), expected);
        }
    }
}

fn of_selection(params: &ResolvedSampling, check: &mut Check<'_>) {
    if params.mirostat > 2 {
        check.refuse("mirostat", params.mirostat, "0, 1 or 2");
    }
    let tau = params.mirostat_tau;
    check.valid("mirostat_tau", tau, tau > 0.0 && tau <= 100.0, "above 0 and at most 100");
    check.range("mirostat_eta", params.mirostat_eta, 0.0..=1.0);
    let target = params.adaptive_target;
    check.valid(
        "adaptive_target",
        target,
        target <= 1.0 && target.is_finite(),
        "at most 1, or below 0 for none",
    );
    check.range("adaptive_decay", params.adaptive_decay, 0.0..=0.99);
    let mut before = params.samplers.iter().take_while(|sampler| **sampler != SamplerName::Infill);
    let limited = params.top_k > 0 && before.any(|sampler| *sampler == SamplerName::TopK);
    if params.mirostat == 0 && params.samplers.contains(&SamplerName::Infill) && !limited {
        let names: Vec<_> = params.samplers.iter().map(|sampler| sampler.as_str()).collect();
        let expected =
            "a list with top_k (above 0) before infill, which compares every candidate with every other one";
        check.refuse("samplers", format!("{names:?}"), expected);
    }
}
