//! Names of special tokens in a text that must not contain special tokens.
//!
//! When special tokens are not parsed, llama.cpp leaves their names to the tokenizer, and some tokenizers then
//! return the special token nevertheless: those of RWKV and PLaMo search for the longest or most likely token among
//! all, and that of SentencePiece merges a name whose parts are tokens (llama-vocab.cpp).

use std::collections::HashMap;

use super::{TokenizeOptions, tokenize_error};
use crate::error::Result;
use crate::token::Token;
use crate::vocab::{Vocab, VocabKind};

const OPERATION: &str = "tokenising a text";

/// Replaces special tokens that result from a text by tokens that spell their names.
pub(super) fn spell(
    vocab: &Vocab<'_>,
    text: &str,
    options: TokenizeOptions,
    tokens: Vec<Token>,
) -> Result<Vec<Token>> {
    let names = Names::new(*vocab)?;
    let found = names.count(&tokens)?;
    if options.parse_special || found == 0 {
        return Ok(tokens);
    }
    // Added tokens are special too.
    let added = if options.add_special { vocab.tokenize_raw("", options)? } else { Vec::new() };
    if found == names.count(&added)? {
        return Ok(tokens);
    }
    let of_text = vocab.tokenize_raw(text, options.add_special(false))?;
    let (before, after) = around(&tokens, &of_text);
    let mut spelled = tokens[..before].to_vec();
    for token in of_text {
        if names.is_special(token)? {
            spelled.extend(names.spelling(token)?);
        } else {
            spelled.push(token);
        }
    }
    spelled.extend(&tokens[after..]);
    Ok(spelled)
}

/// Returns the range of the text's tokens among all tokens.
fn around(all: &[Token], of_text: &[Token]) -> (usize, usize) {
    let added = all.len().saturating_sub(of_text.len());
    let before = (0..=added).find(|before| all[*before..].starts_with(of_text)).unwrap_or(0);
    (before, all.len() - (added - before))
}

/// The special tokens that must not result from a text.
struct Names<'m> {
    vocab: Vocab<'m>,
    /// Whether the tokenizer has a token for every byte, so that the unknown token does not result from text.
    knows_all: bool,
    /// The token for text outside of the vocabulary, whatever its type.
    unknown: Option<Token>,
}

impl<'m> Names<'m> {
    fn new(vocab: Vocab<'m>) -> Result<Self> {
        let facts = vocab.model().text_facts();
        let knows_all = matches!(vocab.kind(), VocabKind::Rwkv | VocabKind::Plamo2 | VocabKind::Plamo3);
        Ok(Self { vocab, knows_all, unknown: facts.unknown(vocab)? })
    }

    fn is_special(&self, token: Token) -> Result<bool> {
        if self.unknown == Some(token) {
            return Ok(false);
        }
        let attributes = self.vocab.attributes(token)?;
        Ok(attributes.is_control() || self.knows_all && attributes.is_unknown())
    }

    fn count(&self, tokens: &[Token]) -> Result<usize> {
        tokens.iter().try_fold(0, |count, token| Ok(count + usize::from(self.is_special(*token)?)))
    }

    /// Returns ordinary tokens that spell the name of a special one: each is the longest that fits.
    fn spelling(&self, special: Token) -> Result<Vec<Token>> {
        let name = self.vocab.token_to_bytes(special, true)?;
        let pieces = self.pieces_in(&name)?;
        let mut tokens = Vec::new();
        let mut rest = name.as_slice();
        while !rest.is_empty() {
            let longest =
                (1..=rest.len()).rev().find_map(|length| Some((length, *pieces.get(&rest[..length])?)));
            let Some((length, token)) = longest else {
                let name = String::from_utf8_lossy(&name);
                let reason =
                    format!("it has the name of the special token {name:?}, which other tokens cannot spell");
                return Err(tokenize_error(OPERATION, reason));
            };
            tokens.push(token);
            rest = &rest[length..];
        }
        Ok(tokens)
    }

    /// Returns the ordinary tokens whose text is a part of `name`.
    fn pieces_in(&self, name: &[u8]) -> Result<HashMap<Vec<u8>, Token>> {
        let mut pieces = HashMap::new();
        let mut piece = Vec::new();
        for token in (0..self.vocab.n_tokens_raw()).map(Token::new) {
            if self.is_special(token)? {
                continue;
            }
            piece.clear();
            self.vocab.append_token_bytes(token, false, &mut piece)?;
            if !piece.is_empty() && name.windows(piece.len()).any(|part| part == piece) {
                pieces.entry(piece.clone()).or_insert(token);
            }
        }
        Ok(pieces)
    }
}
