//! Search for special tokens in a text, with llama.cpp's results.
//!
//! llama.cpp searches one special token after the other, the longest first, in the text that the earlier ones have
//! left (llama-vocab.cpp, `tokenizer_st_partition`). It walks a list from the start for every match, which takes
//! quadratic time for a text with many of them. Dividing a text after special tokens gives the same tokens in linear
//! time.

use core::ops::Range;

use super::facts::{Facts, Special};

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    pub(super) range: Range<usize>,
    /// Whether the fragment is the name of a special token.
    pub(super) is_token: bool,
}

/// Divides a text at its special tokens. White space that a token absorbs belongs to no fragment. Returns `None` if
/// llama.cpp's result cannot be predicted.
pub(super) fn fragments(text: &str, facts: &Facts, parse_special: bool) -> Option<Vec<Fragment>> {
    let mut fragments = vec![Fragment { range: 0..text.len(), is_token: false }];
    let present = present(text, facts, parse_special)?;
    if is_ambiguous(&present) {
        return None;
    }
    for special in present {
        if text.contains(&*special.text) {
            fragments = split_all(text, &fragments, special);
        }
    }
    Some(fragments)
}

/// Returns the special tokens whose names are in the text, in search order.
fn present<'f>(text: &str, facts: &'f Facts, parse_special: bool) -> Option<Vec<&'f Special>> {
    if !facts.knows_names() {
        return None;
    }
    let Some(finder) = &facts.finder else { return Some(Vec::new()) };
    let mut is_present = vec![false; facts.specials.len()];
    for found in finder.find_overlapping_iter(text) {
        is_present[found.pattern().as_usize()] = true;
    }
    let present = facts.specials.iter().zip(is_present).filter(|(_, is_present)| *is_present);
    Some(present.map(|(special, _)| special).filter(|special| special.is_found(parse_special)).collect())
}

/// Returns whether two names of the same length can overlap, in which case the search order is unknown.
fn is_ambiguous(present: &[&Special]) -> bool {
    let overlap = |left: &[u8], right: &[u8]| {
        (1..left.len()).any(|length| left[left.len() - length..] == right[..length])
    };
    let same_length = |(index, special): (usize, &&Special)| {
        let others = present[index + 1..].iter();
        let mut same = others.take_while(|other| other.text.len() == special.text.len());
        let text = special.text.as_bytes();
        same.any(|other| {
            let other = other.text.as_bytes();
            overlap(text, other) || overlap(other, text)
        })
    };
    present.iter().enumerate().any(same_length)
}

fn split_all(text: &str, fragments: &[Fragment], special: &Special) -> Vec<Fragment> {
    let mut split = Vec::with_capacity(fragments.len() + 2);
    for fragment in fragments {
        if fragment.is_token {
            split.push(fragment.clone());
        } else {
            split_one(text, fragment.range.clone(), special, &mut split);
        }
    }
    split
}

fn split_one(text: &str, range: Range<usize>, special: &Special, split: &mut Vec<Fragment>) {
    let bytes = text.as_bytes();
    let Range { mut start, end } = range;
    let raw = |range: Range<usize>| Fragment { range, is_token: false };
    while let Some(found) = text[start..end].find(&*special.text) {
        let token = start + found..start + found + special.text.len();
        let mut before = token.start;
        while special.strips_left && before > start && is_space(bytes[before - 1]) {
            before -= 1;
        }
        split.extend((before > start).then(|| raw(start..before)));
        start = token.end;
        while special.strips_right && start < end && is_space(bytes[start]) {
            start += 1;
        }
        split.push(Fragment { range: token, is_token: true });
    }
    split.extend((start < end).then(|| raw(start..end)));
}

/// Returns whether C's `isspace` holds.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}
