//! What tokenising a long text needs to know about a vocabulary, read once for each model.

use std::collections::HashSet;

use aho_corasick::AhoCorasick;

use super::pre::Rules;
use crate::error::Result;
use crate::model::Model;
use crate::token::Token;
use crate::vocab::{Vocab, VocabKind};

/// SentencePiece's mark for a space.
pub(super) const MARK: &str = "\u{2581}";

/// What is known of a vocabulary without looking at its tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traits {
    pub(super) rules: Rules,
    /// Whether a space is put in front of every text that follows a special token.
    pub(super) adds_space: bool,
    /// Whether the first word of a text gets a mark that later ones do not get: it can only be divided before a token.
    pub(super) marks_first: bool,
}

impl Traits {
    pub(super) fn of(vocab: Vocab<'_>) -> Result<Self> {
        let model = vocab.model();
        let kind = vocab.kind();
        // Where the loader was told something else than the file says, nothing is known.
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

/// A token that is found by its name, before a text is tokenised.
pub(super) struct Special {
    pub(super) text: Box<str>,
    /// Found only when special tokens are parsed.
    only_parsed: bool,
    /// Takes the white space on this side of it.
    pub(super) strips_left: bool,
    pub(super) strips_right: bool,
}

impl Special {
    pub(super) fn is_found(&self, parse_special: bool) -> bool {
        parse_special || !self.only_parsed
    }
}

/// The tokens of a vocabulary, as far as they say where a text can be divided.
pub(super) struct Facts {
    /// Longest first, as llama.cpp looks for them (llama-vocab.cpp, `cache_special_tokens`).
    pub(super) specials: Vec<Special>,
    /// Finds the names of `specials`; `None` when there are none.
    pub(super) finder: Option<AhoCorasick>,
    /// Whether the names are those that C has: it has them as bytes, which may be no text.
    knows_names: bool,
    /// For SentencePiece: the characters that stand next to each other in some token. Others are never merged.
    neighbours: HashSet<(char, char)>,
    /// For SentencePiece: whether its mark is a token by itself, and not three bytes.
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
            // Too many for the searcher.
            facts.knows_names = facts.finder.is_some();
        }
        Ok(facts)
    }

    fn add_neighbours(&mut self, text: &str) {
        self.has_mark |= text == MARK;
        self.neighbours.extend(text.chars().zip(text.chars().skip(1)));
    }

    /// Whether the special tokens in a text can be found.
    pub(super) fn knows_names(&self) -> bool {
        self.knows_names
    }

    /// Whether SentencePiece's tokenizer may merge two characters, or what is made of them.
    pub(super) fn may_merge(&self, left: char, right: char) -> bool {
        self.neighbours.contains(&(left, right))
    }

    /// The number of tokens of SentencePiece's mark where nothing is merged with it.
    pub(super) fn tokens_of_mark(&self) -> usize {
        if self.has_mark { 1 } else { MARK.len() }
    }
}

/// The token that a tokenizer gives for text outside the vocabulary, where that is an ordinary result. `None` where text is
/// made of bytes if need be: there it stands for its own name.
///
/// Converters write it as a control token as often as not. Neither WordPiece nor Unigram finds it by its name: the first
/// divides at brackets, the second leaves control tokens out of what it looks for (llama-vocab.cpp).
pub(super) fn unknown(vocab: Vocab<'_>) -> Result<Option<Token>> {
    let model = vocab.model();
    // The numbers that llama.cpp falls back on.
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
