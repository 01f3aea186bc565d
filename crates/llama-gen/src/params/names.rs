//! The names of all fields, for parameters that are flattened into a larger request.

use std::sync::LazyLock;

use serde::de::{Deserialize, Deserializer, Error as _, Visitor, value};
use serde::forward_to_deserialize_any;

use super::generation;
use super::sampling::SamplingParams;

/// Returns every name that [`GenerationParams`](super::GenerationParams) accepts.
pub(super) fn all() -> &'static [&'static str] {
    static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let mut names = Vec::from(of::<SamplingParams>());
        names.extend(generation::NAMES);
        names
    });
    &NAMES
}

/// Returns the names, aliases included, that serde's derived code accepts for a struct.
fn of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut asked = Asked(&[]);
    // The derived code passes its names to the deserializer, which then fails.
    let _nothing = T::deserialize(&mut asked);
    asked.0
}

/// A deserializer that stores the names of the requested fields.
struct Asked(&'static [&'static str]);

impl<'de> Deserializer<'de> for &mut Asked {
    type Error = value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("nothing to read"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
