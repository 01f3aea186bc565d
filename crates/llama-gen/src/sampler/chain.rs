//! The order of samplers, as in llama.cpp's tools.

use llama_core::sampler::{
    AdaptiveP, Dry, DynamicTemperature, Grammar, Mirostat, MirostatV2, Penalties, Seed, Xtc,
};
use llama_core::{Model, Sampler, Token, Vocab};

use crate::error::Result;
use crate::params::{GrammarTriggers, ResolvedSampling, SamplerName, biased_tokens};
use crate::tokenizer::Tokenizer;

/// The number of most likely tokens that Mirostat 1 estimates from, in llama.cpp and in the paper.
const MIROSTAT_M: u32 = 100;

/// Returns the samplers for these parameters: biases and grammar first, then the others in their order, then the one that
/// selects. Samplers that would change nothing are left out. With `ignore_eos` the tokens that end a generation are forbidden.
pub(super) fn samplers(
    params: &ResolvedSampling,
    model: &Model,
    tokenizer: &dyn Tokenizer,
    ignore_eos: bool,
) -> Result<Vec<Sampler>> {
    let mut samplers = Vec::new();
    let biases = biases(params, model, tokenizer, ignore_eos)?;
    if !biases.is_empty() {
        samplers.push(Sampler::LogitBias { model: model.clone(), biases });
    }
    if let Some(grammar) = &params.grammar {
        samplers.push(Sampler::Grammar(
            Grammar::new(model, grammar.text.clone(), grammar.root.clone())
                .triggers(grammar.triggers.as_ref().map(GrammarTriggers::to_lazy)),
        ));
    }
    // One number for all, so that a generation can be repeated by it.
    let seed = Seed::Fixed(Seed::from(params.seed).number());
    let (tau, eta) = (params.mirostat_tau, params.mirostat_eta);
    let temperature = Sampler::Temperature { temperature: params.temperature };
    match params.mirostat {
        0 => Order { params, model, seed }.add_to(&mut samplers),
        1 => {
            let (model, m) = (model.clone(), MIROSTAT_M);
            samplers
                .extend([temperature, Sampler::Mirostat(Mirostat::new(&model, tau, eta).m(m).seed(seed))]);
        }
        _ => samplers.extend([temperature, Sampler::MirostatV2(MirostatV2::new(tau, eta).seed(seed))]),
    }
    Ok(samplers)
}

/// Returns the biases of single tokens, one for each token.
pub(crate) fn biases(
    params: &ResolvedSampling,
    model: &Model,
    tokenizer: &dyn Tokenizer,
    ignore_eos: bool,
) -> Result<Vec<(Token, f32)>> {
    let mut biases = biased_tokens(&params.logit_bias, tokenizer)?;
    for token in forbidden(model.vocab(), ignore_eos) {
        biases.retain(|(biased, _)| *biased != token);
        biases.push((token, f32::NEG_INFINITY));
    }
    Ok(biases)
}

/// Returns the tokens that must not be generated: those that the model's metadata suppresses and, with `ignore_eos`, those
/// that end a generation.
fn forbidden(vocab: Vocab<'_>, ignore_eos: bool) -> Vec<Token> {
    let mut tokens = vocab.suppressed();
    if ignore_eos {
        let all = (0..i32::try_from(vocab.n_tokens()).unwrap_or(i32::MAX)).map(Token::new);
        tokens.extend(all.filter(|token| vocab.is_eog(*token)));
    }
    tokens
}

/// Returns the samplers in the requested order.
struct Order<'p> {
    params: &'p ResolvedSampling,
    model: &'p Model,
    seed: Seed,
}

impl Order<'_> {
    fn add_to(&self, samplers: &mut Vec<Sampler>) {
        let only_best = self.is_greedy() && !self.may_remove_best();
        let is_kept = |sampler: &SamplerName| {
            !only_best || matches!(sampler, SamplerName::Penalties | SamplerName::Dry)
        };
        let kept = self.params.samplers.iter().filter(|sampler| is_kept(sampler));
        samplers.extend(kept.filter_map(|sampler| self.sampler(*sampler)));
        samplers.push(match self.adaptive() {
            Some(adaptive) => Sampler::AdaptiveP(adaptive),
            None if self.is_greedy() => Sampler::Greedy,
            None => Sampler::Dist { seed: self.seed },
        });
    }

    /// Whether the last sampler leaves one candidate, as llama.cpp's tools decide it.
    fn is_greedy(&self) -> bool {
        let params = self.params;
        self.adaptive().is_none()
            && match params.samplers.last() {
                Some(SamplerName::Temperature) => params.temperature == 0.0 && params.dynatemp_range == 0.0,
                Some(SamplerName::TopK) => params.top_k == 1,
                _ => false,
            }
    }

    /// Whether a sampler may remove the most likely candidate, or depends on what others remove.
    fn may_remove_best(&self) -> bool {
        self.params.samplers.iter().any(|sampler| match sampler {
            SamplerName::TypicalP => self.params.typical_p < 1.0,
            SamplerName::Xtc => self.xtc_is_on(),
            SamplerName::Infill => true,
            _ => false,
        })
    }

    fn xtc_is_on(&self) -> bool {
        self.params.xtc_probability > 0.0 && self.params.xtc_threshold <= 0.5
    }

    fn adaptive(&self) -> Option<AdaptiveP> {
        let Self { params, seed, .. } = *self;
        let is_on = params.samplers.contains(&SamplerName::AdaptiveP) && params.adaptive_target >= 0.0;
        is_on.then_some(AdaptiveP::new(params.adaptive_target, params.adaptive_decay).seed(seed))
    }

    /// Returns the sampler with this name. `None` when it is switched off, and for adaptive-p, which comes last.
    fn sampler(&self, name: SamplerName) -> Option<Sampler> {
        let Self { params, model, seed } = *self;
        let min_keep = usize::try_from(params.min_keep.max(1)).unwrap_or(usize::MAX);
        let (is_on, sampler) = match name {
            SamplerName::Penalties => (self.penalises(), Sampler::Penalties(self.penalties())),
            SamplerName::Dry => {
                let is_on = params.dry_multiplier > 0.0 && params.dry_penalty_last_n > 0;
                (is_on, Sampler::Dry { model: model.clone(), params: self.dry() })
            }
            SamplerName::TopNSigma => {
                (params.top_n_sigma > 0.0, Sampler::TopNSigma { n: params.top_n_sigma })
            }
            SamplerName::TopK => (params.top_k > 0, Sampler::TopK { k: params.top_k }),
            SamplerName::TypicalP => {
                (params.typical_p < 1.0, Sampler::Typical { p: params.typical_p, min_keep })
            }
            SamplerName::TopP => (params.top_p < 1.0, Sampler::TopP { p: params.top_p, min_keep }),
            SamplerName::MinP => (params.min_p > 0.0, Sampler::MinP { p: params.min_p, min_keep }),
            SamplerName::Xtc => {
                let (probability, threshold) = (params.xtc_probability, params.xtc_threshold);
                (
                    self.xtc_is_on(),
                    Sampler::Xtc(Xtc::new(probability, threshold).min_keep(min_keep).seed(seed)),
                )
            }
            SamplerName::Temperature if params.dynatemp_range > 0.0 => {
                let (temperature, delta) = (params.temperature, params.dynatemp_range);
                let exponent = params.dynatemp_exponent;
                (
                    true,
                    Sampler::DynamicTemperature(
                        DynamicTemperature::default()
                            .temperature(temperature)
                            .delta(delta)
                            .exponent(exponent),
                    ),
                )
            }
            SamplerName::Temperature => {
                let temperature = params.temperature;
                (temperature != 1.0, Sampler::Temperature { temperature })
            }
            SamplerName::Infill => (true, Sampler::Infill { model: model.clone() }),
            SamplerName::AdaptiveP => return None,
        };
        is_on.then_some(sampler)
    }

    fn penalties(&self) -> Penalties {
        let params = self.params;
        Penalties::default()
            .last_n(self.last_n(params.repeat_last_n))
            .repeat(params.repeat_penalty)
            .frequency(params.frequency_penalty)
            .presence(params.presence_penalty)
    }

    fn penalises(&self) -> bool {
        let params = self.params;
        params.repeat_last_n > 0
            && (params.repeat_penalty != 1.0
                || params.frequency_penalty != 0.0
                || params.presence_penalty != 0.0)
    }

    fn dry(&self) -> Dry {
        let params = self.params;
        Dry::default()
            .multiplier(params.dry_multiplier)
            .base(params.dry_base)
            .allowed_length(params.dry_allowed_length)
            .last_n(self.last_n(params.dry_penalty_last_n))
            .breakers(params.dry_sequence_breakers.clone())
    }

    fn last_n(&self, last_n: u32) -> u32 {
        if last_n == u32::MAX { self.model.n_ctx_train() } else { last_n }
    }
}
