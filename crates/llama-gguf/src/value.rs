//! Metadata values and their types.

use std::fmt;

use crate::text::Text;

/// The type of a metadata value. Corresponds to `enum gguf_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum ValueType {
    /// 8-bit unsigned integer.
    U8 = 0,
    /// 8-bit signed integer.
    I8 = 1,
    /// 16-bit unsigned integer.
    U16 = 2,
    /// 16-bit signed integer.
    I16 = 3,
    /// 32-bit unsigned integer.
    U32 = 4,
    /// 32-bit signed integer.
    I32 = 5,
    /// 32-bit float.
    F32 = 6,
    /// Boolean, stored in a byte.
    Bool = 7,
    /// A length and that many bytes, usually UTF-8.
    String = 8,
    /// Any number of values of one of the other types; arrays do not nest.
    Array = 9,
    /// 64-bit unsigned integer.
    U64 = 10,
    /// 64-bit signed integer.
    I64 = 11,
    /// 64-bit float.
    F64 = 12,
}

impl ValueType {
    /// All types, in the order of their identifiers.
    pub const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::String,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    /// Returns the type with this identifier, or `None`.
    #[must_use]
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(id).ok()?).copied()
    }

    /// Returns the identifier stored in the file.
    #[must_use]
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// Returns llama.cpp's name, for instance `u32`. Corresponds to `gguf_type_name`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::String => "str",
            Self::Array => "arr",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }

    /// Returns the fewest bytes that one value of this type takes in a file.
    pub(crate) const fn min_bytes(self) -> u64 {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::String => 8,
            Self::Array => 12,
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Declares [`Value`] and [`Array`] and the code that is alike for all their types.
macro_rules! values {
    ($($(#[$doc:meta])* $variant:ident($rust:ty), $name:literal;)*) => {
        /// One metadata value.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Value {
            $($(#[$doc])* $variant($rust),)*
            /// Any number of values of one type.
            Array(Array),
        }

        /// An array of metadata values, all of one type.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Array {
            $($(#[$doc])* $variant(Vec<$rust>),)*
        }

        impl Value {
            /// Returns the type of the value.
            #[must_use]
            pub fn value_type(&self) -> ValueType {
                match self {
                    $(Self::$variant(_) => ValueType::$variant,)*
                    Self::Array(_) => ValueType::Array,
                }
            }
        }

        impl Array {
            /// Returns the type of the elements.
            #[must_use]
            pub fn element_type(&self) -> ValueType {
                match self { $(Self::$variant(_) => ValueType::$variant,)* }
            }

            /// Returns the number of elements.
            #[must_use]
            pub fn len(&self) -> usize {
                match self { $(Self::$variant(values) => values.len(),)* }
            }
        }

        $(
            impl From<$rust> for Value {
                fn from(value: $rust) -> Self {
                    Self::$variant(value)
                }
            }

            impl From<Vec<$rust>> for Value {
                fn from(values: Vec<$rust>) -> Self {
                    Self::Array(Array::$variant(values))
                }
            }

            impl<'a> FromValue<'a> for &'a [$rust] {
                const EXPECTED: &'static str = concat!("arr of ", $name);

                fn from_value(value: &'a Value) -> Option<Self> {
                    match value {
                        Value::Array(Array::$variant(values)) => Some(values),
                        _ => None,
                    }
                }
            }
        )*
    };
}

values! {
    /// 8-bit unsigned integer.
    U8(u8), "u8";
    /// 8-bit signed integer.
    I8(i8), "i8";
    /// 16-bit unsigned integer.
    U16(u16), "u16";
    /// 16-bit signed integer.
    I16(i16), "i16";
    /// 32-bit unsigned integer.
    U32(u32), "u32";
    /// 32-bit signed integer.
    I32(i32), "i32";
    /// 32-bit float.
    F32(f32), "f32";
    /// Boolean.
    Bool(bool), "bool";
    /// Text.
    String(Text), "str";
    /// 64-bit unsigned integer.
    U64(u64), "u64";
    /// 64-bit signed integer.
    I64(i64), "i64";
    /// 64-bit float.
    F64(f64), "f64";
}

impl Array {
    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<Vec<&str>> for Value {
    fn from(texts: Vec<&str>) -> Self {
        texts.into_iter().map(Text::from).collect::<Vec<_>>().into()
    }
}

impl From<Vec<String>> for Value {
    fn from(texts: Vec<String>) -> Self {
        texts.into_iter().map(Text::from).collect::<Vec<_>>().into()
    }
}

impl From<Array> for Value {
    fn from(array: Array) -> Self {
        Self::Array(array)
    }
}

/// Rust types that a metadata value can be read as; see [`Metadata::get`](crate::Metadata::get).
///
/// Implemented for the integers, floats, `bool`, `&str` and [`&Text`](Text) of the value types, and for
/// slices of them. Types match exactly, as in llama.cpp: a `u16` is not read as a `u32`. For integers of any width
/// there is [`Metadata::unsigned`](crate::Metadata::unsigned).
pub trait FromValue<'a>: Sized {
    /// The name of the expected type in errors.
    const EXPECTED: &'static str;

    /// Returns the value as this type, or `None` if it has another type.
    fn from_value(value: &'a Value) -> Option<Self>;
}

macro_rules! from_scalar {
    ($($variant:ident => $rust:ty, $name:literal;)*) => {$(
        impl FromValue<'_> for $rust {
            const EXPECTED: &'static str = $name;

            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::$variant(value) => Some(*value),
                    _ => None,
                }
            }
        }
    )*};
}

from_scalar! {
    U8 => u8, "u8";
    I8 => i8, "i8";
    U16 => u16, "u16";
    I16 => i16, "i16";
    U32 => u32, "u32";
    I32 => i32, "i32";
    F32 => f32, "f32";
    Bool => bool, "bool";
    U64 => u64, "u64";
    I64 => i64, "i64";
    F64 => f64, "f64";
}

impl<'a> FromValue<'a> for &'a Text {
    const EXPECTED: &'static str = "str";

    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a str {
    const EXPECTED: &'static str = "str of valid UTF-8";

    fn from_value(value: &'a Value) -> Option<Self> {
        <&Text>::from_value(value)?.as_str()
    }
}

impl Value {
    /// Returns the type in words: `u32`, or `arr of str`.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Array(array) => format!("arr of {}", array.element_type()),
            Self::String(text) if text.as_str().is_none() => "str of invalid UTF-8".to_owned(),
            _ => self.value_type().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_round_trip() {
        for (id, ty) in (0..).zip(ValueType::ALL) {
            assert_eq!(ty.id(), id);
            assert_eq!(ValueType::from_id(id), Some(ty));
        }
        assert_eq!(ValueType::from_id(13), None);
        assert_eq!(ValueType::from_id(u32::MAX), None);
    }

    #[test]
    fn conversions_keep_the_type() {
        assert_eq!(Value::from(1u16).value_type(), ValueType::U16);
        assert_eq!(Value::from("x").value_type(), ValueType::String);
        assert_eq!(Value::from(vec!["a", "b"]).describe(), "arr of str");
        let Value::Array(array) = Value::from(vec![1.5f32]) else { panic!("not an array") };
        assert_eq!((array.element_type(), array.len(), array.is_empty()), (ValueType::F32, 1, false));
    }
}
