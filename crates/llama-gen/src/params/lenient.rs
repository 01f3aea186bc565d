//! Deserialization of values as llama.cpp and OpenAI write them in JSON: null for the default, -1 for none or all, a single
//! value for a list.

use core::time::Duration;

use llama_core::Token;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Reads a value, or the default for `null`.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a number of tokens. A negative number means all, which is `u32::MAX`.
pub(super) fn count_or_all<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Ok(Option::<i64>::deserialize(deserializer)?.map(|count| u32::try_from(count).unwrap_or(u32::MAX)))
}

/// Reads a number of tokens. A negative number means no limit, which is 0.
pub(super) fn count_or_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let narrow = |count: i64| u32::try_from(count.max(0)).unwrap_or(u32::MAX);
    Ok(Option::<i64>::deserialize(deserializer)?.map(narrow))
}

/// Reads a limit. A negative number means no limit.
pub(super) fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let limit = Option::<i64>::deserialize(deserializer)?;
    Ok(limit.filter(|limit| *limit >= 0).map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)))
}

/// Reads a seed. -1 means a random seed; OpenAI's 64-bit seeds are folded to 32 bits.
pub(super) fn seed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let fold = |seed: u64| {
        let [a, b, c, d, e, f, g, h] = seed.to_le_bytes();
        u32::from_le_bytes([a, b, c, d]) ^ u32::from_le_bytes([e, f, g, h])
    };
    Ok(match Option::<Seed>::deserialize(deserializer)? {
        None | Some(Seed::Signed(-1)) => None,
        Some(Seed::Signed(seed)) => Some(fold(seed.cast_unsigned())),
        Some(Seed::Unsigned(seed)) => Some(fold(seed)),
    })
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a seed must be a whole number of up to 64 bits, or -1 for a random one")]
enum Seed {
    Signed(i64),
    Unsigned(u64),
}

/// Reads a single value or a list.
pub(super) fn one_or_more<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    Ok(match Option::<OneOrMore<T>>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(OneOrMore::One(one)) => vec![one],
        Some(OneOrMore::More(more)) => more,
    })
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected one value or a list")]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

/// Token ids, written as numbers.
pub(super) mod tokens {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Token, one_or_more};

    pub(in crate::params) fn serialize<S: Serializer>(
        tokens: &[Token],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        tokens.iter().map(|token| token.get()).collect::<Vec<_>>().serialize(serializer)
    }

    pub(in crate::params) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Token>, D::Error> {
        #[derive(Deserialize)]
        struct Id(i32);
        Ok(one_or_more::<D, Id>(deserializer)?.into_iter().map(|id| Token::new(id.0)).collect())
    }
}

/// A duration, written in whole milliseconds. A negative number means none.
pub(super) mod milliseconds {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer, de};

    #[allow(clippy::ref_option, reason = "serde passes fields so")]
    pub(in crate::params) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
    }

    pub(in crate::params) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let Some(time) = Option::<f64>::deserialize(deserializer)?.filter(|time| *time >= 0.0) else {
            return Ok(None);
        };
        Duration::try_from_secs_f64(time / 1e3)
            .map(Some)
            .map_err(|error| de::Error::custom(format!("{time} ms: {error}")))
    }
}
