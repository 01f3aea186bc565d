//! Serialisation of logit biases: JSON has no infinity, which forbids a token.

use core::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::token::Token;

/// Text for negative infinity in human-readable formats.
const FORBIDDEN: &str = "-inf";

struct Bias(f32);

impl Serialize for Bias {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == f32::NEG_INFINITY && serializer.is_human_readable() {
            return serializer.serialize_str(FORBIDDEN);
        }
        serializer.serialize_f32(self.0)
    }
}

impl<'de> Deserialize<'de> for Bias {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_any(BiasVisitor);
        }
        f32::deserialize(deserializer).map(Self)
    }
}

struct BiasVisitor;

impl Visitor<'_> for BiasVisitor {
    type Value = Bias;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number, or \"{FORBIDDEN}\" to forbid the token")
    }

    #[allow(clippy::cast_possible_truncation, reason = "rounds to the nearest float")]
    fn visit_f64<E: Error>(self, value: f64) -> Result<Bias, E> {
        Ok(Bias(value as f32))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Bias, E> {
        Ok(Bias(value as f32))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Bias, E> {
        Ok(Bias(value as f32))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Bias, E> {
        if value == FORBIDDEN {
            return Ok(Bias(f32::NEG_INFINITY));
        }
        Err(E::invalid_value(serde::de::Unexpected::Str(value), &self))
    }
}

pub(super) fn serialize<S: Serializer>(biases: &[(Token, f32)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(biases.iter().map(|(token, bias)| (token, Bias(*bias))))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(Token, f32)>, D::Error> {
    let biases = Vec::<(Token, Bias)>::deserialize(deserializer)?;
    Ok(biases.into_iter().map(|(token, Bias(bias))| (token, bias)).collect())
}
