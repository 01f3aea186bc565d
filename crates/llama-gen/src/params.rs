//! What to generate and how to choose its tokens, under the names that llama.cpp and OpenAI use.

use llama_core::{Penalties, SamplerChain};
use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, Result};

/// How the next token is chosen. The defaults are those of llama.cpp's tools.
///
/// The order is llama.cpp's: penalties, top-k, typical, top-p, min-p, temperature, and a draw from what is left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SamplingParams {
    /// Flattens (above 1) or sharpens the distribution; 0 always takes the most likely token. Default: 0.8.
    pub temperature: f32,
    /// Only the k most likely tokens; 0 for all. Default: 40.
    pub top_k: u32,
    /// Only the most likely tokens that together have this probability; 1 for all. Default: 0.95.
    pub top_p: f32,
    /// Only tokens that have this share of the most likely one's probability; 0 for all. Default: 0.05.
    pub min_p: f32,
    /// Locally typical sampling's probability; 1 switches it off. Default: 1.
    pub typical_p: f32,
    /// The logit of a token that was seen among the last ones is divided by this (multiplied when negative);
    /// 1 switches it off. Default: 1.
    pub repeat_penalty: f32,
    /// Subtracted from a logit for each time that its token was seen among the last ones. Default: 0.
    pub frequency_penalty: f32,
    /// Subtracted from a logit when its token was seen among the last ones. Default: 0.
    pub presence_penalty: f32,
    /// How many tokens back the penalties look. Default: 64.
    pub penalty_last_n: u32,
    /// Seed of the draw; the same seed and parameters give the same text. `None`, the default: another each time.
    pub seed: Option<u32>,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            typical_p: 1.0,
            repeat_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            penalty_last_n: 64,
            seed: None,
        }
    }
}

impl SamplingParams {
    /// The chain of samplers that does this.
    ///
    /// # Errors
    ///
    /// From `llama-core` when it refuses a parameter.
    pub fn to_chain(&self) -> Result<SamplerChain> {
        let mut chain = SamplerChain::builder();
        if self.has_penalties() {
            chain = chain.penalties(Penalties {
                last_n: self.penalty_last_n,
                repeat: self.repeat_penalty,
                frequency: self.frequency_penalty,
                presence: self.presence_penalty,
            });
        }
        if self.temperature == 0.0 {
            return Ok(chain.greedy().build()?);
        }
        if self.top_k > 0 {
            chain = chain.top_k(self.top_k);
        }
        if self.typical_p < 1.0 {
            chain = chain.typical_p(self.typical_p);
        }
        if self.top_p < 1.0 {
            chain = chain.top_p(self.top_p);
        }
        if self.min_p > 0.0 {
            chain = chain.min_p(self.min_p);
        }
        // llama.cpp takes this seed for "draw one".
        const RANDOM: u32 = u32::MAX;
        Ok(chain.temperature(self.temperature).dist(self.seed.unwrap_or(RANDOM)).build()?)
    }

    fn has_penalties(&self) -> bool {
        self.penalty_last_n > 0
            && (self.repeat_penalty != 1.0 || self.frequency_penalty != 0.0 || self.presence_penalty != 0.0)
    }

    fn problems(&self, problems: &mut Vec<String>) {
        let mut check = |name: &str, value: f32, valid: bool, range: &str| {
            if !valid {
                problems.push(format!("{name} is {value}: it is {range}"));
            }
        };
        let share = |value: f32| (0.0..=1.0).contains(&value);
        let temperature = self.temperature;
        check(
            "temperature",
            temperature,
            temperature.is_finite() && temperature >= 0.0,
            "0 or a positive number",
        );
        check("top_p", self.top_p, share(self.top_p) && self.top_p > 0.0, "above 0 and at most 1");
        check("min_p", self.min_p, share(self.min_p), "between 0 and 1");
        check(
            "typical_p",
            self.typical_p,
            share(self.typical_p) && self.typical_p > 0.0,
            "above 0 and at most 1",
        );
        let repeat = self.repeat_penalty;
        check("repeat_penalty", repeat, repeat.is_finite() && repeat > 0.0, "a positive number, 1 for none");
        for (name, value) in
            [("frequency_penalty", self.frequency_penalty), ("presence_penalty", self.presence_penalty)]
        {
            check(name, value, value.is_finite(), "a number, 0 for none");
        }
    }
}

/// What to generate: how to choose tokens, and when to stop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GenerationParams {
    /// How the next token is chosen.
    pub sampling: SamplingParams,
    /// The most tokens to generate, at least 1. `None`, the default: until the model ends or the context is full.
    pub max_tokens: Option<u32>,
    /// Texts that end the generation; they are not part of the result. Default: none.
    pub stop: Vec<String>,
    /// Whether a special token's name in the prompt becomes that token. Only for prompts that you wrote yourself.
    /// Default: false.
    pub parse_special: bool,
    /// Whether to go on after an end-of-generation token, which then is left out of the text. Default: false.
    pub ignore_eos: bool,
}

impl GenerationParams {
    /// Looks at all parameters.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameters`] with everything that is wrong.
    pub fn validate(&self) -> Result<()> {
        let mut problems = Vec::new();
        self.sampling.problems(&mut problems);
        if self.max_tokens == Some(0) {
            problems.push("max_tokens is 0: it is at least 1, or None for no limit".to_owned());
        }
        if self.stop.iter().any(String::is_empty) {
            problems.push(
                "stop has an empty text, which would end every generation at once: remove it".to_owned(),
            );
        }
        if problems.is_empty() { Ok(()) } else { Err(ErrorKind::InvalidParameters(problems).into()) }
    }
}
