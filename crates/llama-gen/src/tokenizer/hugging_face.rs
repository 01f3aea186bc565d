//! A Hugging Face `tokenizer.json`.

use core::fmt;
use std::collections::HashMap;
use std::path::Path;

use llama_core::{Token, TokenizeOptions};
use tokenizers::DecoderWrapper;

use super::Tokenizer;
use crate::error::{ErrorKind, Result};

/// A tokenizer from a Hugging Face `tokenizer.json`, by the crate `tokenizers`. Its truncation and padding, if it has
/// any, are switched off.
pub struct HfTokenizer {
    /// Takes special tokens' names in a text for text, and for these tokens.
    plain: tokenizers::Tokenizer,
    parsing: tokenizers::Tokenizer,
    tokens: Vec<Piece>,
}

/// What a token stands for.
#[derive(Clone, Default)]
struct Piece {
    bytes: Box<[u8]>,
    is_special: bool,
}

impl HfTokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Tokenizer`] when the file cannot be read, is no `tokenizer.json`, or has a decoder that does not
    /// make bytes of single tokens.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let named = |reason: String| ErrorKind::Tokenizer { reason: format!("{}: {reason}", path.display()) };
        let json = std::fs::read(path).map_err(|error| named(error.to_string()))?;
        Self::new(&json).map_err(|reason| named(reason).into())
    }

    /// Takes the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file).
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self> {
        Self::new(json.as_ref()).map_err(|reason| ErrorKind::Tokenizer { reason }.into())
    }

    fn new(json: &[u8]) -> Result<Self, String> {
        let mut parsing = tokenizers::Tokenizer::from_bytes(json).map_err(|error| error.to_string())?;
        parsing.with_padding(None);
        parsing.with_truncation(None).map_err(|error| error.to_string())?;
        let spelling = Spelling::of(parsing.get_decoder())?;
        let tokens = pieces(&parsing, &spelling)?;
        let mut plain = parsing.clone();
        plain.set_encode_special_tokens(true);
        Ok(Self { plain, parsing, tokens })
    }
}

/// The bytes of all tokens. Ids that are not in use have none.
fn pieces(tokenizer: &tokenizers::Tokenizer, spelling: &Spelling) -> Result<Vec<Piece>, String> {
    let added = tokenizer.get_added_tokens_decoder();
    let vocab = tokenizer.get_vocab(true);
    let last = vocab.values().max().copied();
    let mut pieces = vec![Piece::default(); last.map_or(0, |last| last as usize + 1)];
    for (text, id) in vocab {
        let slot = pieces.get_mut(id as usize).ok_or("an id is larger than the largest")?;
        *slot = match added.get(&id) {
            Some(added) => Piece { bytes: added.content.as_bytes().into(), is_special: added.special },
            None => Piece { bytes: spelling.bytes(&text).into(), is_special: false },
        };
    }
    Ok(pieces)
}

/// How the vocabulary writes spaces, bytes and the parts of words.
enum Spelling {
    /// As GPT-2: a character for each byte.
    Bytes(HashMap<char, u8>),
    /// As `SentencePiece`: a mark for spaces, `<0x0A>` for bytes.
    Mark(char),
    /// As BERT: words after a space, and their parts with this before them.
    Words(String),
}

impl Spelling {
    fn of(decoder: Option<&DecoderWrapper>) -> Result<Self, String> {
        let known = decoder.and_then(|decoder| match decoder {
            DecoderWrapper::Sequence(sequence) => sequence.get_decoders().iter().find_map(Self::of_one),
            one => Self::of_one(one),
        });
        known.ok_or_else(|| {
            "its decoder is not one that makes bytes of single tokens (ByteLevel, Metaspace, WordPiece, or a Sequence with \
             ByteFallback): use the model's own vocabulary"
                .to_owned()
        })
    }

    fn of_one(decoder: &DecoderWrapper) -> Option<Self> {
        match decoder {
            DecoderWrapper::ByteLevel(_) => Some(Self::Bytes(characters_of_bytes())),
            DecoderWrapper::Metaspace(metaspace) => Some(Self::Mark(metaspace.get_replacement())),
            DecoderWrapper::ByteFallback(_) => Some(Self::Mark('▁')),
            DecoderWrapper::WordPiece(pieces) => Some(Self::Words(pieces.prefix.clone())),
            _ => None,
        }
    }

    fn bytes(&self, text: &str) -> Vec<u8> {
        match self {
            // What is not of such characters stands for itself.
            Self::Bytes(bytes) => text
                .chars()
                .map(|character| bytes.get(&character).copied())
                .collect::<Option<Vec<u8>>>()
                .unwrap_or_else(|| text.into()),
            Self::Mark(mark) => match byte_token(text) {
                Some(byte) => vec![byte],
                None => text.replace(*mark, " ").into_bytes(),
            },
            Self::Words(prefix) => match text.strip_prefix(prefix.as_str()) {
                Some(part) => part.into(),
                None => format!(" {text}").into_bytes(),
            },
        }
    }
}

/// `<0x0A>`.
fn byte_token(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// The characters that GPT-2 writes bytes with: themselves where they are printable in Latin-1, and otherwise those from
/// U+0100 on.
fn characters_of_bytes() -> HashMap<char, u8> {
    let is_printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=u8::MAX).filter(|byte| !is_printable(*byte));
    let printable = (0..=u8::MAX).filter(|byte| is_printable(*byte)).map(|byte| (char::from(byte), byte));
    ('\u{100}'..).zip(others).chain(printable).collect()
}

impl Tokenizer for HfTokenizer {
    fn n_tokens(&self) -> usize {
        self.tokens.len()
    }

    fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<Token>> {
        let tokenizer = if options.parses_special() { &self.parsing } else { &self.plain };
        let failed = |error: String| ErrorKind::Tokenizer { reason: error };
        let encoding = tokenizer
            .encode_fast(text, options.adds_special())
            .map_err(|error| failed(format!("the text could not be tokenised: {error}")))?;
        let token = |id: &u32| i32::try_from(*id).map(Token::new).map_err(|error| failed(error.to_string()));
        Ok(encoding.get_ids().iter().map(token).collect::<Result<_, _>>()?)
    }

    fn append_token_bytes(&self, token: Token, special: bool, bytes: &mut Vec<u8>) -> Result<()> {
        let found = usize::try_from(token.get()).ok().and_then(|id| self.tokens.get(id));
        let Some(piece) = found else {
            let n_tokens = self.tokens.len();
            let reason = format!("token {token} is out of range: it has {n_tokens} tokens (0..{n_tokens})");
            return Err(ErrorKind::Tokenizer { reason }.into());
        };
        if special || !piece.is_special {
            bytes.extend_from_slice(&piece.bytes);
        }
        Ok(())
    }
}

impl fmt::Debug for HfTokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HfTokenizer").field("n_tokens", &self.tokens.len()).finish_non_exhaustive()
    }
}
