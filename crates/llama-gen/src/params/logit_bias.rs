//! Biases of single tokens, in the JSON forms of llama.cpp and OpenAI.

use core::fmt;

use llama_core::{Token, TokenizeOptions};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// A number that is added to the logits of tokens, before all samplers.
///
/// In JSON, a list of biases has llama.cpp's form, `[[15043, 1.0], ["Hello", -0.5], [2, false]]`, where `false` is negative
/// infinity. OpenAI's form, `{"15043": 1.0}`, is read too.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LogitBias {
    /// The tokens.
    pub target: BiasTarget,
    /// The number to add, from -1,000,000 to 1,000,000; negative infinity forbids the tokens.
    pub bias: f32,
}

/// The tokens of a [`LogitBias`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BiasTarget {
    /// A token by its id.
    Token(Token),
    /// Every token of this text, as the model's tokenizer splits it. Names of special tokens are plain text.
    Text(String),
}

impl From<Token> for BiasTarget {
    fn from(token: Token) -> Self {
        Self::Token(token)
    }
}

impl From<&str> for BiasTarget {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for BiasTarget {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl LogitBias {
    /// Creates a bias for a token, or for the tokens of a text.
    #[must_use]
    pub fn new(target: impl Into<BiasTarget>, bias: f32) -> Self {
        Self { target: target.into(), bias }
    }

    /// Creates a bias that forbids a token, or the tokens of a text.
    #[must_use]
    pub fn forbid(target: impl Into<BiasTarget>) -> Self {
        Self::new(target, f32::NEG_INFINITY)
    }
}

/// Returns the biases by token. Several biases of one token are added up.
pub(crate) fn biased_tokens(biases: &[LogitBias], tokenizer: &dyn Tokenizer) -> Result<Vec<(Token, f32)>> {
    let mut sums = std::collections::BTreeMap::new();
    let mut add = |token, bias| *sums.entry(token).or_insert(0.0) += bias;
    for LogitBias { target, bias } in biases {
        match target {
            BiasTarget::Token(token) => add(*token, *bias),
            BiasTarget::Text(text) => {
                let options = TokenizeOptions::default().add_special(false);
                tokenizer.tokenize(text, options)?.into_iter().for_each(|token| add(token, *bias));
            }
        }
    }
    Ok(sums.into_iter().collect())
}

impl Serialize for LogitBias {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Bias {
            Number(f32),
            Forbidden(bool),
        }
        let forbidden = self.bias == f32::NEG_INFINITY;
        let bias = if forbidden { Bias::Forbidden(false) } else { Bias::Number(self.bias) };
        match &self.target {
            BiasTarget::Token(token) => (token.get(), bias).serialize(serializer),
            BiasTarget::Text(text) => (text, bias).serialize(serializer),
        }
    }
}

/// A number, or `false`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a bias must be a number, or false to forbid the token")]
enum RawBias {
    Number(f32),
    Bool(bool),
}

impl RawBias {
    fn value<E: de::Error>(self) -> Result<f32, E> {
        match self {
            Self::Number(bias) => Ok(bias),
            Self::Bool(false) => Ok(f32::NEG_INFINITY),
            Self::Bool(true) => {
                Err(E::custom("a bias is true, but must be a number, or false to forbid the token"))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "the target of a bias must be a token's id or a text")]
enum RawTarget {
    Token(i32),
    Text(String),
}

impl<'de> Deserialize<'de> for LogitBias {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (target, bias) = <(RawTarget, RawBias)>::deserialize(deserializer)?;
        let target = match target {
            RawTarget::Token(id) => BiasTarget::Token(Token::new(id)),
            RawTarget::Text(text) => BiasTarget::Text(text),
        };
        Ok(Self { target, bias: bias.value()? })
    }
}

/// Reads llama.cpp's list, or OpenAI's map, whose keys are ids (or, as in llama.cpp, texts).
pub(super) fn deserialize<'de, D>(deserializer: D) -> Result<Option<Vec<LogitBias>>, D::Error>
where
    D: Deserializer<'de>,
{
    struct Biases;

    impl<'de> Visitor<'de> for Biases {
        type Value = Option<Vec<LogitBias>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map from token ids to biases, or a list of pairs of them")
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

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
            let mut biases = Vec::new();
            while let Some(bias) = sequence.next_element()? {
                biases.push(bias);
            }
            Ok(Some(biases))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut biases = Vec::new();
            while let Some((key, bias)) = map.next_entry::<String, RawBias>()? {
                let target = match key.parse() {
                    Ok(id) => BiasTarget::Token(Token::new(id)),
                    Err(_) => BiasTarget::Text(key),
                };
                biases.push(LogitBias { target, bias: bias.value()? });
            }
            Ok(Some(biases))
        }
    }

    deserializer.deserialize_option(Biases)
}
