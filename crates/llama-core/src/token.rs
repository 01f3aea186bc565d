//! Token ids, sequence ids and positions: three kinds of `i32` in C, three types here.

use core::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
        #[repr(transparent)]
        pub struct $name(i32);

        impl $name {
            /// Wraps the number. It is checked where it is used, against the model or the context.
            #[must_use]
            pub const fn new(value: i32) -> Self {
                Self(value)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> i32 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A token's id: an index into the vocabulary, `0..n_vocab`. Corresponds to `llama_token`.
    Token
}
id! {
    /// A sequence's id, `0..n_seq_max` of the context. Corresponds to `llama_seq_id`.
    SeqId
}
id! {
    /// A token's position in its sequence, from 0. Corresponds to `llama_pos`.
    Pos
}

/// What the tokenizer knows about a token: a set of flags. Corresponds to `llama_token_attr`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenAttributes(pub(crate) u32);

impl TokenAttributes {
    fn has(self, flag: llama_sys::llama_token_attr) -> bool {
        #[allow(clippy::unnecessary_cast, reason = "the enum's integer is signed on some platforms")]
        #[allow(clippy::cast_sign_loss, reason = "flags are positive")]
        let flag = flag.0 as u32;
        self.0 & flag != 0
    }

    /// Stands for what the vocabulary does not know.
    #[must_use]
    pub fn is_unknown(self) -> bool {
        self.has(llama_sys::llama_token_attr::LLAMA_TOKEN_ATTR_UNKNOWN)
    }

    /// Reserved and not in use.
    #[must_use]
    pub fn is_unused(self) -> bool {
        self.has(llama_sys::llama_token_attr::LLAMA_TOKEN_ATTR_UNUSED)
    }

    /// Takes the white space in front of it when it is found in a text.
    pub(crate) fn strips_left(self) -> bool {
        self.has(llama_sys::llama_token_attr::LLAMA_TOKEN_ATTR_LSTRIP)
    }

    /// Takes the white space behind it when it is found in a text.
    pub(crate) fn strips_right(self) -> bool {
        self.has(llama_sys::llama_token_attr::LLAMA_TOKEN_ATTR_RSTRIP)
    }

    /// Ordinary text.
    #[must_use]
    pub fn is_normal(self) -> bool {
        self.has(llama_sys::llama_token_attr::LLAMA_TOKEN_ATTR_NORMAL)
    }

    /// Controls the model, such as the end of a turn; made of text only when special tokens are parsed.
    #[must_use]
    pub fn is_control(self) -> bool {
        self.has(llama_sys::llama_token_attr::LLAMA_TOKEN_ATTR_CONTROL)
    }

    /// Added to the vocabulary by the model's maker.
    #[must_use]
    pub fn is_user_defined(self) -> bool {
        self.has(llama_sys::llama_token_attr::LLAMA_TOKEN_ATTR_USER_DEFINED)
    }

    /// Stands for one byte, for text outside the vocabulary.
    #[must_use]
    pub fn is_byte(self) -> bool {
        self.has(llama_sys::llama_token_attr::LLAMA_TOKEN_ATTR_BYTE)
    }
}

impl fmt::Debug for TokenAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.is_unknown(), "unknown"),
            (self.is_unused(), "unused"),
            (self.is_normal(), "normal"),
            (self.is_control(), "control"),
            (self.is_user_defined(), "user defined"),
            (self.is_byte(), "byte"),
        ];
        f.debug_set().entries(names.iter().filter(|(set, _)| *set).map(|(_, name)| name)).finish()
    }
}
