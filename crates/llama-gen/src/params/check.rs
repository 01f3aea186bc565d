//! Finds everything that is wrong with parameters. The ranges are those of `llama-core`'s samplers.

use core::ops::RangeInclusive;

use llama_core::{ErrorKind as CoreError, Model, Token};

use super::generation::GenerationParams;
use super::logit_bias::BiasTarget;
use super::sampler_name::SamplerName;
use super::sampling::ResolvedSampling;
use crate::error::{ErrorKind, Result};
use crate::sampler;

/// The most tokens that a sampler remembers.
const MAX_LAST_N: u32 = 1 << 24;
/// Bytes of a DRY breaker, and their number.
const MAX_BREAKER: usize = 40;
const MAX_BREAKERS: usize = 64;

pub(super) fn sampling(params: &ResolvedSampling, problems: &mut Vec<String>) {
    let mut check = Check { problems };
    of_temperature(params, &mut check);
    of_truncation(params, &mut check);
    of_penalties(params, &mut check);
    of_selection(params, &mut check);
    for bias in &params.logit_bias {
        let target = match &bias.target {
            BiasTarget::Token(token) => format!("logit_bias of token {token}"),
            BiasTarget::Text(text) => format!("logit_bias of {text:?}"),
        };
        let valid = (-1e6..=1e6).contains(&bias.bias) || bias.bias == f32::NEG_INFINITY;
        check.valid(&target, bias.bias, valid, "-1000000 to 1000000, or false in JSON to forbid the token");
    }
}

pub(super) fn generation(params: &GenerationParams, problems: &mut Vec<String>) {
    if params.max_tokens == Some(0) {
        problems.push("max_tokens is 0: it is at least 1, or None for no limit".to_owned());
    }
    if params.stop.iter().any(String::is_empty) {
        problems
            .push("stop has an empty text, which would end every generation at once: remove it".to_owned());
    }
    if let Some(guard) = &params.repetition_guard {
        problems.extend(guard.problems());
    }
}

/// What only a model can tell. The chain is made to have the grammar and the samplers' own checks.
pub(super) fn with_vocabulary(
    params: &GenerationParams,
    sampling: &ResolvedSampling,
    model: &Model,
    problems: &mut Vec<String>,
) -> Result<()> {
    let n_vocab = model.vocab().n_tokens();
    let outside = |token: Token| usize::try_from(token.get()).map_or(true, |id| id >= n_vocab);
    let biased = sampling.logit_bias.iter().filter_map(|bias| match bias.target {
        BiasTarget::Token(token) => Some(("logit_bias", token)),
        BiasTarget::Text(_) => None,
    });
    let stops = params.stop_tokens.iter().map(|token| ("stop_tokens", *token));
    for (name, token) in biased.chain(stops).filter(|(_, token)| outside(*token)) {
        problems
            .push(format!("{name} has token {token}: the vocabulary has {n_vocab} tokens (0..{n_vocab})"));
    }
    if !problems.is_empty() {
        return Ok(());
    }
    let Err(error) = sampler::chain(sampling, model, model, params.ignore_eos) else { return Ok(()) };
    match error.kind() {
        ErrorKind::Core(core) => match core.kind() {
            CoreError::InvalidSamplers { problems: found, .. } => {
                problems.extend(found.iter().map(|problem| format!("{}: {problem}", problem.sampler)));
            }
            CoreError::Sampler { .. } => problems.push(core.to_string()),
            _ => return Err(error),
        },
        _ => return Err(error),
    }
    Ok(())
}

struct Check<'p> {
    problems: &'p mut Vec<String>,
}

impl Check<'_> {
    fn valid(&mut self, name: &str, value: f32, valid: bool, range: &str) {
        if !valid {
            self.problems.push(format!("{name} is {value}: it is {range}"));
        }
    }

    fn range(&mut self, name: &str, value: f32, range: RangeInclusive<f32>) {
        let text = format!("{} to {}", range.start(), range.end());
        self.valid(name, value, range.contains(&value), &text);
    }

    /// Above zero and at most 1.
    fn share(&mut self, name: &str, value: f32) {
        self.valid(name, value, value > 0.0 && value <= 1.0, "above 0 and at most 1");
    }

    /// A number of tokens, `u32::MAX` for all.
    fn last_n(&mut self, name: &str, value: u32) {
        if value > MAX_LAST_N && value != u32::MAX {
            self.problems.push(format!("{name} is {value}: it is 0 to {MAX_LAST_N}, or -1 in JSON for all"));
        }
    }
}

fn of_temperature(params: &ResolvedSampling, check: &mut Check<'_>) {
    let temperature = params.temperature;
    let valid = temperature == 0.0 || (temperature >= 1e-5 && temperature.is_finite());
    check.valid("temperature", temperature, valid, "0 or a positive number from 0.00001");
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
        let value = params.dry_allowed_length;
        check.problems.push(format!("dry_allowed_length is {value}: it is 0 to {MAX_LAST_N}"));
    }
    check.last_n("dry_penalty_last_n", params.dry_penalty_last_n);
    let breakers = &params.dry_sequence_breakers;
    if breakers.len() > MAX_BREAKERS {
        let count = breakers.len();
        check
            .problems
            .push(format!("dry_sequence_breakers has {count} texts: at most {MAX_BREAKERS} are used"));
    }
    for breaker in breakers {
        if breaker.is_empty() || breaker.len() > MAX_BREAKER || breaker.contains('\0') {
            check.problems.push(format!(
                "dry_sequence_breakers has {breaker:?}: each is of 1 to {MAX_BREAKER} bytes, without NUL"
            ));
        }
    }
}

fn of_selection(params: &ResolvedSampling, check: &mut Check<'_>) {
    if params.mirostat > 2 {
        check.problems.push(format!("mirostat is {}: it is 0, 1 or 2", params.mirostat));
    }
    let tau = params.mirostat_tau;
    check.valid("mirostat_tau", tau, tau > 0.0 && tau <= 100.0, "above 0 and at most 100");
    check.range("mirostat_eta", params.mirostat_eta, 0.0..=1.0);
    let target = params.adaptive_target;
    check.valid(
        "adaptive_target",
        target,
        target <= 1.0 && target.is_finite(),
        "at most 1, below 0 for none",
    );
    check.range("adaptive_decay", params.adaptive_decay, 0.0..=0.99);
    let mut before = params.samplers.iter().take_while(|sampler| **sampler != SamplerName::Infill);
    let limited = params.top_k > 0 && before.any(|sampler| *sampler == SamplerName::TopK);
    if params.mirostat == 0 && params.samplers.contains(&SamplerName::Infill) && !limited {
        let problem = "samplers has infill, which compares every candidate with every other one: put top_k before it, and \
                       a top_k above 0";
        check.problems.push(problem.to_owned());
    }
}
