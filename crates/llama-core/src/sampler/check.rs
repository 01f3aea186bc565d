//! Finds everything that is wrong with a chain's samplers.

use core::fmt;
use std::collections::HashSet;

use super::grammar;
use super::kind::Sampler;
use super::params::{
    AdaptiveP, Dry, DynamicTemperature, Grammar, LazyTriggers, Mirostat, MirostatV2, Penalties, Xtc,
};
use super::range::{self, ParameterRange};
use crate::error::{ErrorKind, ParameterProblem, Result, SamplerProblem};
use crate::model::Model;
use crate::token::Token;
use crate::tokenize::TokenizeOptions;

/// The longest text of a token that the infill sampler takes: with longer ones it throws.
const MAX_INFILL_PIECE: usize = 512;
const MAX_TRIGGER_WORD: usize = 256;
const MAX_TRIGGER_PATTERN: usize = 4096;
/// `std::regex` recurses for each group within a group when it reads a pattern.
const MAX_PATTERN_DEPTH: usize = 64;

/// Checks the samplers and returns the size of the vocabulary that they were made for, if they were made for
/// one.
pub(super) fn check(samplers: &[Sampler]) -> Result<Option<usize>> {
    let mut problems = Vec::new();
    for (index, sampler) in samplers.iter().enumerate() {
        problems.extend(of(sampler).into_iter().map(|flaw| flaw.into_problem(index, sampler.name())));
        problems.extend(of_grammar_text(index, sampler));
    }
    problems.extend(of_order(samplers));
    let (n_vocab, different) = vocabulary(samplers);
    problems.extend(different);
    problems.sort_by_key(|problem| problem.index);
    if problems.is_empty() { Ok(n_vocab) } else { Err(ErrorKind::InvalidSamplers { problems }.into()) }
}

fn of_order(samplers: &[Sampler]) -> Vec<SamplerProblem> {
    let mut problems = Vec::new();
    let Some((last, before)) = samplers.split_last() else {
        let text =
            "it is empty: end it with a sampler that selects the token, such as greedy or dist".to_owned();
        return vec![SamplerProblem::new(0, "chain", text)];
    };
    let mut limited = false;
    for (index, sampler) in samplers.iter().enumerate() {
        limited |= matches!(sampler, Sampler::TopK { k: 1.. });
        if matches!(sampler, Sampler::Infill { .. }) && !limited {
            let text = "it compares every candidate with every other one: put a top_k before it".to_owned();
            problems.push(SamplerProblem::new(index, sampler.name(), text));
        }
    }
    for (index, sampler) in before.iter().enumerate().filter(|(_, sampler)| sampler.is_selecting()) {
        let text = "it selects the token and must be the last of the chain".to_owned();
        problems.push(SamplerProblem::new(index, sampler.name(), text));
    }
    if !last.is_selecting() {
        let text =
            "it is the last of the chain and does not select a token: end the chain with greedy, dist, \
                    mirostat, mirostat_v2 or adaptive_p"
                .to_owned();
        problems.push(SamplerProblem::new(before.len(), last.name(), text));
    }
    problems
}

fn vocabulary(samplers: &[Sampler]) -> (Option<usize>, Vec<SamplerProblem>) {
    let mut first = None;
    let mut problems = Vec::new();
    for (index, sampler) in samplers.iter().enumerate() {
        let Some(model) = sampler.model() else { continue };
        let n_vocab = model.vocab().n_tokens();
        let expected = *first.get_or_insert(n_vocab);
        if n_vocab != expected {
            let text = format!(
                "its model has a vocabulary of {n_vocab} tokens, an earlier sampler's of {expected}: use one model"
            );
            problems.push(SamplerProblem::new(index, sampler.name(), text));
        }
    }
    (first, problems)
}

/// One thing that is wrong with a sampler.
enum Flaw {
    Parameter(ParameterProblem),
    Other(String),
}

impl From<String> for Flaw {
    fn from(reason: String) -> Self {
        Self::Other(reason)
    }
}

impl Flaw {
    fn into_problem(self, index: usize, sampler: &'static str) -> SamplerProblem {
        let (reason, parameter) = match self {
            Self::Parameter(problem) => (problem.to_string(), Some(problem)),
            Self::Other(reason) => (reason, None),
        };
        SamplerProblem { parameter, ..SamplerProblem::new(index, sampler, reason) }
    }
}

fn of(sampler: &Sampler) -> Vec<Flaw> {
    let mut out = Vec::new();
    match sampler {
        Sampler::Greedy | Sampler::Dist { .. } | Sampler::TopK { .. } | Sampler::Custom(_) => {}
        Sampler::TopP { p, .. } | Sampler::MinP { p, .. } | Sampler::Typical { p, .. } => {
            check_range(&mut out, "p", *p, range::P);
        }
        Sampler::Temperature { temperature } => {
            check_range(&mut out, "temperature", *temperature, range::TEMPERATURE);
        }
        Sampler::DynamicTemperature(params) => of_dynamic_temperature(&mut out, params),
        Sampler::Xtc(Xtc { probability, threshold, .. }) => {
            check_range(&mut out, "probability", *probability, range::XTC_PROBABILITY);
            check_range(&mut out, "threshold", *threshold, range::XTC_THRESHOLD);
        }
        Sampler::TopNSigma { n } => check_range(&mut out, "n", *n, range::SIGMAS),
        Sampler::Mirostat(Mirostat { tau, eta, m, .. }) => {
            of_mirostat(&mut out, *tau, *eta);
            check_range(&mut out, "m", *m, range::M);
        }
        Sampler::MirostatV2(MirostatV2 { tau, eta, .. }) => of_mirostat(&mut out, *tau, *eta),
        Sampler::AdaptiveP(AdaptiveP { target, decay, .. }) => {
            check_range(&mut out, "target", *target, range::TARGET);
            check_range(&mut out, "decay", *decay, range::DECAY);
        }
        Sampler::Penalties(params) => of_penalties(&mut out, params),
        Sampler::Dry { model, params } => of_dry(&mut out, model, params),
        Sampler::LogitBias { model, biases } => of_biases(&mut out, model, biases),
        Sampler::Infill { model } => of_infill(&mut out, model),
        Sampler::Grammar(params) => of_grammar(&mut out, params),
    }
    out
}

/// Refuses a value that is not in the range.
fn check_range<T: Copy + PartialOrd + fmt::Display>(
    out: &mut Vec<Flaw>,
    name: &str,
    value: T,
    range: ParameterRange<T>,
) {
    if !range.contains(value) {
        refuse(out, name, value, range.to_string());
    }
}

fn refuse(out: &mut Vec<Flaw>, name: &str, value: impl fmt::Display, expected: String) {
    out.push(Flaw::Parameter(ParameterProblem::new(name, value, expected)));
}

fn of_dynamic_temperature(out: &mut Vec<Flaw>, params: &DynamicTemperature) {
    check_range(out, "temperature", params.temperature, range::TEMPERATURE);
    check_range(out, "delta", params.delta, range::TEMPERATURE_DELTA);
    check_range(out, "exponent", params.exponent, range::TEMPERATURE_EXPONENT);
}

fn of_mirostat(out: &mut Vec<Flaw>, tau: f32, eta: f32) {
    check_range(out, "tau", tau, range::TAU);
    check_range(out, "eta", eta, range::ETA);
}

fn of_penalties(out: &mut Vec<Flaw>, params: &Penalties) {
    check_range(out, "last_n", params.last_n, range::LAST_N);
    check_range(out, "repeat", params.repeat, range::REPEAT);
    check_range(out, "frequency", params.frequency, range::PENALTY);
    check_range(out, "presence", params.presence, range::PENALTY);
}

fn of_dry(out: &mut Vec<Flaw>, model: &Model, params: &Dry) {
    check_range(out, "multiplier", params.multiplier, range::DRY_MULTIPLIER);
    check_range(out, "base", params.base, range::DRY_BASE);
    check_range(out, "last_n", params.last_n, range::LAST_N);
    check_range(out, "allowed_length", params.allowed_length, range::LAST_N);
    if !params.breakers.is_empty() {
        tokenizer(out, model);
    }
    let distinct: HashSet<&str> = params.breakers.iter().map(String::as_str).collect();
    if !range::DRY_BREAKERS.contains(distinct.len()) {
        let value = format_args!("a list of {} different texts", distinct.len());
        refuse(out, "breakers", value, format!("a list of at most {}", range::DRY_BREAKERS.max()));
    }
    for (index, breaker) in params.breakers.iter().enumerate() {
        text(out, &format!("breaker {index}"), breaker, range::DRY_BREAKER.max());
    }
}

/// Refuses texts that are empty, too long, or have a NUL byte.
fn text(out: &mut Vec<Flaw>, name: &str, text: &str, max: usize) {
    if text.is_empty() || text.len() > max {
        refuse(out, name, format_args!("{} bytes long", text.len()), format!("from 1 to {max} bytes long"));
    }
    if let Some(position) = text.find('\0') {
        out.push(
            format!("{name} has a NUL byte at position {position}, which a C string cannot hold").into(),
        );
    }
}

fn tokenizer(out: &mut Vec<Flaw>, model: &Model) {
    if let Err(error) = model.vocab().check_has_tokenizer("this sampler") {
        out.push(error.to_string().into());
    }
}

fn token(out: &mut Vec<Flaw>, model: &Model, token: Token) {
    if let Err(error) = model.vocab().check(token) {
        out.push(error.to_string().into());
    }
}

fn of_biases(out: &mut Vec<Flaw>, model: &Model, biases: &[(Token, f32)]) {
    let mut seen = HashSet::new();
    for (biased, bias) in biases {
        token(out, model, *biased);
        if !seen.insert(*biased) {
            out.push(format!("token {biased} has two biases: give their sum").into());
        }
        if !range::BIAS.contains(*bias) {
            refuse(out, &format!("the bias of token {biased}"), bias, range::BIAS.to_string());
        }
    }
}

fn of_infill(out: &mut Vec<Flaw>, model: &Model) {
    tokenizer(out, model);
    if !out.is_empty() {
        return;
    }
    let vocab = model.vocab();
    if vocab.eot().or(vocab.eos()).is_none() {
        out.push(
            "the vocabulary has neither an end of turn nor an end of text, which it selects"
                .to_owned()
                .into(),
        );
    }
    let mut piece = Vec::new();
    for id in 0..vocab.n_tokens_raw() {
        piece.clear();
        if let Err(error) = vocab.append_token_bytes(Token::new(id), false, &mut piece) {
            out.push(error.to_string().into());
            return;
        }
        if piece.len() > MAX_INFILL_PIECE {
            let length = piece.len();
            out.push(
                format!("token {id} has {length} bytes: it cannot take more than {MAX_INFILL_PIECE}").into(),
            );
            return;
        }
    }
}

fn of_grammar(out: &mut Vec<Flaw>, params: &Grammar) {
    tokenizer(out, &params.model);
    for (name, text) in [("the grammar", &params.grammar), ("root", &params.root)] {
        if let Some(position) = text.find('\0') {
            out.push(
                format!("{name} has a NUL byte at position {position}, which a C string cannot hold").into(),
            );
        }
    }
    if let Some(triggers) = &params.triggers {
        of_triggers(out, &params.model, triggers);
    }
}

/// What is wrong with the rules of a grammar, when nothing else is wrong with it.
fn of_grammar_text(index: usize, sampler: &Sampler) -> Option<SamplerProblem> {
    let Sampler::Grammar(params) = sampler else {
        return None;
    };
    if !of(sampler).is_empty() {
        return None;
    }
    let flaw = check_grammar(params).err()?;
    let reason = format!("the grammar is not valid: {flaw}");
    Some(SamplerProblem { position: flaw.position(), ..SamplerProblem::new(index, sampler.name(), reason) })
}

fn check_grammar(params: &Grammar) -> Result<(), grammar::Flaw> {
    let vocab = params.model.vocab();
    let options = TokenizeOptions::default().add_special(false).parse_special(true);
    let resolve = |text: &str| match vocab.tokenize(text, options).as_deref() {
        Ok([token]) => Ok(token.get().unsigned_abs()),
        Ok(tokens) => Err(format!("{text} is not one token but {}", tokens.len())),
        Err(error) => Err(error.to_string()),
    };
    let n_vocab = u32::try_from(vocab.n_tokens()).unwrap_or(u32::MAX);
    grammar::check(&params.grammar, &params.root, n_vocab, &resolve)
}

fn of_triggers(out: &mut Vec<Flaw>, model: &Model, triggers: &LazyTriggers) {
    if triggers == &LazyTriggers::default() {
        out.push(
            "there is no trigger, so the grammar would never hold: give a word, pattern or token"
                .to_owned()
                .into(),
        );
    }
    for (index, word) in triggers.words.iter().enumerate() {
        text(out, &format!("trigger word {index}"), word, MAX_TRIGGER_WORD);
    }
    for (index, pattern) in triggers.patterns.iter().enumerate() {
        let name = format!("trigger pattern {index}");
        text(out, &name, pattern, MAX_TRIGGER_PATTERN);
        if pattern.bytes().filter(|byte| *byte == b'(').count() > MAX_PATTERN_DEPTH {
            out.push(format!("{name} has more than {MAX_PATTERN_DEPTH} groups").into());
        }
    }
    for trigger in &triggers.tokens {
        token(out, model, *trigger);
    }
}
