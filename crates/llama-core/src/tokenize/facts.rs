//! Facts about a vocabulary that are needed to divide long texts, read once for each model.

use std::collections::HashSet;

use aho_corasick::AhoCorasick;

use super::pre::Rules;
use crate::error::Result;
use crate::model::Model;
use crate::token::Token;
use crate::vocab::{Vocab, VocabKind};

/// SentencePiece's mark for a space.
pub(super) const MARK: &str = "\u{2581}";

/// Facts about a vocabulary that do not depend on its tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traits {
    pub(super) rules: Rules,
    /// Whether a space is put in front of every text that follows a special token.
    pub(super) adds_space: bool,
    /// Whether the first word of a text gets a mark that later words do not get, so that it can only be divided
    /// before a special token.
    pub(super) marks_first: bool,
}

impl Traits {
    pub(super) fn of(vocab: Vocab<'_>) -> Result<Self> {
        let model = vocab.model();
        let kind = vocab.kind();
        // Nothing is known if overrides were used that differ from the file.
        if model.overrides_tokenizer() {
            return Ok(Self { rules: Rules::default(), adds_space: true, marks_first: true });
        }
        let value = |key| model.tokenizer_value(key);
        let is_bpe = kind == VocabKind::Bpe;
        let rules = if is_bpe { bpe_rules(model)? } else { Rules::of_kind(kind) };
        let adds_space = kind == VocabKind::Spm && value("add_space_prefix")?.as_deref() != Some("false");
        let marks_first = is_bpe && value("metaspace.prepend_scheme")?.as_deref() == Some("first");
        Ok(Self { rules, adds_space, marks_first })
    }
}

fn bpe_rules(model: &Model) -> Result<Rules> {
    let value = |key| model.tokenizer_value(key);
    let name = match value("model")?.as_deref() {
        Some("gpt2" | "whitespace") => value("pre")?,
        Some("gemma4") => Some("gemma4".to_owned()),
        // `hybriddna` divides by tags, at any distance from each other.
        _ => return Ok(Rules::default()),
    };
    let name = name.filter(|name| !name.is_empty());
    Ok(Rules::of_pre_tokenizer(name.as_deref().unwrap_or("default")).unwrap_or_default())
}

/// A token that is found by its name before a text is tokenised.
pub(super) struct Special {
    pub(super) text: Box<str>,
    /// Whether it is found only when special tokens are parsed.
    only_parsed: bool,
    /// Whether the token absorbs white space to its left.
    pub(super) strips_left: bool,
    /// Whether the token absorbs white space to its right.
    pub(super) strips_right: bool,
}

impl Special {
    pub(super) fn is_found(&self, parse_special: bool) -> bool {
        parse_special || !self.only_parsed
    }
}

/// Facts about the tokens of a vocabulary that determine where a text can be divided.
pub(super) struct Facts {
    /// The special tokens, longest first, in llama.cpp's search order (llama-vocab.cpp, `cache_special_tokens`).
    pub(super) specials: Vec<Special>,
    /// Finds the names of `specials`; `None` if there are none.
    pub(super) finder: Option<AhoCorasick>,
    /// Whether the names equal C's, which are bytes and may not be text.
    knows_names: bool,
    /// For SentencePiece: the pairs of adjacent characters in all tokens. Other pairs are never merged.
    neighbours: HashSet<(char, char)>,
    /// For SentencePiece: whether its mark is a token by itself rather than three bytes.
    has_mark: bool,
}

impl Facts {
    pub(super) fn of(vocab: Vocab<'_>) -> Result<Self> {
        let kind = vocab.kind();
        let mut facts = Self {
            specials: Vec::new(),
            finder: None,
            knows_names: true,
            neighbours: HashSet::new(),
            has_mark: false,
        };
        for token in (0..vocab.n_tokens_raw()).map(Token::new) {
            if let Some(special) = special(vocab, token)? {
                let is_text = !special.text.is_empty() && !special.text.contains(char::REPLACEMENT_CHARACTER);
                facts.knows_names &= is_text && !vocab.token_to_bytes(token, true)?.contains(&0);
                facts.specials.push(special);
            }
            if kind == VocabKind::Spm {
                facts.add_neighbours(&vocab.text(token)?);
            }
        }
        facts.specials.sort_by_key(|special| std::cmp::Reverse(special.text.len()));
        let names = facts.specials.iter().map(|special| special.text.as_bytes());
        if facts.knows_names && !facts.specials.is_empty() {
            facts.finder = AhoCorasick::new(names).ok();
            // There may be too many names for the searcher.
            facts.knows_names = facts.finder.is_some();
        }
        Ok(facts)
    }

    fn add_neighbours(&mut self, text: &str) {
        self.has_mark |= text == MARK;
        self.neighbours.extend(text.chars().zip(text.chars().skip(1)));
    }

    /// Returns whether the special tokens in a text can be found.
    pub(super) fn knows_names(&self) -> bool {
        self.knows_names
    }

    /// Returns whether SentencePiece's tokenizer may merge two characters, or tokens that end and start with them.
    pub(super) fn may_merge(&self, left: char, right: char) -> bool {
        self.neighbours.contains(&(left, right))
    }

    /// Returns the number of tokens of SentencePiece's mark when nothing is merged with it.
    pub(super) fn tokens_of_mark(&self) -> usize {
        if self.has_mark { 1 } else { MARK.len() }
    }
}

/// Returns the token for text outside of the vocabulary if it is an ordinary result of the tokenizer. Returns `None`
/// if unknown text becomes bytes; there the token only stands for its own name.
///
/// Converters often mark it as a control token. Neither WordPiece nor Unigram finds it by its name: the first
/// divides at brackets, the second does not search for control tokens (llama-vocab.cpp).
pub(super) fn unknown(vocab: Vocab<'_>) -> Result<Option<Token>> {
    let model = vocab.model();
    // llama.cpp's fallbacks.
    let default = match vocab.kind() {
        VocabKind::Wpm => Some(100),
        VocabKind::Ugm => Some(2),
        VocabKind::Bpe if model.tokenizer_value("pre")?.as_deref() == Some("soprano") => None,
        _ => return Ok(None),
    };
    let value = model.tokenizer_value("unknown_token_id")?;
    Ok(value.and_then(|id| id.parse().ok()).or(default).map(Token::new))
}

fn special(vocab: Vocab<'_>, token: Token) -> Result<Option<Special>> {
    let attributes = vocab.attributes(token)?;
    let only_parsed = attributes.is_control() || attributes.is_unknown();
    if !only_parsed && !attributes.is_user_defined() {
        return Ok(None);
    }
    Ok(Some(Special {
        text: vocab.text(token)?.into(),
        only_parsed,
        strips_left: attributes.strips_left(),
        strips_right: attributes.strips_right(),
    }))
}
