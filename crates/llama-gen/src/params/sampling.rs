//! How the next token is chosen: what a caller sets, and what that comes to.

use llama_core::{Model, SamplerChain};
use serde::{Deserialize, Serialize};

use super::grammar::GrammarParams;
use super::logit_bias::{self, LogitBias};
use super::sampler_name::{self, SamplerName};
use super::{check, lenient};
use crate::error::{ParameterProblem, Result};
use crate::sampler;

/// Declares the parameters once: as they are set, each of them or not; as they are resolved, with llama.cpp's defaults;
/// and the methods that set them.
macro_rules! sampling_params {
    ($($(#[doc = $doc:literal])* $([serde($($serde:tt)*)])? $name:ident: $type:ty = $default:expr;)*) => {
        /// How the next token is chosen.
        ///
        /// Every parameter can be left open (`None`; absent or `null` in JSON). What is open is filled in
        /// [`resolve`](Self::resolve) with what the model's makers recommend in its metadata, and then with
        /// llama.cpp's defaults. The fields' docs name those. The names in JSON are those of llama.cpp's server, with
        /// OpenAI's and other usual ones read too; -1 means "all" or "none" where it does in llama.cpp.
        ///
        /// ```
        /// use llama_gen::SamplingParams;
        ///
        /// let params = SamplingParams::default().temperature(0.2).top_k(5);
        /// let same: SamplingParams = serde_json::from_str(r#"{"temp": 0.2, "top_k": 5}"#)?;
        /// assert_eq!(params, same);
        /// # Ok::<(), serde_json::Error>(())
        /// ```
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        #[non_exhaustive]
        pub struct SamplingParams {
            $(
                $(#[doc = $doc])*
                $(#[serde($($serde)*)])?
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $name: Option<$type>,
            )*
            /// Seed of the random numbers: the same seed and parameters give the same text. Open, the default, and -1 in
            /// JSON: one is drawn for each generation, and [`Finish::seed`](crate::Finish::seed) tells it.
            ///
            /// 4294967295 is a seed like any other; llama.cpp's own programs would draw one for it. In JSON, a seed of
            /// up to 64 bits is folded to 32.
            #[serde(deserialize_with = "lenient::seed", skip_serializing_if = "Option::is_none")]
            pub seed: Option<u32>,
            /// A grammar that the text has to fit. Default: none.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub grammar: Option<GrammarParams>,
        }

        impl SamplingParams {
            $(
                $(#[doc = $doc])*
                #[must_use]
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$name = Some($name);
                    self
                }
            )*

            /// Seed of the random numbers: the same seed and parameters give the same text. `None`: one is drawn for each
            /// generation.
            #[must_use]
            pub fn seed(mut self, seed: impl Into<Option<u32>>) -> Self {
                self.seed = seed.into();
                self
            }

            /// A grammar that the text has to fit; a text is GBNF that begins with the rule `root`.
            #[must_use]
            pub fn grammar(mut self, grammar: impl Into<GrammarParams>) -> Self {
                self.grammar = Some(grammar.into());
                self
            }

            /// Returns these parameters, and those of `defaults` where these are open.
            #[must_use]
            pub fn or(self, defaults: &Self) -> Self {
                Self {
                    $($name: self.$name.or_else(|| defaults.$name.clone()),)*
                    seed: self.seed.or(defaults.seed),
                    grammar: self.grammar.or_else(|| defaults.grammar.clone()),
                }
            }

            /// The names of the parameters that are not open.
            pub(crate) fn set_names(&self) -> Vec<&'static str> {
                let all = [
                    $((stringify!($name), self.$name.is_some()),)*
                    ("seed", self.seed.is_some()),
                    ("grammar", self.grammar.is_some()),
                ];
                all.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
            }

            /// These parameters, and llama.cpp's defaults where these are open.
            pub(super) fn or_defaults(&self) -> ResolvedSampling {
                ResolvedSampling {
                    $($name: self.$name.clone().unwrap_or_else(|| $default),)*
                    seed: self.seed,
                    grammar: self.grammar.clone(),
                }
            }
        }

        /// [`SamplingParams`] with nothing left open but a seed to be drawn. The defaults are llama.cpp's.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[non_exhaustive]
        pub struct ResolvedSampling {
            $($(#[doc = $doc])* pub $name: $type,)*
            /// Seed of the random numbers. `None`: one is drawn for each generation.
            pub seed: Option<u32>,
            /// A grammar that the text has to fit.
            pub grammar: Option<GrammarParams>,
        }
    };
}

sampling_params! {
    /// Flattens (above 1) or sharpens the distribution; 0 always takes the most likely token. Default: 0.8.
    [serde(alias = "temp")]
    temperature: f32 = 0.8;
    /// Half the width of the range of dynamic temperatures around `temperature`; 0 switches it off. Default: 0.
    dynatemp_range: f32 = 0.0;
    /// How entropy is mapped into the range of dynamic temperatures: 1 is linear. Default: 1.
    dynatemp_exponent: f32 = 1.0;
    /// Only the k most likely tokens; 0 for all. Default: 40.
    [serde(deserialize_with = "lenient::count_or_zero")]
    top_k: u32 = 40;
    /// Only the most likely tokens that together have this probability; 1 for all. Default: 0.95.
    top_p: f32 = 0.95;
    /// Only tokens that have this share of the most likely one's probability; 0 for all. Default: 0.05.
    min_p: f32 = 0.05;
    /// Locally typical sampling's probability; 1 switches it off. Default: 1.
    [serde(alias = "typ_p", alias = "typical")]
    typical_p: f32 = 1.0;
    /// Only tokens whose logit is at most this many standard deviations below the largest; 0 and below for all.
    /// Default: -1.
    top_n_sigma: f32 = -1.0;
    /// How likely XTC is to remove the most likely tokens; 0 switches it off. Default: 0.
    xtc_probability: f32 = 0.0;
    /// Tokens at least this likely are removed by XTC, all but the least likely of them; above 0.5 switches it off.
    /// Default: 0.1.
    xtc_threshold: f32 = 0.1;
    /// What `top_p`, `min_p`, `typical_p` and XTC leave at least. Default: 0, which is one.
    min_keep: u32 = 0;
    /// How many tokens back the penalties look; `u32::MAX` (-1 in JSON) for as many as the model was trained for.
    /// Default: 64.
    [serde(alias = "penalty_last_n", deserialize_with = "lenient::count_or_all")]
    repeat_last_n: u32 = 64;
    /// The logit of a token that was seen among the last ones is divided by this (multiplied when negative);
    /// 1 switches it off. Default: 1.
    [serde(alias = "penalty_repeat", alias = "repetition_penalty")]
    repeat_penalty: f32 = 1.0;
    /// Subtracted from a logit for each time that its token was seen among the last ones. Default: 0.
    [serde(alias = "penalty_freq")]
    frequency_penalty: f32 = 0.0;
    /// Subtracted from a logit when its token was seen among the last ones. Default: 0.
    [serde(alias = "penalty_present")]
    presence_penalty: f32 = 0.0;
    /// The size of DRY's penalty for tokens that would continue a repetition; 0 switches it off. Default: 0.
    dry_multiplier: f32 = 0.0;
    /// DRY's penalty grows by this factor with each token of the repetition. Default: 1.75.
    dry_base: f32 = 1.75;
    /// Repetitions of up to this many tokens are free of DRY's penalty. Default: 2.
    dry_allowed_length: u32 = 2;
    /// How many tokens back DRY looks; `u32::MAX` (-1 in JSON) for as many as the model was trained for. Default: 64.
    [serde(deserialize_with = "lenient::count_or_all")]
    dry_penalty_last_n: u32 = 64;
    /// Texts that end a repetition for DRY. Default: line break, colon, quote, asterisk.
    dry_sequence_breakers: Vec<String> = ["\n", ":", "\"", "*"].map(str::to_owned).to_vec();
    /// 1 or 2 for that version of Mirostat, which then works on what the temperature, biases and the grammar leave, and
    /// takes the place of all other samplers; 0 for none. Default: 0.
    mirostat: u8 = 0;
    /// The surprise that Mirostat aims at, in bits per token. Default: 5.
    mirostat_tau: f32 = 5.0;
    /// Mirostat's learning rate. Default: 0.1.
    mirostat_eta: f32 = 0.1;
    /// The probability that `adaptive_p`, where it is among the `samplers`, gives to selected tokens on average; below
    /// 0 it draws as if it were not there. Default: -1.
    adaptive_target: f32 = -1.0;
    /// How much of the past counts for `adaptive_p`: about `1 / (1 - adaptive_decay)` tokens. Default: 0.9.
    adaptive_decay: f32 = 0.9;
    /// The samplers, in the order in which they work. Default: [`SamplerName::DEFAULT_ORDER`].
    [serde(deserialize_with = "sampler_name::deserialize_list")]
    samplers: Vec<SamplerName> = SamplerName::DEFAULT_ORDER.to_vec();
    /// What is added to the logits of single tokens before all else. Default: nothing.
    [serde(deserialize_with = "logit_bias::deserialize")]
    logit_bias: Vec<LogitBias> = Vec::new();
}

impl Default for ResolvedSampling {
    fn default() -> Self {
        SamplingParams::default().or_defaults()
    }
}

impl SamplingParams {
    /// The chain of samplers that does this with a model: biases and the grammar, the samplers in their order, and the
    /// one that selects. Samplers that would change nothing are left out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameters`](crate::ErrorKind::InvalidParameters) with every problem;
    /// [`ErrorKind::Core`](crate::ErrorKind::Core) for problems that only the model shows: tokens outside its vocabulary, a
    /// grammar that cannot be parsed.
    pub fn to_chain(&self, model: &Model) -> Result<SamplerChain> {
        let params = self.resolve(model)?;
        params.validate()?;
        sampler::chain(&params, model, model, false)
    }
}

impl ResolvedSampling {
    /// Looks at all parameters that can be judged without a model.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameters`](crate::ErrorKind::InvalidParameters) with every problem.
    pub fn validate(&self) -> Result<()> {
        let mut problems = Vec::new();
        check::sampling(self, &mut problems);
        ParameterProblem::refuse(problems)
    }
}
