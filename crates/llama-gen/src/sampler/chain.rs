//! llama.cpp's chain of samplers, as its tools put it together.

use llama_core::{
    AdaptiveP, Dry, DynamicTemperature, Grammar, Model, Penalties, Sampler, SamplerChain,
    SamplerChainBuilder, Token, Vocab, Xtc,
};

use crate::error::Result;
use crate::params::{GrammarTriggers, ResolvedSampling, SamplerName, biased_tokens};
use crate::tokenizer::Tokenizer;

/// The chain that does this: biases and grammar first, then the samplers in their order, then the one that selects.
/// Samplers that would change nothing are left out. With `ignore_eos` the tokens that end a generation are forbidden.
pub(crate) fn chain(
    params: &ResolvedSampling,
    model: &Model,
    tokenizer: &dyn Tokenizer,
    ignore_eos: bool,
) -> Result<SamplerChain> {
    let mut chain = SamplerChain::builder();
    let mut biases = biased_tokens(&params.logit_bias, tokenizer)?;
    for token in forbidden(model.vocab(), ignore_eos) {
        biases.retain(|(biased, _)| *biased != token);
        biases.push((token, f32::NEG_INFINITY));
    }
    if !biases.is_empty() {
        chain = chain.logit_bias(model, biases);
    }
    if let Some(grammar) = &params.grammar {
        chain = chain.push(Sampler::Grammar(Grammar {
            model: model.clone(),
            grammar: grammar.text.clone(),
            root: grammar.root.clone(),
            triggers: grammar.triggers.as_ref().map(GrammarTriggers::to_lazy),
        }));
    }
    let seed = params.seed.unwrap_or(SamplerChain::RANDOM_SEED);
    let (tau, eta) = (params.mirostat_tau, params.mirostat_eta);
    let chain = match params.mirostat {
        0 => Order { params, model, seed }.add_to(chain),
        1 => chain.temperature(params.temperature).mirostat(model, tau, eta, seed),
        _ => chain.temperature(params.temperature).mirostat_v2(tau, eta, seed),
    };
    Ok(chain.build()?)
}

/// What the model's makers want never to be generated, and what the caller does.
fn forbidden(vocab: Vocab<'_>, ignore_eos: bool) -> Vec<Token> {
    let mut tokens = vocab.suppressed();
    if ignore_eos {
        let all = (0..i32::try_from(vocab.n_tokens()).unwrap_or(i32::MAX)).map(Token::new);
        tokens.extend(all.filter(|token| vocab.is_eog(*token)));
    }
    tokens
}

/// The samplers in the order that was asked for.
struct Order<'p> {
    params: &'p ResolvedSampling,
    model: &'p Model,
    seed: u32,
}

impl Order<'_> {
    fn add_to(&self, mut chain: SamplerChainBuilder) -> SamplerChainBuilder {
        let only_best = self.is_greedy() && !self.may_remove_best();
        for sampler in &self.params.samplers {
            let keeps_best = !matches!(sampler, SamplerName::Penalties | SamplerName::Dry);
            if !(only_best && keeps_best) {
                chain = self.add(chain, *sampler);
            }
        }
        match self.adaptive() {
            Some(adaptive) => chain.push(Sampler::AdaptiveP(adaptive)),
            None if self.is_greedy() => chain.greedy(),
            None => chain.dist(self.seed),
        }
    }

    /// As llama.cpp's tools decide it: when the last sampler leaves one candidate.
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
        is_on.then_some(AdaptiveP { target: params.adaptive_target, decay: params.adaptive_decay, seed })
    }

    fn add(&self, chain: SamplerChainBuilder, sampler: SamplerName) -> SamplerChainBuilder {
        let Self { params, model, seed } = *self;
        let min_keep = usize::try_from(params.min_keep.max(1)).unwrap_or(usize::MAX);
        match sampler {
            SamplerName::Penalties if self.penalises() => chain.penalties(Penalties {
                last_n: self.last_n(params.repeat_last_n),
                repeat: params.repeat_penalty,
                frequency: params.frequency_penalty,
                presence: params.presence_penalty,
            }),
            SamplerName::Dry if params.dry_multiplier > 0.0 && params.dry_penalty_last_n > 0 => {
                chain.dry(model, self.dry())
            }
            SamplerName::TopNSigma if params.top_n_sigma > 0.0 => chain.top_n_sigma(params.top_n_sigma),
            SamplerName::TopK if params.top_k > 0 => chain.top_k(params.top_k),
            SamplerName::TypicalP if params.typical_p < 1.0 => {
                chain.push(Sampler::Typical { p: params.typical_p, min_keep })
            }
            SamplerName::TopP if params.top_p < 1.0 => {
                chain.push(Sampler::TopP { p: params.top_p, min_keep })
            }
            SamplerName::MinP if params.min_p > 0.0 => {
                chain.push(Sampler::MinP { p: params.min_p, min_keep })
            }
            SamplerName::Xtc if self.xtc_is_on() => chain.push(Sampler::Xtc(Xtc {
                probability: params.xtc_probability,
                threshold: params.xtc_threshold,
                min_keep,
                seed,
            })),
            SamplerName::Temperature if params.dynatemp_range > 0.0 => {
                chain.push(Sampler::DynamicTemperature(DynamicTemperature {
                    temperature: params.temperature,
                    delta: params.dynatemp_range,
                    exponent: params.dynatemp_exponent,
                }))
            }
            SamplerName::Temperature if params.temperature != 1.0 => chain.temperature(params.temperature),
            SamplerName::Infill => chain.infill(model),
            // Switched off; and adaptive-p comes last.
            _ => chain,
        }
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
        Dry {
            multiplier: params.dry_multiplier,
            base: params.dry_base,
            allowed_length: params.dry_allowed_length,
            last_n: self.last_n(params.dry_penalty_last_n),
            breakers: params.dry_sequence_breakers.clone(),
        }
    }

    fn last_n(&self, last_n: u32) -> u32 {
        if last_n == u32::MAX { self.model.n_ctx_train() } else { last_n }
    }
}
