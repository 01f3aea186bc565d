//! Token ids, sequence ids and positions: distinct types for what is `i32` in C.

use core::fmt;

use crate::error::{ErrorKind, Result};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
        #[repr(transparent)]
        pub struct $name(i32);

        impl $name {
            /// Wraps a number. It is checked against the model or the context where it is used.
            #[must_use]
            pub const fn new(value: i32) -> Self {
                Self(value)
            }

            /// Returns the number.
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
    /// Id of a token: an index into the vocabulary, `0..n_vocab`. Corresponds to `llama_token`.
    Token
}
id! {
    /// Id of a sequence, `0..n_seq_max` of the context. Corresponds to `llama_seq_id`.
    SeqId
}
id! {
    /// Position of a token in its sequence, from 0. Corresponds to `llama_pos`.
    Pos
}

impl Token {
    /// Refuses a token outside of a vocabulary of `n_vocab` tokens, since C uses tokens as indices.
    pub(crate) fn check(self, n_vocab: usize) -> Result<()> {
        match usize::try_from(self.0) {
            Ok(index) if index < n_vocab => Ok(()),
            _ => Err(ErrorKind::InvalidToken { token: self.0, n_vocab }.into()),
        }
    }
}

/// The tokenizer's attributes of a token: a set of flags. Corresponds to `llama_token_attr`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenAttributes(pub(crate) u32);

impl TokenAttributes {
    fn has(self, flag: llama_sys::llama_token_attr) -> bool {
        #[allow(clippy::unnecessary_cast, reason = "the enum's integer is signed on some platforms")]
        #[allow(clippy::cast_sign_loss, reason = "flags are positive")]
        let flag = flag.0 as u32;
        self.0 & flag != 0
    }

    /// Returns whether the token stands for unknown text.
    #[must_use]
    pub fn is_unknown(self) -> bool {
        self.has(llama_sys::llama_token_attr::LLAMA_TOKEN_ATTR_UNKNOWN)
    }

    /// Returns whether the token is reserved and not in use.
    #[must_use]
    pub fn is_unused(self) -> bool {
        self.has(llama_sys::llama_token_attr::LLAMA_TOKEN_ATTR_UNUSED)
    }

    /// Returns whether the token absorbs the white space before it when it is found in a text.
    pub(crate) fn strips_left(self) -> bool {
        self.has(llama_sys::llama_token_attr::LLAMA_TOKEN_ATTR_LSTRIP)
    }

    /// Returns whether the token absorbs the white space after it when it is found in a text.
    pub(crate) fn strips_right(self) -> bool {
        self.has(llama_sys::llama_token_attr::LLAMA_TOKEN_ATTR_RSTRIP)
    }

    /// Returns whether the token is ordinary text.
    #[must_use]
    pub fn is_normal(self) -> bool {
        self.has(llama_sys::llama_token_attr::LLAMA_TOKEN_ATTR_NORMAL)
    }

    /// Returns whether the token controls the model, such as the end of a turn. Text becomes such a token only when
    /// special tokens are parsed.
    #[must_use]
    pub fn is_control(self) -> bool {
        self.has(llama_sys::llama_token_attr::LLAMA_TOKEN_ATTR_CONTROL)
    }

    /// Returns whether the model's author has added the token to the vocabulary.
    #[must_use]
    pub fn is_user_defined(self) -> bool {
        self.has(llama_sys::llama_token_attr::LLAMA_TOKEN_ATTR_USER_DEFINED)
    }

    /// Returns whether the token stands for one byte, for text outside of the vocabulary.
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
