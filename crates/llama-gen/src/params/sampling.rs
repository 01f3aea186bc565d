//! Parameters of the choice of each token: as the caller sets them, and resolved with defaults.

use llama_core::{Model, SamplerChain};
use serde::{Deserialize, Serialize};

use super::grammar::GrammarParams;
use super::logit_bias::{self, LogitBias};
use super::sampler_name::{self, SamplerName};
use super::{check, lenient};
use crate::error::{Result, refuse};
use crate::sampler;

/// Declares the parameters once, and creates the struct with optional fields, the struct with resolved fields, llama.cpp's
/// defaults, and the setters.
macro_rules! sampling_params {
    ($($(#[doc = $doc:literal])* $([serde($($serde:tt)*)])? $name:ident: $type:ty = $default:expr;)*) => {
        /// Parameters of the choice of each token.
        ///
        /// Every parameter can be left open (`None`; absent or `null` in JSON). [`resolve`](Self::resolve) fills open
        /// parameters with the recommendations in the model's metadata, and then with llama.cpp's defaults, which the
        /// docs of the fields name. JSON has the names of llama.cpp's server; OpenAI's and other common names are read
        /// too. -1 means "all" or "none" where it does in llama.cpp.
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
            /// Seed of the random numbers: the same seed and parameters give the same text. When it is open (the default,
            /// or -1 in JSON) a random seed is used for each generation, and [`Finish::seed`](crate::Finish::seed) has it.
            ///
            /// 4294967295 is a seed like any other; llama.cpp's own programs use a random seed for it. In JSON, a seed of up
            /// to 64 bits is folded to 32.
            #[serde(deserialize_with = "lenient::seed", skip_serializing_if = "Option::is_none")]
            pub seed: Option<u32>,
            /// A grammar that the text must match. Default: none.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub grammar: Option<GrammarParams>,
        }

        impl SamplingParams {
            $(
                #[doc = concat!("Sets `", stringify!($name), "`.")]
                #[doc = ""]
                $(#[doc = $doc])*
                #[must_use]
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$name = Some($name);
                    self
                }
            )*

            /// Sets the seed of the random numbers: the same seed and parameters give the same text. `None` for a random seed
            /// for each generation.
            #[must_use]
            pub fn seed(mut self, seed: impl Into<Option<u32>>) -> Self {
                self.seed = seed.into();
                self
            }

            /// Sets a grammar that the text must match. A string is GBNF with the start rule `root`.
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

            /// Returns the names of the parameters that are not open.
            pub(crate) fn set_names(&self) -> Vec<&'static str> {
                let all = [
                    $((stringify!($name), self.$name.is_some()),)*
                    ("seed", self.seed.is_some()),
                    ("grammar", self.grammar.is_some()),
                ];
                all.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
            }

            /// Returns these parameters, and llama.cpp's defaults where these are open.
            pub(super) fn or_defaults(&self) -> ResolvedSampling {
                ResolvedSampling {
                    $($name: self.$name.clone().unwrap_or_else(|| $default),)*
                    seed: self.seed,
                    grammar: self.grammar.clone(),
                }
            }
        }

        /// Resolved [`SamplingParams`]: only the seed can be open, for a random one. The defaults are llama.cpp's.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[non_exhaustive]
        pub struct ResolvedSampling {
            $($(#[doc = $doc])* pub $name: $type,)*
            /// Seed of the random numbers. `None` for a random seed for each generation.
            pub seed: Option<u32>,
            /// A grammar that the text must match.
            pub grammar: Option<GrammarParams>,
        }
    };
}

sampling_params! {
    /// Temperature of the distribution: above 1 flattens it, below 1 sharpens it, 0 always takes the most likely token.
    /// Default: 0.8.
    [serde(alias = "temp")]
    temperature: f32 = 0.8;
    /// Half the width of the range of dynamic temperatures around `temperature`; 0 switches it off. Default: 0.
    dynatemp_range: f32 = 0.0;
    /// Exponent that maps entropy into the range of dynamic temperatures: 1 is linear. Default: 1.
    dynatemp_exponent: f32 = 1.0;
    /// Number of the most likely tokens to keep; 0 for all. Default: 40.
    [serde(deserialize_with = "lenient::count_or_zero")]
    top_k: u32 = 40;
    /// Total probability of the most likely tokens to keep; 1 for all. Default: 0.95.
    top_p: f32 = 0.95;
    /// Lowest probability of a token to keep, as a share of the highest one; 0 for all. Default: 0.05.
    min_p: f32 = 0.05;
    /// Total probability of locally typical sampling; 1 switches it off. Default: 1.
    [serde(alias = "typ_p", alias = "typical")]
    typical_p: f32 = 1.0;
    /// Largest distance of a logit below the highest one, in standard deviations; 0 and below keeps all tokens.
    /// Default: -1.
    top_n_sigma: f32 = -1.0;
    /// Probability that XTC removes the most likely tokens; 0 switches it off. Default: 0.
    xtc_probability: f32 = 0.0;
    /// Probability from which on XTC removes tokens, all but the least likely of these; above 0.5 switches it off.
    /// Default: 0.1.
    xtc_threshold: f32 = 0.1;
    /// The fewest tokens that `top_p`, `min_p`, `typical_p` and XTC keep. Default: 0, which keeps one.
    min_keep: u32 = 0;
    /// Number of last tokens that the penalties look at; `u32::MAX` (-1 in JSON) for as many as the model was trained for.
    /// Default: 64.
    [serde(alias = "penalty_last_n", deserialize_with = "lenient::count_or_all")]
    repeat_last_n: u32 = 64;
    /// Divisor of the logit of each of the last tokens (factor if the logit is negative); 1 switches it off. Default: 1.
    [serde(alias = "penalty_repeat", alias = "repetition_penalty")]
    repeat_penalty: f32 = 1.0;
    /// Penalty, subtracted from a token's logit for each occurrence among the last tokens. Default: 0.
    [serde(alias = "penalty_freq")]
    frequency_penalty: f32 = 0.0;
    /// Penalty, subtracted from a token's logit once if it occurs among the last tokens. Default: 0.
    [serde(alias = "penalty_present")]
    presence_penalty: f32 = 0.0;
    /// Size of DRY's penalty for tokens that would continue a repetition; 0 switches it off. Default: 0.
    dry_multiplier: f32 = 0.0;
    /// Factor by which DRY's penalty grows with each token of the repetition. Default: 1.75.
    dry_base: f32 = 1.75;
    /// Length of repetitions, in tokens, up to which DRY has no penalty. Default: 2.
    dry_allowed_length: u32 = 2;
    /// Number of last tokens that DRY looks at; `u32::MAX` (-1 in JSON) for as many as the model was trained for.
    /// Default: 64.
    [serde(deserialize_with = "lenient::count_or_all")]
    dry_penalty_last_n: u32 = 64;
    /// Texts that end a repetition for DRY. Default: line break, colon, quote, asterisk.
    dry_sequence_breakers: Vec<String> = ["\n", ":", "\"", "*"].map(str::to_owned).to_vec();
    /// Version of Mirostat, 1 or 2; 0 switches it off. It works on the result of biases, grammar and temperature, and
    /// replaces all other samplers. Default: 0.
    mirostat: u8 = 0;
    /// Target surprise of Mirostat, in bits per token. Default: 5.
    mirostat_tau: f32 = 5.0;
    /// Learning rate of Mirostat. Default: 0.1.
    mirostat_eta: f32 = 0.1;
    /// Probability that `adaptive_p`, if it is among the `samplers`, gives to selected tokens on average; below 0 it has no
    /// effect on the draw. Default: -1.
    adaptive_target: f32 = -1.0;
    /// Memory of `adaptive_p`: it averages over about `1 / (1 - adaptive_decay)` tokens. Default: 0.9.
    adaptive_decay: f32 = 0.9;
    /// The samplers, in the order in which they run. Default: [`SamplerName::DEFAULT_ORDER`].
    [serde(deserialize_with = "sampler_name::deserialize_list")]
    samplers: Vec<SamplerName> = SamplerName::DEFAULT_ORDER.to_vec();
    /// Biases that are added to the logits of single tokens before everything else. Default: none.
    [serde(deserialize_with = "logit_bias::deserialize")]
    logit_bias: Vec<LogitBias> = Vec::new();
}

impl Default for ResolvedSampling {
    fn default() -> Self {
        SamplingParams::default().or_defaults()
    }
}

impl SamplingParams {
    /// Creates the chain of samplers for a model: biases and the grammar, the samplers in their order, and the selecting
    /// sampler. Samplers that would change nothing are left out.
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
    /// Checks all parameters that can be checked without a model.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidParameters`](crate::ErrorKind::InvalidParameters) with every problem.
    pub fn validate(&self) -> Result<()> {
        let mut problems = Vec::new();
        check::sampling(self, &mut problems);
        refuse(problems)
    }
}
