//! The sampling parameters that a model's authors recommend in its metadata.

use super::Model;
use crate::error::Result;
use crate::ffi::string::from_c;

/// Declares the keys once, for the enum, the list and the conversion.
macro_rules! sampling_keys {
    ($($(#[$doc:meta])* $name:ident => $raw:ident;)*) => {
        /// A sampling parameter that a model can recommend. Corresponds to `llama_model_meta_key`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum SamplingKey {
            $($(#[$doc])* $name,)*
        }

        impl SamplingKey {
            /// Every parameter.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            fn to_raw(self) -> llama_sys::llama_model_meta_key {
                match self {
                    $(Self::$name => llama_sys::llama_model_meta_key::$raw,)*
                }
            }
        }
    };
}

sampling_keys! {
    /// The samplers and their order.
    Sequence => LLAMA_MODEL_META_KEY_SAMPLING_SEQUENCE;
    /// The number of candidates that are kept.
    TopK => LLAMA_MODEL_META_KEY_SAMPLING_TOP_K;
    /// The total probability that the kept candidates reach.
    TopP => LLAMA_MODEL_META_KEY_SAMPLING_TOP_P;
    /// The least probability, as a fraction of the most likely candidate's probability.
    MinP => LLAMA_MODEL_META_KEY_SAMPLING_MIN_P;
    /// The probability of removing the most likely candidates.
    XtcProbability => LLAMA_MODEL_META_KEY_SAMPLING_XTC_PROBABILITY;
    /// The probability above which XTC removes candidates.
    XtcThreshold => LLAMA_MODEL_META_KEY_SAMPLING_XTC_THRESHOLD;
    /// The temperature.
    Temperature => LLAMA_MODEL_META_KEY_SAMPLING_TEMP;
    /// The number of last tokens that are searched for repetition.
    PenaltyLastN => LLAMA_MODEL_META_KEY_SAMPLING_PENALTY_LAST_N;
    /// The factor against repetition.
    PenaltyRepeat => LLAMA_MODEL_META_KEY_SAMPLING_PENALTY_REPEAT;
    /// The version of Mirostat, 0 for none.
    Mirostat => LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT;
    /// Mirostat's target entropy.
    MirostatTau => LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT_TAU;
    /// Mirostat's learning rate.
    MirostatEta => LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT_ETA;
}

impl SamplingKey {
    /// Returns the metadata key, for example `general.sampling.top_k`. Corresponds to `llama_model_meta_key_str`.
    #[must_use]
    pub fn metadata_key(self) -> String {
        // SAFETY: the function takes any number and returns NULL or a string literal (llama-model.cpp).
        unsafe { from_c(llama_sys::llama_model_meta_key_str(self.to_raw())) }.unwrap_or_default()
    }
}

impl Model {
    /// Returns the value that the model's authors recommend for a sampling parameter, as text. `None` if they
    /// recommend none.
    ///
    /// # Errors
    ///
    /// None is expected. An exception inside llama.cpp is reported.
    pub fn recommended_sampling(&self, key: SamplingKey) -> Result<Option<String>> {
        self.metadata_value(&key.metadata_key())
    }
}
