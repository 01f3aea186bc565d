//! Checks parameters and collects all problems. The ranges are those of `llama-core`'s samplers.

use core::fmt::Display;

use llama_core::sampler::{ParameterRange, range};
use llama_core::{ErrorKind as CoreError, Model, Token};

use super::generation::GenerationParams;
use super::logit_bias::BiasTarget;
use super::sampler_name::SamplerName;
use super::sampling::ResolvedSampling;
use crate::error::{ErrorKind, ParameterProblem, Result};
use crate::sampler;

/// A share of the probability. llama-core takes 0 too, for which its samplers keep one candidate.
const SHARE: ParameterRange<f32> = ParameterRange::above(0.0, range::P.max());
/// The range of top-n-sigma, with negative numbers for none.
const SIGMAS: ParameterRange<f32> = ParameterRange::new(-range::SIGMAS.max(), range::SIGMAS.max());
/// Characters of a text that a message quotes.
const MAX_EXCERPT: usize = 60;

pub(super) fn sampling(params: &ResolvedSampling, problems: &mut Vec<ParameterProblem>) {
    let mut check = Check { problems };
    of_temperature(params, &mut check);
    of_truncation(params, &mut check);
    of_penalties(params, &mut check);
    of_selection(params, &mut check);
    for (index, bias) in params.logit_bias.iter().enumerate() {
        if !range::BIAS.contains(bias.bias) {
            let max = range::BIAS.max();
            let expected = format!("from -{max} to {max}, or false in JSON to forbid the token");
            check.refuse(&format!("logit_bias[{index}].bias"), bias.bias, expected);
        }
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

    fn range<T: Copy + PartialOrd + Display>(&mut self, name: &str, value: T, range: ParameterRange<T>) {
        if !range.contains(value) {
            self.refuse(name, value, range.to_string());
        }
    }

    /// Refuses a number of tokens that is too large; `u32::MAX` means all.
    fn last_n(&mut self, name: &str, value: u32) {
        if !range::LAST_N.or(u32::MAX).contains(value) {
            self.refuse(name, value, format!("{}, or -1 in JSON for all", range::LAST_N));
        }
    }
}

fn of_temperature(params: &ResolvedSampling, check: &mut Check<'_>) {
    check.range("temperature", params.temperature, range::TEMPERATURE);
    check.range("dynatemp_range", params.dynatemp_range, range::TEMPERATURE_DELTA);
    check.range("dynatemp_exponent", params.dynatemp_exponent, range::TEMPERATURE_EXPONENT);
}

fn of_truncation(params: &ResolvedSampling, check: &mut Check<'_>) {
    check.range("top_p", params.top_p, SHARE);
    check.range("min_p", params.min_p, range::P);
    check.range("typical_p", params.typical_p, SHARE);
    check.range("top_n_sigma", params.top_n_sigma, SIGMAS);
    check.range("xtc_probability", params.xtc_probability, range::XTC_PROBABILITY);
    check.range("xtc_threshold", params.xtc_threshold, range::XTC_THRESHOLD);
}

fn of_penalties(params: &ResolvedSampling, check: &mut Check<'_>) {
    check.last_n("repeat_last_n", params.repeat_last_n);
    check.range("repeat_penalty", params.repeat_penalty, range::REPEAT);
    check.range("frequency_penalty", params.frequency_penalty, range::PENALTY);
    check.range("presence_penalty", params.presence_penalty, range::PENALTY);
    check.range("dry_multiplier", params.dry_multiplier, range::DRY_MULTIPLIER);
    check.range("dry_base", params.dry_base, range::DRY_BASE);
    check.range("dry_allowed_length", params.dry_allowed_length, range::LAST_N);
    check.last_n("dry_penalty_last_n", params.dry_penalty_last_n);
    let breakers = &params.dry_sequence_breakers;
    if !range::DRY_BREAKERS.contains(breakers.len()) {
        let value = format!("a list of {} texts", breakers.len());
        check.refuse("dry_sequence_breakers", value, format!("at most {} texts", range::DRY_BREAKERS.max()));
    }
    for (index, breaker) in breakers.iter().enumerate() {
        if !range::DRY_BREAKER.contains(breaker.len()) || breaker.contains('\0') {
            let expected = format!("{} bytes long, without NUL", range::DRY_BREAKER);
            check.refuse(&format!("dry_sequence_breakers[{index}]"), excerpt(breaker), expected);
        }
    }
}

fn of_selection(params: &ResolvedSampling, check: &mut Check<'_>) {
    if params.mirostat > 2 {
        check.refuse("mirostat", params.mirostat, "0, 1 or 2");
    }
    check.range("mirostat_tau", params.mirostat_tau, range::TAU);
    check.range("mirostat_eta", params.mirostat_eta, range::ETA);
    let target = params.adaptive_target;
    if !(target.is_finite() && target <= range::TARGET.max()) {
        let expected = format!("at most {}, or below 0 for none", range::TARGET.max());
        check.refuse("adaptive_target", target, expected);
    }
    check.range("adaptive_decay", params.adaptive_decay, range::DECAY);
    let mut before = params.samplers.iter().take_while(|sampler| **sampler != SamplerName::Infill);
    let limited = params.top_k > 0 && before.any(|sampler| *sampler == SamplerName::TopK);
    if params.mirostat == 0 && params.samplers.contains(&SamplerName::Infill) && !limited {
        let names: Vec<_> = params.samplers.iter().map(|sampler| sampler.as_str()).collect();
        let expected =
            "a list with top_k (above 0) before infill, which compares every candidate with every other one";
        check.refuse("samplers", format!("{names:?}"), expected);
    }
}
