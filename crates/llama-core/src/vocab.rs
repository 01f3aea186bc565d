//! The vocabulary of a model: its tokens, and the special ones among them.

use crate::error::{Error, ErrorKind, Result};
use crate::ffi::guard::guarded;
use crate::ffi::string::from_c;
use crate::model::Model;
use crate::token::Token;
pub use crate::token::TokenAttributes;

/// The kind of a tokenizer. Corresponds to `llama_vocab_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum VocabKind {
    /// No vocabulary: the model takes and returns only token ids or embeddings.
    None,
    /// SentencePiece with byte fallback, as in Llama 2 and Gemma.
    Spm,
    /// Byte-level byte-pair encoding, as in GPT-2, Llama 3 and Qwen.
    Bpe,
    /// WordPiece, as in BERT.
    Wpm,
    /// Unigram, as in T5.
    Ugm,
    /// RWKV's greedy tokenizer.
    Rwkv,
    /// PLaMo 2.
    Plamo2,
    /// PLaMo 3.
    Plamo3,
    /// A kind unknown to this version, with llama.cpp's number.
    Other(i64),
}

/// A view of a model's vocabulary.
#[derive(Clone, Copy, Debug)]
pub struct Vocab<'m> {
    model: &'m Model,
    raw: *const llama_sys::llama_vocab,
}

// SAFETY: a view of a `Model`, which is `Sync`; the vocabulary is part of the model and is only read
// (llama-vocab.cpp).
unsafe impl Send for Vocab<'_> {}
// SAFETY: as for `Send`.
unsafe impl Sync for Vocab<'_> {}

impl<'m> Vocab<'m> {
    pub(crate) fn new(model: &'m Model) -> Self {
        // SAFETY: the model is valid, and its vocabulary lives as long as it does.
        let raw = unsafe { llama_sys::llama_model_get_vocab(model.raw()) };
        Self { model, raw }
    }

    pub(crate) fn raw(&self) -> *const llama_sys::llama_vocab {
        self.raw
    }

    /// Returns the C object, for functions of `llama.h` that this crate does not wrap. The pointer is valid as long as the
    /// model lives.
    ///
    /// Calling such a function is `unsafe`. The caller must check the ids of tokens, on which llama.cpp asserts: a failed
    /// assertion ends the process.
    #[must_use]
    pub fn as_ptr(&self) -> *const llama_sys::llama_vocab {
        self.raw
    }

    /// Returns the model whose vocabulary this is.
    #[must_use]
    pub fn model(&self) -> &'m Model {
        self.model
    }

    /// Returns the kind of the tokenizer. Corresponds to `llama_vocab_type`.
    #[must_use]
    pub fn kind(&self) -> VocabKind {
        use llama_sys::llama_vocab_type as Type;
        // SAFETY: the vocabulary is valid.
        match unsafe { llama_sys::llama_vocab_type_fn(self.raw) } {
            Type::LLAMA_VOCAB_TYPE_NONE => VocabKind::None,
            Type::LLAMA_VOCAB_TYPE_SPM => VocabKind::Spm,
            Type::LLAMA_VOCAB_TYPE_BPE => VocabKind::Bpe,
            Type::LLAMA_VOCAB_TYPE_WPM => VocabKind::Wpm,
            Type::LLAMA_VOCAB_TYPE_UGM => VocabKind::Ugm,
            Type::LLAMA_VOCAB_TYPE_RWKV => VocabKind::Rwkv,
            Type::LLAMA_VOCAB_TYPE_PLAMO2 => VocabKind::Plamo2,
            Type::LLAMA_VOCAB_TYPE_PLAMO3 => VocabKind::Plamo3,
            other => VocabKind::Other(i64::from(other.0)),
        }
    }

    /// Returns the number of tokens. Corresponds to `llama_vocab_n_tokens`.
    #[must_use]
    pub fn n_tokens(&self) -> usize {
        usize::try_from(self.n_tokens_raw()).unwrap_or(0)
    }

    pub(crate) fn n_tokens_raw(&self) -> i32 {
        // SAFETY: the vocabulary is valid.
        unsafe { llama_sys::llama_vocab_n_tokens(self.raw) }
    }

    /// Refuses tokens that are not in the vocabulary, since C uses them as indices.
    pub(crate) fn check(&self, token: Token) -> Result<()> {
        token.check(self.n_tokens())
    }

    /// Refuses vocabularies without texts, since llama.cpp asserts that there are some.
    pub(crate) fn check_has_tokenizer(&self, operation: &'static str) -> Result<()> {
        if self.kind() != VocabKind::None {
            return Ok(());
        }
        Err(ErrorKind::Unsupported { operation, reason: "it has no tokenizer".to_owned() }.into())
    }

    fn check_text_of(&self, token: Token, operation: &'static str) -> Result<()> {
        self.check_has_tokenizer(operation)?;
        self.check(token)
    }

    /// Returns the token's text as stored in the vocabulary, with the tokenizer's marks for spaces and bytes.
    /// [`Vocab::token_to_bytes`] returns the actual text. Corresponds to `llama_vocab_get_text`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidToken`], and [`ErrorKind::Unsupported`] for a model without a tokenizer.
    pub fn text(&self, token: Token) -> Result<String> {
        self.check_text_of(token, "the text of a token")?;
        // SAFETY: the vocabulary is valid, the token is in it, and the text is a string of the vocabulary.
        let text = unsafe { guarded!(llama_vocab_get_text(self.raw, token.get())) }?;
        // SAFETY: NULL or a string of the vocabulary (llama-vocab.cpp, token_get_text).
        Ok(unsafe { from_c(text) }.unwrap_or_default())
    }

    /// Returns the token's score, by which the tokenizer ranks candidates. Corresponds to `llama_vocab_get_score`.
    ///
    /// # Errors
    ///
    /// The errors of [`Vocab::text`].
    pub fn score(&self, token: Token) -> Result<f32> {
        self.check_text_of(token, "the score of a token")?;
        // SAFETY: the vocabulary is valid and the token is in it.
        unsafe { guarded!(llama_vocab_get_score(self.raw, token.get())) }
    }

    /// Returns the token's attributes. Corresponds to `llama_vocab_get_attr`.
    ///
    /// # Errors
    ///
    /// The errors of [`Vocab::text`].
    pub fn attributes(&self, token: Token) -> Result<TokenAttributes> {
        self.check_text_of(token, "the attributes of a token")?;
        // SAFETY: the vocabulary is valid and the token is in it.
        let attributes = unsafe { guarded!(llama_vocab_get_attr(self.raw, token.get())) }?;
        #[allow(clippy::unnecessary_cast, reason = "the enum's integer is signed on some platforms")]
        #[allow(clippy::cast_sign_loss, reason = "flags are positive")]
        Ok(TokenAttributes(attributes.0 as u32))
    }

    /// Returns whether the token ends the generation: end of text, of turn, of message. False for tokens outside of
    /// the vocabulary. Corresponds to `llama_vocab_is_eog`.
    #[must_use]
    pub fn is_eog(&self, token: Token) -> bool {
        // SAFETY: the vocabulary is valid; the function looks the token up in a set.
        unsafe { llama_sys::llama_vocab_is_eog(self.raw, token.get()) }
    }

    /// Returns whether the token controls the model and is not text. Corresponds to `llama_vocab_is_control`.
    ///
    /// # Errors
    ///
    /// The errors of [`Vocab::text`].
    pub fn is_control(&self, token: Token) -> Result<bool> {
        self.check_text_of(token, "the kind of a token")?;
        // SAFETY: the vocabulary is valid and the token is in it.
        unsafe { guarded!(llama_vocab_is_control(self.raw, token.get())) }
    }

    /// Returns whether [`tokenize`](Vocab::tokenize) adds [`bos`](Vocab::bos) at the start. Corresponds to
    /// `llama_vocab_get_add_bos`.
    #[must_use]
    pub fn adds_bos(&self) -> bool {
        // SAFETY: the vocabulary is valid.
        unsafe { llama_sys::llama_vocab_get_add_bos(self.raw) }
    }

    /// Returns whether [`tokenize`](Vocab::tokenize) adds [`eos`](Vocab::eos) at the end. Corresponds to
    /// `llama_vocab_get_add_eos`.
    #[must_use]
    pub fn adds_eos(&self) -> bool {
        // SAFETY: the vocabulary is valid.
        unsafe { llama_sys::llama_vocab_get_add_eos(self.raw) }
    }

    /// Returns whether [`sep`](Vocab::sep) is added between two texts. Corresponds to `llama_vocab_get_add_sep`.
    #[must_use]
    pub fn adds_sep(&self) -> bool {
        // SAFETY: the vocabulary is valid.
        unsafe { llama_sys::llama_vocab_get_add_sep(self.raw) }
    }

    /// Returns the tokens that should never be generated, according to the model's author. Corresponds to
    /// `llama_vocab_get_suppress_tokens`.
    #[must_use]
    pub fn suppressed(&self) -> Vec<Token> {
        let mut count = 0;
        // SAFETY: the vocabulary is valid, and the pointer to the count is too.
        let first = unsafe { llama_sys::llama_vocab_get_suppress_tokens(self.raw, &raw mut count) };
        let count = usize::try_from(count).unwrap_or(0);
        if first.is_null() || count == 0 {
            return Vec::new();
        }
        // SAFETY: the function points to an array of the vocabulary with `count` tokens.
        unsafe { core::slice::from_raw_parts(first, count) }.iter().copied().map(Token::new).collect()
    }
}

/// Defines getters of special tokens by their C functions, which return `None` if the vocabulary has no such token.
macro_rules! special {
    ($($(#[$doc:meta])* $name:ident => $function:ident;)*) => {
        impl Vocab<'_> {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(&self) -> Option<Token> {
                    // SAFETY: the vocabulary is valid; the function reads a number.
                    let token = unsafe { llama_sys::$function(self.raw) };
                    (token != llama_sys::LLAMA_TOKEN_NULL).then_some(Token::new(token))
                }
            )*
        }
    };
}

special! {
    /// Returns the token at the beginning of a text. Corresponds to `llama_vocab_bos`.
    bos => llama_vocab_bos;
    /// Returns the token at the end of a text. Corresponds to `llama_vocab_eos`.
    eos => llama_vocab_eos;
    /// Returns the token at the end of a turn. Corresponds to `llama_vocab_eot`.
    eot => llama_vocab_eot;
    /// Returns the token between two texts. Corresponds to `llama_vocab_sep`.
    sep => llama_vocab_sep;
    /// Returns the token of a line break. Corresponds to `llama_vocab_nl`.
    nl => llama_vocab_nl;
    /// Returns the padding token. Corresponds to `llama_vocab_pad`.
    pad => llama_vocab_pad;
    /// Returns the placeholder for a masked token. Corresponds to `llama_vocab_mask`.
    mask => llama_vocab_mask;
    /// Returns the fill-in-the-middle token before the text that precedes the gap. Corresponds to
    /// `llama_vocab_fim_pre`.
    fim_pre => llama_vocab_fim_pre;
    /// Returns the fill-in-the-middle token before the text that follows the gap. Corresponds to
    /// `llama_vocab_fim_suf`.
    fim_suf => llama_vocab_fim_suf;
    /// Returns the fill-in-the-middle token before the text of the gap. Corresponds to `llama_vocab_fim_mid`.
    fim_mid => llama_vocab_fim_mid;
    /// Returns the fill-in-the-middle padding token. Corresponds to `llama_vocab_fim_pad`.
    fim_pad => llama_vocab_fim_pad;
    /// Returns the fill-in-the-middle token before the name of a repository. Corresponds to `llama_vocab_fim_rep`.
    fim_rep => llama_vocab_fim_rep;
    /// Returns the fill-in-the-middle token between two files. Corresponds to `llama_vocab_fim_sep`.
    fim_sep => llama_vocab_fim_sep;
}

/// Returns the error of a failed tokenizer call.
pub(crate) fn tokenize_error(operation: &'static str, reason: impl Into<String>) -> Error {
    ErrorKind::Tokenize { operation, reason: reason.into() }.into()
}
