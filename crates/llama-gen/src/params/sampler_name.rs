//! llama.cpp's names of the samplers, and their default order.

use core::fmt;
use core::str::FromStr;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Declares the samplers once, and creates the enum, the list, the names and the letters.
macro_rules! samplers {
    ($($(#[$doc:meta])* $variant:ident, $name:literal, $letter:literal, [$($alias:literal),*];)*) => {
        /// A sampler in [`SamplingParams::samplers`](crate::SamplingParams::samplers). Its parameters are fields of
        /// [`SamplingParams`](crate::SamplingParams), which can switch it off.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum SamplerName {
            $($(#[$doc])* $variant,)*
        }

        impl SamplerName {
            /// Every sampler.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns llama.cpp's name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            fn letter(self) -> char {
                match self { $(Self::$variant => $letter,)* }
            }

            fn aliases(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($alias),*],)* }
            }
        }
    };
}

samplers! {
    /// `repeat_penalty`, `frequency_penalty`, `presence_penalty` over the last `repeat_last_n` tokens.
    Penalties, "penalties", 'e', [];
    /// DRY: `dry_multiplier` and the other fields with the prefix `dry_`.
    Dry, "dry", 'd', [];
    /// `top_n_sigma`.
    TopNSigma, "top_n_sigma", 's', [];
    /// `top_k`.
    TopK, "top_k", 'k', [];
    /// `typical_p`.
    TypicalP, "typ_p", 'y', ["typ", "typical", "typical_p"];
    /// `top_p`.
    TopP, "top_p", 'p', ["nucleus"];
    /// `min_p`.
    MinP, "min_p", 'm', [];
    /// `xtc_probability` and `xtc_threshold`.
    Xtc, "xtc", 'x', [];
    /// `temperature`, `dynatemp_range`, `dynatemp_exponent`.
    Temperature, "temperature", 't', ["temp"];
    /// Filling in the middle; needs `top_k` before it.
    Infill, "infill", 'i', [];
    /// `adaptive_target` and `adaptive_decay`. It selects the token, so it runs last, at any position in the list.
    AdaptiveP, "adaptive_p", 'a', [];
}

impl SamplerName {
    /// llama.cpp's order. It has no `infill` and no `adaptive_p`, which are for special purposes.
    pub const DEFAULT_ORDER: &'static [Self] = &[
        Self::Penalties,
        Self::Dry,
        Self::TopNSigma,
        Self::TopK,
        Self::TypicalP,
        Self::TopP,
        Self::MinP,
        Self::Xtc,
        Self::Temperature,
    ];

    /// Finds a sampler by a name of llama.cpp's, ignoring case, dashes and underscores as llama.cpp does.
    pub(super) fn find(name: &str) -> Option<Self> {
        let plain = |name: &str| name.to_ascii_lowercase().replace(['-', '_'], "");
        let wanted = plain(name);
        let is_it = |sampler: &Self| {
            plain(sampler.as_str()) == wanted || sampler.aliases().iter().any(|alias| plain(alias) == wanted)
        };
        Self::ALL.iter().copied().find(is_it)
    }
}

impl fmt::Display for SamplerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An unknown name of a sampler.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sampler is \"{0}\", but must be one of {names}", names = names())]
pub struct UnknownSampler(String);

fn names() -> String {
    SamplerName::ALL.iter().map(|sampler| sampler.as_str()).collect::<Vec<_>>().join(", ")
}

impl FromStr for SamplerName {
    type Err = UnknownSampler;

    fn from_str(name: &str) -> Result<Self, UnknownSampler> {
        Self::find(name).ok_or_else(|| UnknownSampler(name.to_owned()))
    }
}

impl Serialize for SamplerName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for SamplerName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Reads a list of names, or llama.cpp's other form: a text with a letter for each sampler.
pub(super) fn deserialize_list<'de, D>(deserializer: D) -> Result<Option<Vec<SamplerName>>, D::Error>
where
    D: Deserializer<'de>,
{
    struct List;

    impl<'de> Visitor<'de> for List {
        type Value = Option<Vec<SamplerName>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of names of samplers, or a text with a letter for each")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_any(self)
        }

        fn visit_str<E: de::Error>(self, letters: &str) -> Result<Self::Value, E> {
            let find = |letter| {
                let sampler = SamplerName::ALL.iter().copied().find(|sampler| sampler.letter() == letter);
                sampler.ok_or_else(|| E::custom(format!("\"{letter}\" is not the letter of a sampler")))
            };
            letters.chars().map(find).collect::<Result<_, E>>().map(Some)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
            let mut samplers = Vec::new();
            while let Some(sampler) = sequence.next_element()? {
                samplers.push(sampler);
            }
            Ok(Some(samplers))
        }
    }

    deserializer.deserialize_option(List)
}
