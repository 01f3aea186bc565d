//! Sets of parameters for common purposes.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use super::sampler_name::SamplerName;
use super::sampling::SamplingParams;

/// A set of sampling parameters for a common purpose. Parameters that it leaves open are resolved as usual.
///
/// ```
/// use llama_gen::{Preset, SamplingParams};
///
/// let params = SamplingParams::from(Preset::Creative).seed(7);
/// let mine = SamplingParams::default().top_k(10).or(&Preset::Precise.into());
/// # let _ = (params, mine);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Preset {
    /// Always the most likely token.
    Greedy,
    /// Draws from the model's own distribution: no temperature, no truncation, no penalties.
    Neutral,
    /// For facts, code and tool calls: little randomness, no unlikely tokens.
    Precise,
    /// For stories: a higher temperature, limited by `min_p`, and DRY against loops.
    Creative,
    /// Mirostat 2 at a surprise of 5 bits per token.
    Mirostat,
}

impl Preset {
    /// Every preset.
    pub const ALL: &'static [Self] =
        &[Self::Greedy, Self::Neutral, Self::Precise, Self::Creative, Self::Mirostat];

    /// Returns the name, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Greedy => "greedy",
            Self::Neutral => "neutral",
            Self::Precise => "precise",
            Self::Creative => "creative",
            Self::Mirostat => "mirostat",
        }
    }

    /// Returns the parameters.
    #[must_use]
    pub fn params(self) -> SamplingParams {
        let params = SamplingParams::default();
        match self {
            Self::Greedy => params
                .temperature(0.0)
                .dynatemp_range(0.0)
                .mirostat(0)
                .samplers(vec![SamplerName::Temperature]),
            Self::Neutral => params.temperature(1.0).dynatemp_range(0.0).mirostat(0).samplers(Vec::new()),
            Self::Precise => {
                params.temperature(0.2).top_k(40).top_p(0.9).min_p(0.1).mirostat(0).samplers(usual())
            }
            Self::Creative => params
                .temperature(1.1)
                .top_k(0)
                .top_p(1.0)
                .min_p(0.05)
                .dry_multiplier(0.8)
                .dry_penalty_last_n(1024)
                .mirostat(0)
                .samplers(usual()),
            Self::Mirostat => params.temperature(1.0).mirostat(2).mirostat_tau(5.0).mirostat_eta(0.1),
        }
    }
}

fn usual() -> Vec<SamplerName> {
    SamplerName::DEFAULT_ORDER.to_vec()
}

impl From<Preset> for SamplingParams {
    fn from(preset: Preset) -> Self {
        preset.params()
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An unknown name of a preset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the preset is \"{0}\", but must be greedy, neutral, precise, creative or mirostat")]
pub struct UnknownPreset(String);

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, UnknownPreset> {
        let preset = Self::ALL.iter().copied().find(|preset| preset.as_str() == name);
        preset.ok_or_else(|| UnknownPreset(name.to_owned()))
    }
}
