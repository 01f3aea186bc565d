//! The element types of tensors.

use std::fmt;

/// Declares the enum and its table in one place, so that both have the same rows.
macro_rules! tensor_types {
    ($(
        $(#[$doc:meta])*
        $variant:ident = $id:literal, $name:literal, $block:literal elements in $bytes:literal;
    )*) => {
        /// The storage format of a tensor's elements. Corresponds to `enum ggml_type`.
        ///
        /// Quantised types pack a *block* of elements into a fixed number of bytes; a row (the first
        /// dimension) is a whole number of blocks.
        ///
        /// ```
        /// use llama_gguf::TensorType;
        ///
        /// assert_eq!(TensorType::Q8_0.block_size(), 32);
        /// assert_eq!(TensorType::Q8_0.block_bytes(), 34);
        /// assert_eq!(TensorType::from_id(8), Some(TensorType::Q8_0));
        /// ```
        #[allow(non_camel_case_types, reason = "the names are ggml's; `Q4K` would be read as another type")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u32)]
        pub enum TensorType {
            $($(#[$doc])* $variant = $id,)*
        }

        impl TensorType {
            /// All types, in the order of ggml's identifiers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the type with this identifier, or `None` if ggml never had or has removed it.
            #[must_use]
            pub const fn from_id(id: u32) -> Option<Self> {
                match id {
                    $($id => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Returns ggml's name, for instance `q4_K`. Corresponds to `ggml_type_name`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the elements in a block; 1 for types that are not quantised. Corresponds to `ggml_blck_size`.
            #[must_use]
            pub const fn block_size(self) -> u64 {
                match self { $(Self::$variant => $block,)* }
            }

            /// Returns the bytes in a block. Corresponds to `ggml_type_size`.
            #[must_use]
            pub const fn block_bytes(self) -> u64 {
                match self { $(Self::$variant => $bytes,)* }
            }
        }
    };
}

tensor_types! {
    /// 32-bit float.
    F32 = 0, "f32", 1 elements in 4;
    /// 16-bit IEEE float.
    F16 = 1, "f16", 1 elements in 2;
    /// 4 bits and a scale.
    Q4_0 = 2, "q4_0", 32 elements in 18;
    /// 4 bits, a scale and a minimum.
    Q4_1 = 3, "q4_1", 32 elements in 20;
    /// 5 bits and a scale.
    Q5_0 = 6, "q5_0", 32 elements in 22;
    /// 5 bits, a scale and a minimum.
    Q5_1 = 7, "q5_1", 32 elements in 24;
    /// 8 bits and a scale.
    Q8_0 = 8, "q8_0", 32 elements in 34;
    /// 8 bits, a scale and a sum; an intermediate format of products, not found in files.
    Q8_1 = 9, "q8_1", 32 elements in 36;
    /// 2-bit k-quant.
    Q2_K = 10, "q2_K", 256 elements in 84;
    /// 3-bit k-quant.
    Q3_K = 11, "q3_K", 256 elements in 110;
    /// 4-bit k-quant.
    Q4_K = 12, "q4_K", 256 elements in 144;
    /// 5-bit k-quant.
    Q5_K = 13, "q5_K", 256 elements in 176;
    /// 6-bit k-quant.
    Q6_K = 14, "q6_K", 256 elements in 210;
    /// 8-bit k-quant; an intermediate format of products, not found in files.
    Q8_K = 15, "q8_K", 256 elements in 292;
    /// 2.06 bits per element, codebook.
    IQ2_XXS = 16, "iq2_xxs", 256 elements in 66;
    /// 2.31 bits per element, codebook.
    IQ2_XS = 17, "iq2_xs", 256 elements in 74;
    /// 3.06 bits per element, codebook.
    IQ3_XXS = 18, "iq3_xxs", 256 elements in 98;
    /// 1.56 bits per element, codebook.
    IQ1_S = 19, "iq1_s", 256 elements in 50;
    /// 4 bits, non-linear values.
    IQ4_NL = 20, "iq4_nl", 32 elements in 18;
    /// 3.44 bits per element, codebook.
    IQ3_S = 21, "iq3_s", 256 elements in 110;
    /// 2.56 bits per element, codebook.
    IQ2_S = 22, "iq2_s", 256 elements in 82;
    /// 4.25 bits per element, non-linear values.
    IQ4_XS = 23, "iq4_xs", 256 elements in 136;
    /// 8-bit signed integer.
    I8 = 24, "i8", 1 elements in 1;
    /// 16-bit signed integer.
    I16 = 25, "i16", 1 elements in 2;
    /// 32-bit signed integer.
    I32 = 26, "i32", 1 elements in 4;
    /// 64-bit signed integer.
    I64 = 27, "i64", 1 elements in 8;
    /// 64-bit float.
    F64 = 28, "f64", 1 elements in 8;
    /// 1.75 bits per element, codebook.
    IQ1_M = 29, "iq1_m", 256 elements in 56;
    /// The upper half of a 32-bit float.
    BF16 = 30, "bf16", 1 elements in 2;
    /// Ternary, 1.69 bits per element.
    TQ1_0 = 34, "tq1_0", 256 elements in 54;
    /// Ternary, 2.06 bits per element.
    TQ2_0 = 35, "tq2_0", 256 elements in 66;
    /// 4-bit floats with a shared exponent.
    MXFP4 = 39, "mxfp4", 32 elements in 17;
    /// 4-bit floats with an 8-bit float scale for every 16 elements.
    NVFP4 = 40, "nvfp4", 64 elements in 36;
    /// 1 bit and a scale.
    Q1_0 = 41, "q1_0", 128 elements in 18;
    /// 2 bits and a scale.
    Q2_0 = 42, "q2_0", 64 elements in 18;
    /// 8-bit float, 4 bits exponent and 3 bits mantissa.
    F8_E4M3 = 43, "f8_e4m3", 1 elements in 1;
}

impl TensorType {
    /// Returns ggml's identifier, as stored in the file.
    #[must_use]
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// Whether elements are packed in blocks of more than one.
    #[must_use]
    pub const fn is_quantized(self) -> bool {
        self.block_size() > 1
    }

    /// Returns the name of a type that ggml has removed, for error messages.
    pub(crate) const fn removed(id: u32) -> Option<&'static str> {
        match id {
            4 => Some("q4_2"),
            5 => Some("q4_3"),
            31 => Some("q4_0_4_4"),
            32 => Some("q4_0_4_8"),
            33 => Some("q4_0_8_8"),
            36 => Some("iq4_nl_4_4"),
            37 => Some("iq4_nl_4_8"),
            38 => Some("iq4_nl_8_8"),
            _ => None,
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_round_trip_and_gaps_are_removed_types() {
        for &ty in TensorType::ALL {
            assert_eq!(TensorType::from_id(ty.id()), Some(ty));
            assert_eq!(TensorType::removed(ty.id()), None);
            assert_eq!(ty.name(), format!("{ty:?}").to_lowercase().replace("_k", "_K"));
        }
        for id in 0..44 {
            assert_ne!(TensorType::from_id(id).is_some(), TensorType::removed(id).is_some(), "type {id}");
        }
        assert_eq!(TensorType::from_id(44), None);
    }

    #[test]
    fn only_block_types_are_quantized() {
        assert!(TensorType::Q4_K.is_quantized());
        assert!(!TensorType::BF16.is_quantized());
        assert_eq!(format!("{:>6}", TensorType::Q4_K), "  q4_K");
    }
}
