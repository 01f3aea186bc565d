//! Creates llama.cpp's samplers from checked [`Sampler`] values.

use core::ffi::c_char;
use std::ffi::{CStr, CString};

use super::kind::Sampler;
use super::params::{
    AdaptiveP, Dry, DynamicTemperature, Grammar, LazyTriggers, Mirostat, MirostatV2, Penalties, Xtc,
};
use super::raw::RawChain;
use super::{custom, large_stack};
use crate::error::{ErrorKind, Result};
use crate::ffi::guard::guarded;
use crate::ffi::regex;
use crate::ffi::string::to_c;
use crate::log;
use crate::model::Model;
use crate::token::Token;

/// The lowest temperature that a dynamic temperature can reach. See `SamplerChainBuilder::temperature_ext`.
const MIN_DYNAMIC_TEMPERATURE: f32 = 1e-4;

/// Adds the sampler to the chain.
pub(super) fn add(chain: &mut RawChain, sampler: &Sampler, n_vocab: Option<usize>) -> Result<()> {
    let name = sampler.name();
    // SAFETY: each function takes plain numbers, or a vocabulary that the chain's `Sampler` values keep alive, and returns
    // a new sampler, or NULL (llama-sampler.cpp, the functions `llama_sampler_init_*`).
    let made = unsafe {
        match sampler {
            Sampler::Greedy => guarded!(llama_sampler_init_greedy()),
            Sampler::Dist { seed } => guarded!(llama_sampler_init_dist(seed.for_generator())),
            Sampler::TopK { k } => guarded!(llama_sampler_init_top_k(int(*k))),
            Sampler::TopP { p, min_keep } => guarded!(llama_sampler_init_top_p(*p, *min_keep)),
            Sampler::MinP { p, min_keep } => guarded!(llama_sampler_init_min_p(*p, *min_keep)),
            Sampler::Typical { p, min_keep } => guarded!(llama_sampler_init_typical(*p, *min_keep)),
            Sampler::Temperature { temperature } => guarded!(llama_sampler_init_temp(*temperature)),
            Sampler::DynamicTemperature(params) => dynamic_temperature(params),
            Sampler::Xtc(Xtc { probability, threshold, min_keep, seed }) => {
                guarded!(llama_sampler_init_xtc(*probability, *threshold, *min_keep, seed.for_generator()))
            }
            Sampler::TopNSigma { n } => guarded!(llama_sampler_init_top_n_sigma(*n)),
            Sampler::Mirostat(Mirostat { model, tau, eta, m, seed }) => {
                let (n_vocab, seed) = (model.vocab().n_tokens_raw(), seed.for_generator());
                guarded!(llama_sampler_init_mirostat(n_vocab, seed, *tau, *eta, int(*m)))
            }
            Sampler::MirostatV2(MirostatV2 { tau, eta, seed }) => {
                guarded!(llama_sampler_init_mirostat_v2(seed.for_generator(), *tau, *eta))
            }
            Sampler::AdaptiveP(AdaptiveP { target, decay, seed }) => {
                guarded!(llama_sampler_init_adaptive_p(*target, *decay, seed.for_generator()))
            }
            Sampler::Penalties(Penalties { last_n, repeat, frequency, presence }) => {
                // The size of the vocabulary is only read when the sampler runs on a GPU.
                let n_vocab = n_vocab.and_then(|n| i32::try_from(n).ok()).unwrap_or(i32::MAX);
                let last_n = int(*last_n);
                guarded!(llama_sampler_init_penalties(n_vocab, last_n, *repeat, *frequency, *presence))
            }
            Sampler::Infill { model } => guarded!(llama_sampler_init_infill(model.vocab().raw())),
            Sampler::Dry { model, params } => return log::explain(|| add_dry(chain, name, model, params)),
            Sampler::LogitBias { model, biases } => return add_biases(chain, name, model, biases),
            Sampler::Grammar(params) => return add_grammar(chain, name, params),
            Sampler::Custom(sampler) => return custom::add(chain, sampler),
        }
    };
    // SAFETY: the function has just created the sampler, and nothing else owns it.
    unsafe { chain.add(name, || made) }
}

/// Converts to C's `int`. A larger value becomes `i32::MAX`, which means "all" to the functions that take it.
fn int(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn dynamic_temperature(params: &DynamicTemperature) -> Result<*mut llama_sys::llama_sampler> {
    let DynamicTemperature { mut temperature, mut delta, exponent } = *params;
    if delta > 0.0 && temperature - delta < MIN_DYNAMIC_TEMPERATURE {
        // Keeps the upper end and raises the lower end to the minimum.
        let max = (temperature + delta).max(MIN_DYNAMIC_TEMPERATURE);
        temperature = f32::midpoint(max, MIN_DYNAMIC_TEMPERATURE);
        delta = max - temperature;
    }
    // SAFETY: takes numbers and returns a new sampler.
    unsafe { guarded!(llama_sampler_init_temp_ext(temperature, delta, exponent)) }
}

fn add_dry(chain: &mut RawChain, name: &'static str, model: &Model, params: &Dry) -> Result<()> {
    let breakers = Strings::new("breaker", params.breakers.iter().map(String::as_str))?;
    let mut pointers = breakers.pointers();
    // SAFETY: the vocabulary is valid and only used during the call. The breakers are `len` NUL-terminated strings
    // that live through the call.
    unsafe {
        chain.add(name, || {
            guarded!(llama_sampler_init_dry(
                model.vocab().raw(),
                params.multiplier,
                params.base,
                int(params.allowed_length),
                int(params.last_n),
                pointers.as_mut_ptr(),
                pointers.len(),
            ))
        })
    }
}

fn add_biases(
    chain: &mut RawChain,
    name: &'static str,
    model: &Model,
    biases: &[(Token, f32)],
) -> Result<()> {
    let raw: Vec<llama_sys::llama_logit_bias> = biases
        .iter()
        .map(|(token, bias)| llama_sys::llama_logit_bias { token: token.get(), bias: *bias })
        .collect();
    let n_vocab = model.vocab().n_tokens_raw();
    // No token occurs twice, so there are at most `n_vocab` entries.
    let count = i32::try_from(raw.len()).unwrap_or(n_vocab);
    // SAFETY: the array has `count` entries and is copied.
    unsafe { chain.add(name, || guarded!(llama_sampler_init_logit_bias(n_vocab, count, raw.as_ptr()))) }
}

fn add_grammar(chain: &mut RawChain, name: &'static str, params: &Grammar) -> Result<()> {
    match &params.triggers {
        Some(triggers) if !triggers.patterns.is_empty() => {
            large_stack::run(large_stack::needed(0, 0), || init_grammar(chain, name, params))?
        }
        _ => init_grammar(chain, name, params),
    }
}

fn init_grammar(chain: &mut RawChain, name: &'static str, params: &Grammar) -> Result<()> {
    let grammar = to_c("grammar", &params.grammar)?;
    let root = to_c("root rule", &params.root)?;
    let vocab = params.model.vocab();
    log::explain(|| match &params.triggers {
        // SAFETY: the vocabulary lives as long as the chain's `Sampler` values. The strings are NUL-terminated and
        // copied.
        None => unsafe {
            chain.add(name, || {
                guarded!(llama_sampler_init_grammar(vocab.raw(), grammar.as_ptr(), root.as_ptr()))
            })
        },
        Some(triggers) => {
            let patterns = trigger_patterns(triggers)?;
            patterns.0.iter().try_for_each(|pattern| check_pattern(name, pattern))?;
            let mut pointers = patterns.pointers();
            let tokens: Vec<i32> = triggers.tokens.iter().map(|token| token.get()).collect();
            // SAFETY: as above. The passed lengths are those of `patterns` and `tokens`, which live through the call
            // and are copied.
            unsafe {
                chain.add(name, || {
                    guarded!(llama_sampler_init_grammar_lazy_patterns(
                        vocab.raw(),
                        grammar.as_ptr(),
                        root.as_ptr(),
                        pointers.as_mut_ptr(),
                        pointers.len(),
                        tokens.as_ptr(),
                        tokens.len(),
                    ))
                })
            }
        }
    })
}

fn check_pattern(name: &'static str, pattern: &CStr) -> Result<()> {
    let Some(message) = regex::refusal(pattern)? else { return Ok(()) };
    let reason = format!("a trigger pattern must be a regular expression (C++, ECMAScript): {message}");
    Err(ErrorKind::Sampler { name, reason }.into())
}

/// Returns the patterns, followed by the words as patterns, each escaped and in one group.
fn trigger_patterns(triggers: &LazyTriggers) -> Result<Strings> {
    let words = triggers.words.iter().map(|word| {
        let mut pattern = String::from("(");
        for character in word.chars() {
            if r".^$|()*+?[]{}\".contains(character) {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.push(')');
        pattern
    });
    Strings::new("trigger", words.chain(triggers.patterns.iter().cloned()))
}

/// C strings, and the array of pointers to them that C takes.
struct Strings(Vec<CString>);

impl Strings {
    fn new(what: &'static str, texts: impl Iterator<Item = impl AsRef<str>>) -> Result<Self> {
        texts.map(|text| to_c(what, text.as_ref())).collect::<Result<_>>().map(Self)
    }

    /// Returns pointers that are valid as long as `self`.
    fn pointers(&self) -> Vec<*const c_char> {
        self.0.iter().map(|text| text.as_ptr()).collect()
    }
}
