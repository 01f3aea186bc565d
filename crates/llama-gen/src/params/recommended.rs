//! Sampling parameters that a model's metadata recommends.

use core::str::FromStr;

use llama_core::Model;
use llama_core::model::SamplingKey;

use super::sampler_name::SamplerName;
use super::sampling::{ResolvedSampling, SamplingParams};
use crate::error::Result;

impl SamplingParams {
    /// Reads the parameters that the model's authors recommend: the keys `general.sampling.*` of its metadata. A value that
    /// cannot be parsed is left open, and unknown samplers are left out, both with a warning.
    ///
    /// # Errors
    ///
    /// None is expected; an exception inside llama.cpp is reported.
    pub fn recommended(model: &Model) -> Result<Self> {
        Ok(Self {
            samplers: text(model, SamplingKey::Sequence)?.map(|names| samplers(&names)),
            top_k: value::<i64>(model, SamplingKey::TopK)?.map(count_or_zero),
            top_p: value(model, SamplingKey::TopP)?,
            min_p: value(model, SamplingKey::MinP)?,
            xtc_probability: value(model, SamplingKey::XtcProbability)?,
            xtc_threshold: value(model, SamplingKey::XtcThreshold)?,
            temperature: value(model, SamplingKey::Temperature)?,
            repeat_last_n: value::<i64>(model, SamplingKey::PenaltyLastN)?
                .map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
            repeat_penalty: value(model, SamplingKey::PenaltyRepeat)?,
            mirostat: value(model, SamplingKey::Mirostat)?,
            mirostat_tau: value(model, SamplingKey::MirostatTau)?,
            mirostat_eta: value(model, SamplingKey::MirostatEta)?,
            ..Self::default()
        })
    }

    /// Returns these parameters with the model's [recommendations](Self::recommended) where they are open, and llama.cpp's
    /// defaults for the rest.
    ///
    /// # Errors
    ///
    /// As [`recommended`](Self::recommended).
    pub fn resolve(&self, model: &Model) -> Result<ResolvedSampling> {
        Ok(self.clone().or(&Self::recommended(model)?).or_defaults())
    }
}

fn count_or_zero(count: i64) -> u32 {
    u32::try_from(count.max(0)).unwrap_or(u32::MAX)
}

fn text(model: &Model, key: SamplingKey) -> Result<Option<String>> {
    Ok(model.recommended_sampling(key)?)
}

/// Reads a number. Returns `None` without the key, and for text that is not such a number.
fn value<T: FromStr>(model: &Model, key: SamplingKey) -> Result<Option<T>> {
    let Some(text) = text(model, key)? else { return Ok(None) };
    let value = text.trim().parse().ok();
    if value.is_none() {
        tracing::warn!("the model's metadata has {} = {text:?}, which is not a number", key.metadata_key());
    }
    Ok(value)
}

fn samplers(names: &str) -> Vec<SamplerName> {
    let find = |name: &str| {
        let sampler = SamplerName::find(name.trim());
        if sampler.is_none() {
            tracing::warn!("the model's metadata recommends the unknown sampler {name:?}");
        }
        sampler
    };
    names.split(';').filter_map(find).collect()
}
