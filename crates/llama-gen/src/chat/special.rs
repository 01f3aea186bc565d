//! The texts of special tokens, and of the markers that a template uses.

use core::ops::Range;

use aho_corasick::AhoCorasick;
use llama_core::{Token, Vocab};
use once_cell::sync::OnceCell;

use crate::error::{ErrorKind, Result};

/// A set of texts that the tokenizer turns into special tokens when it parses special tokens.
#[derive(Debug)]
pub(crate) struct SpecialTexts {
    /// Sorted.
    texts: Vec<String>,
    automaton: AhoCorasick,
    /// The length of the longest text in bytes.
    longest: usize,
}

/// The texts that must not become tokens when they are part of a message.
///
/// They include all control tokens. llama.cpp turns any text into tokens of other types, so these are included only if the
/// template uses them as markers: if they are in its source or in its rendered text. A template that composes a marker
/// (`'<|' + role + '|>'`) can use others in other conversations. In that case all tokens that look like markers are included.
#[derive(Debug)]
pub(crate) struct Markers {
    certain: SpecialTexts,
    /// Tokens that look like markers, without those in `certain`.
    others: SpecialTexts,
    all: OnceCell<SpecialTexts>,
}

impl Markers {
    /// Collects the markers of a model and a template's source. Scans the whole vocabulary.
    pub(crate) fn of(vocab: Vocab<'_>, source: &str) -> Result<Self> {
        let (mut certain, mut others) = (Vec::new(), Vec::new());
        for id in 0..i32::try_from(vocab.n_tokens()).unwrap_or(i32::MAX) {
            let token = Token::new(id);
            let attributes = vocab.attributes(token)?;
            // llama.cpp leaves these alone unless special tokens are parsed (llama-vocab.cpp, tokenizer_st_partition).
            let is_special = attributes.is_control() || attributes.is_unknown();
            let text = match vocab.text(token) {
                Ok(text) => text,
                // Invalid UTF-8 does not look like a marker.
                Err(_) if !is_special => continue,
                Err(error) => return Err(error.into()),
            };
            if is_special || (looks_like_marker(&text) && source.contains(&text)) {
                certain.push(text);
            } else if looks_like_marker(&text) {
                others.push(text);
            }
        }
        let (certain, others) = (SpecialTexts::new(certain)?, SpecialTexts::new(others)?);
        Ok(Self { certain, others, all: OnceCell::new() })
    }

    /// Returns the markers for a rendered conversation, given as its parts and whether each is the text of a message.
    pub(crate) fn of_prompt<'t>(
        &self,
        parts: impl Iterator<Item = (&'t str, bool)>,
    ) -> Result<&SpecialTexts> {
        let (mut text, mut messages) = (String::new(), Vec::new());
        for (part, is_message) in parts {
            if is_message {
                messages.push(text.len()..text.len() + part.len());
            }
            text.push_str(part);
        }
        // A text that is entirely inside a message is not from the template.
        let is_message = |found: Range<usize>| {
            let next = messages.partition_point(|message| message.end < found.end);
            messages.get(next).is_some_and(|message| message.start <= found.start)
        };
        if self.others.automaton.find_overlapping_iter(&text).all(|found| is_message(found.range())) {
            return Ok(&self.certain);
        }
        self.all.get_or_try_init(|| {
            SpecialTexts::new([self.certain.texts.as_slice(), &self.others.texts].concat())
        })
    }
}

/// Returns whether a text is like `<|user|>`, `[INST]`, `</s>`: letters or digits between brackets, and no spaces.
fn looks_like_marker(text: &str) -> bool {
    const PAIRS: &[(char, char)] =
        &[('<', '>'), ('[', ']'), ('{', '}'), ('(', ')'), ('|', '|'), ('｜', '｜')];
    let (first, last) = (text.chars().next(), text.chars().next_back());
    text.chars().count() >= 3
        && PAIRS.iter().any(|pair| first == Some(pair.0) && last == Some(pair.1))
        && text.chars().any(char::is_alphanumeric)
        && !text.chars().any(char::is_whitespace)
}

impl SpecialTexts {
    fn new(mut texts: Vec<String>) -> Result<Self> {
        texts.retain(|text| !text.is_empty());
        texts.sort_unstable();
        texts.dedup();
        let longest = texts.iter().map(String::len).max().unwrap_or(0);
        let automaton = AhoCorasick::new(&texts).map_err(|error| ErrorKind::InvalidPrompt {
            reason: format!("the special tokens of the model cannot be searched for: {error}"),
        })?;
        Ok(Self { texts, automaton, longest })
    }

    /// Returns the offsets at which a text has to be broken so that none of these texts begins in it, neither inside the
    /// text nor together with later text. The offsets ascend, each after the first character of an occurrence.
    ///
    /// A special token of one character cannot be broken and is an error.
    pub(crate) fn breaks(&self, text: &str) -> Result<Vec<usize>> {
        let mut breaks = Vec::new();
        for found in self.automaton.find_overlapping_iter(text) {
            let special = &text[found.range()];
            let first = special.chars().next().map_or(0, char::len_utf8);
            if first == special.len() {
                let reason = format!(
                    "it has the character {special:?}, which is a special token of this model by itself: remove it"
                );
                return Err(ErrorKind::InvalidPrompt { reason }.into());
            }
            breaks.push(found.start() + first);
        }
        breaks.extend(self.beginnings_at_the_end(text));
        breaks.sort_unstable();
        breaks.dedup();
        Ok(breaks)
    }

    /// Returns the breaks of the special texts that could begin at the end of the text.
    fn beginnings_at_the_end<'t>(&'t self, text: &'t str) -> impl Iterator<Item = usize> + 't {
        let last = text.char_indices().rev().take_while(|(at, _)| text.len() - at < self.longest);
        last.filter(|(at, _)| self.has_longer(&text[*at..])).map(|(at, first)| at + first.len_utf8())
    }

    /// Returns whether one of the texts begins with `beginning` and is longer.
    fn has_longer(&self, beginning: &str) -> bool {
        let next = self.texts.partition_point(|text| text.as_str() <= beginning);
        self.texts.get(next).is_some_and(|text| text.starts_with(beginning))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn special(texts: &[&str]) -> SpecialTexts {
        SpecialTexts::new(texts.iter().map(|text| (*text).to_owned()).collect()).unwrap()
    }

    #[test]
    fn each_occurrence_is_broken_behind_its_first_character() {
        let special = special(&["<|end|>", "<｜turn｜>", "</s>"]);
        assert_eq!(special.breaks("a<|end|>b<|end|></s>").unwrap(), [2, 10, 17]);
        assert_eq!(special.breaks("<｜turn｜>").unwrap(), [1]);
        assert!(special.breaks("< |end|> <end> </S> <s>").unwrap().is_empty());
    }

    #[test]
    fn the_beginning_of_one_at_the_end_is_broken() {
        let special = special(&["<|end|>", "<s>", "｜x"]);
        assert_eq!(special.breaks("a <|en").unwrap(), [3]);
        assert_eq!(special.breaks("1 < 2 <").unwrap(), [7]);
        assert_eq!(special.breaks("｜").unwrap(), ["｜".len()]);
        assert!(special.breaks("<|end").unwrap().len() == 1);
        assert!(special.breaks("<|end| ").unwrap().is_empty());
    }

    #[test]
    fn markers_are_letters_between_brackets() {
        for text in ["<|user|>", "[INST]", "</s>", "<think>", "<｜User｜>", "|im_end|", "<end_of_turn>"] {
            assert!(looks_like_marker(text), "{text}");
        }
        for text in ["\n\n", "<>", "user", "###", "[a b]", "<user", "a>", "", "：", "()"] {
            assert!(!looks_like_marker(text), "{text}");
        }
    }

    #[test]
    fn a_special_token_of_one_character_is_refused() {
        let error = special(&["#", "##"]).breaks("a#").unwrap_err();
        assert!(error.to_string().contains("\"#\""), "{error}");
    }

    proptest! {
        /// Joins broken parts and expects no special text in the result.
        #[test]
        fn what_is_broken_and_joined_has_none(parts in proptest::collection::vec("[<|ab>]{0,8}", 1..5)) {
            let special = special(&["<|a|>", "<b>", "<<", "|>", "ab<"]);
            let mut joined = String::new();
            for part in &parts {
                let mut rest = 0;
                for at in special.breaks(part).unwrap() {
                    joined.push_str(&part[rest..at]);
                    joined.push('7');
                    rest = at;
                }
                joined.push_str(&part[rest..]);
            }
            prop_assert!(special.automaton.find(&joined).is_none(), "{joined}");
        }
    }
}
