//! Parameters of a generation.

use core::fmt;
use core::time::Duration;

use llama_core::{Model, Token};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::sampling::SamplingParams;
use super::{check, lenient, names};
use crate::error::{Result, refuse};
use crate::stop::RepetitionGuard;

/// Parameters of a generation: how to choose tokens, and when to stop.
///
/// In JSON it is one object that has the fields of [`SamplingParams`] too, as in llama.cpp's and OpenAI's requests. Unknown
/// names are refused. To read it from a larger request, use `#[serde(flatten)]`.
///
/// ```
/// use llama_gen::GenerationParams;
///
/// let request = r#"{"max_completion_tokens": 64, "temperature": 0.2, "stop": "\n\n", "logit_bias": {"2": -100}}"#;
/// let params: GenerationParams = serde_json::from_str(request)?;
/// assert_eq!(params.max_tokens, Some(64));
/// assert_eq!(params.sampling.temperature, Some(0.2));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
#[non_exhaustive]
pub struct GenerationParams {
    /// Parameters of the choice of each token.
    #[serde(flatten)]
    pub sampling: SamplingParams,
    /// The most tokens to generate, at least 1. `None` (the default), or -1 in JSON: until the model ends the text or the
    /// context is full.
    #[serde(
        alias = "n_predict",
        alias = "max_completion_tokens",
        alias = "max_new_tokens",
        deserialize_with = "lenient::limit",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_tokens: Option<u32>,
    /// The longest time to generate, from the beginning of the prompt's processing. `None` (the default): no limit. In JSON
    /// `max_time_ms`, in milliseconds.
    #[serde(rename = "max_time_ms", with = "lenient::milliseconds", skip_serializing_if = "Option::is_none")]
    pub max_time: Option<Duration>,
    /// Texts that end the generation; they are not part of the result. Default: none.
    #[serde(deserialize_with = "lenient::one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Tokens that end the generation, besides those of the model; their text is not part of the result. Default: none.
    #[serde(alias = "stop_token_ids", with = "lenient::tokens", skip_serializing_if = "Vec::is_empty")]
    pub stop_tokens: Vec<Token>,
    /// Limits for a text that repeats itself. `None` (the default): no limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition_guard: Option<RepetitionGuard>,
    /// Whether a special token's name in the prompt becomes that token. Set it only for trusted prompts. Default: false.
    #[serde(deserialize_with = "lenient::or_default", skip_serializing_if = "is_false")]
    pub parse_special: bool,
    /// Whether the tokens that end a generation are never chosen. Default: false.
    #[serde(deserialize_with = "lenient::or_default", skip_serializing_if = "is_false")]
    pub ignore_eos: bool,
}

/// The names of the fields other than those of `sampling`.
pub(super) const NAMES: [&str; 11] = [
    "max_tokens",
    "n_predict",
    "max_completion_tokens",
    "max_new_tokens",
    "max_time_ms",
    "stop",
    "stop_tokens",
    "stop_token_ids",
    "repetition_guard",
    "parse_special",
    "ignore_eos",
];

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields so")]
fn is_false(value: &bool) -> bool {
    !*value
}

// `remote = "Self"` derives functions instead of the traits. Reading a struct with these names leaves the other fields of a
// larger request alone, where this one is flattened into it.
impl Serialize for GenerationParams {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for GenerationParams {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = GenerationParams;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with the parameters of a generation")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                GenerationParams::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_struct("GenerationParams", names::all(), Fields)
    }
}

impl GenerationParams {
    /// Sets the parameters of the choice of each token.
    #[must_use]
    pub fn sampling(mut self, sampling: SamplingParams) -> Self {
        self.sampling = sampling;
        self
    }

    /// Sets the most tokens to generate, at least 1.
    #[must_use]
    pub fn max_tokens(mut self, max_tokens: u32) -> Self {
        self.max_tokens = Some(max_tokens);
        self
    }

    /// Sets the longest time to generate, from the beginning of the prompt's processing.
    #[must_use]
    pub fn max_time(mut self, max_time: Duration) -> Self {
        self.max_time = Some(max_time);
        self
    }

    /// Sets the texts that end the generation.
    #[must_use]
    pub fn stop<S: Into<String>>(mut self, stop: impl IntoIterator<Item = S>) -> Self {
        self.stop = stop.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the tokens that end the generation, besides those of the model.
    #[must_use]
    pub fn stop_tokens(mut self, stop_tokens: impl Into<Vec<Token>>) -> Self {
        self.stop_tokens = stop_tokens.into();
        self
    }

    /// Sets the limits for a text that repeats itself.
    #[must_use]
    pub fn repetition_guard(mut self, repetition_guard: RepetitionGuard) -> Self {
        self.repetition_guard = Some(repetition_guard);
        self
    }

    /// Sets whether a special token's name in the prompt becomes that token.
    #[must_use]
    pub fn parse_special(mut self, parse_special: bool) -> Self {
        self.parse_special = parse_special;
        self
    }

    /// Sets whether the tokens that end a generation are never chosen.
    #[must_use]
    pub fn ignore_eos(mut self, ignore_eos: bool) -> Self {
        self.ignore_eos = ignore_eos;
        self
    }

    /// Returns these parameters, and those of `defaults` where these are open: `None`, an empty list, or false.
    ///
    /// ```
    /// use llama_gen::GenerationParams;
    ///
    /// let defaults = GenerationParams::default().max_tokens(100).stop(["\n"]);
    /// let params = GenerationParams::default().max_tokens(5).or(&defaults);
    /// assert_eq!(params, GenerationParams::default().max_tokens(5).stop(["\n"]));
    /// ```
    #[must_use]
    pub fn or(self, defaults: &Self) -> Self {
        Self {
            sampling: self.sampling.or(&defaults.sampling),
            max_tokens: self.max_tokens.or(defaults.max_tokens),
            max_time: self.max_time.or(defaults.max_time),
            stop: if self.stop.is_empty() { defaults.stop.clone() } else { self.stop },
            stop_tokens: if self.stop_tokens.is_empty() {
                defaults.stop_tokens.clone()
            } else {
                self.stop_tokens
            },
            repetition_guard: self.repetition_guard.or(defaults.repetition_guard),
            parse_special: self.parse_special || defaults.parse_special,
            ignore_eos: self.ignore_eos || defaults.ignore_eos,
        }
    }

    /// Checks all parameters that can be checked without a model.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameters`](crate::ErrorKind::InvalidParameters) with every problem.
    pub fn validate(&self) -> Result<()> {
        let mut problems = Vec::new();
        check::sampling(&self.sampling.or_defaults(), &mut problems);
        check::generation(self, &mut problems);
        refuse(problems)
    }

    /// Checks all parameters for a model: with its recommended sampling parameters, its vocabulary, and the grammar.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameters`](crate::ErrorKind::InvalidParameters) with every problem.
    /// [`ErrorKind::Core`](crate::ErrorKind::Core) when reading the model's metadata fails.
    pub fn validate_for(&self, model: &Model) -> Result<()> {
        let mut problems = Vec::new();
        let sampling = self.sampling.resolve(model)?;
        check::sampling(&sampling, &mut problems);
        check::generation(self, &mut problems);
        check::with_vocabulary(self, &sampling, model, &mut problems)?;
        refuse(problems)
    }
}
