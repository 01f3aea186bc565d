//! The detokenizer and the stop matcher for any division of the text.

use std::sync::LazyLock;

use llama_core::{Model, ModelParams, Token};
use llama_gen::{Detokenizer, StopMatcher};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use test_models::Tiny;

/// Returns the texts of chunks of bytes, and the text at the end as the last.
fn decoded<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut detokenizer = Detokenizer::new();
    let mut pieces = Vec::new();
    for chunk in chunks {
        detokenizer.buffer().extend_from_slice(chunk);
        let mut piece = String::new();
        detokenizer.take(&mut piece);
        assert!(detokenizer.pending().len() < 4, "no character has more than four bytes");
        pieces.push(piece);
    }
    let mut piece = String::new();
    detokenizer.finish(&mut piece);
    pieces.push(piece);
    pieces
}

/// Returns the text that is shown for each chunk and at the end, and the stop string.
fn matched<S: AsRef<str>>(stops: &[String], chunks: &[S]) -> (Vec<String>, Option<String>) {
    let mut matcher = StopMatcher::new(stops);
    let mut pieces = Vec::new();
    for chunk in chunks {
        let mut piece = String::new();
        let stop = matcher.push(chunk.as_ref(), &mut piece).map(str::to_owned);
        pieces.push(piece);
        if stop.is_some() {
            return (pieces, stop);
        }
        check_held(&matcher, stops);
    }
    let mut piece = String::new();
    matcher.finish(&mut piece);
    pieces.push(piece);
    (pieces, None)
}

/// Checks that the text kept back is the beginning of a stop string.
fn check_held(matcher: &StopMatcher, stops: &[String]) {
    let held = matcher.held();
    assert!(stops.iter().any(|stop| stop.starts_with(held)) || held.is_empty(), "{held:?} of {stops:?}");
}

/// Computes the expected result directly: the stop string that is complete first, the longest of several, and the
/// text before it.
fn expected(stops: &[String], text: &str) -> (String, Option<String>) {
    for (end, _) in text.char_indices().skip(1).chain([(text.len(), ' ')]) {
        let complete = stops.iter().filter(|stop| !stop.is_empty() && text[..end].ends_with(stop.as_str()));
        if let Some(stop) = complete.max_by_key(|stop| stop.len()) {
            return (text[..end - stop.len()].to_owned(), Some(stop.clone()));
        }
    }
    (text.to_owned(), None)
}

/// Cuts at these places, which are taken modulo the length.
fn cut<'a>(bytes: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Characters of one to four bytes, combining marks, and emoji of several characters.
const PARTS: &[&str] = &[
    "a",
    "b",
    "ab",
    "\n",
    "é",
    "e\u{301}",
    "\u{301}",
    "漢",
    "🦙",
    "👩‍👩‍👧",
    "🇩🇪",
    "\u{fe0f}",
    "\u{200d}",
    "\u{fffd}",
    "ß",
    "\0",
];

/// Invalid UTF-8: ends without beginnings, beginnings without ends, surrogates, overlong forms, too large numbers.
const BROKEN: &[&[u8]] = &[
    b"\x80",
    b"\xff",
    b"\xc3",
    b"\xe6\xbc",
    b"\xf0\x9f",
    b"\xf0\x9f\xa6",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xf4\x90\x80\x80",
];

fn text() -> impl Strategy<Value = String> {
    vec(select(PARTS), 0..16).prop_map(|parts| parts.concat())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => select(PARTS).prop_map(|part| part.as_bytes().to_vec()),
        1 => select(BROKEN).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..3),
    ];
    vec(part, 0..16).prop_map(|parts| parts.concat())
}

fn stops() -> impl Strategy<Value = Vec<String>> {
    vec(vec(select(PARTS), 1..4).prop_map(|parts| parts.concat()), 0..4)
}

fn model() -> &'static Model {
    static MODEL: LazyLock<Model> =
        LazyLock::new(|| Model::load(Tiny::Llama.path(), &ModelParams::default().vocab_only(true)).unwrap());
    &MODEL
}

proptest! {
    #[test]
    fn pieces_joined_are_the_whole(bytes in bytes(), places in vec(any::<usize>(), 0..8)) {
        let pieces = decoded(cut(&bytes, &places));
        prop_assert_eq!(pieces.concat(), String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn text_split_anywhere_is_whole(text in text(), places in vec(any::<usize>(), 0..8)) {
        let pieces = decoded(cut(text.as_bytes(), &places));
        prop_assert_eq!(pieces.last().map(String::as_str), Some(""), "nothing is left for the end");
        prop_assert_eq!(pieces.concat(), text);
    }

    #[test]
    fn tokens_of_single_bytes_make_characters(text in text(), words in vec(0..300_i32, 0..8)) {
        // Bytes of a text as the vocabulary's byte tokens, which begin at 3, with other tokens behind.
        let vocab = model().vocab();
        let bytes = text.bytes().map(|byte| Token::new(3 + i32::from(byte)));
        let tokens: Vec<Token> = bytes.chain(words.into_iter().map(Token::new)).collect();
        let chunks: Vec<Vec<u8>> =
            tokens.iter().map(|token| vocab.token_to_bytes(*token, false).unwrap()).collect();
        let joined = decoded(chunks.iter().map(Vec::as_slice)).concat();
        let whole = chunks.concat();
        prop_assert_eq!(&joined, &String::from_utf8_lossy(&whole));
        prop_assert!(joined.starts_with(&text), "{joined:?}");
    }

    #[test]
    fn stop_strings_are_those_found_by_hand(
        text in text(), stops in stops(), places in vec(any::<usize>(), 0..8),
    ) {
        let chunks: Vec<String> = decoded(cut(text.as_bytes(), &places));
        let (pieces, stop) = matched(&stops, &chunks);
        let (shown, expected_stop) = expected(&stops, &text);
        prop_assert_eq!(pieces.concat(), shown);
        prop_assert_eq!(stop, expected_stop);
    }

    #[test]
    fn of_two_letters_too(text in "[ab]{0,24}", stops in vec("[ab]{1,6}", 1..4), size in 1..5_usize) {
        let chunks: Vec<&str> =
            text.as_bytes().chunks(size).map(|chunk| std::str::from_utf8(chunk).unwrap()).collect();
        let (pieces, stop) = matched(&stops, &chunks);
        let shown = pieces.concat();
        prop_assert_eq!((shown.clone(), stop), expected(&stops, &text));
        for stop in &stops {
            prop_assert!(!shown.contains(stop.as_str()), "no stop string is ever shown");
        }
    }

    #[test]
    fn both_together_do_not_depend_on_the_division(
        bytes in bytes(), stops in stops(), places in vec(any::<usize>(), 0..8),
    ) {
        let (whole, whole_stop) = matched(&stops, &decoded([bytes.as_slice()]));
        let (parts, parts_stop) = matched(&stops, &decoded(cut(&bytes, &places)));
        prop_assert_eq!(whole.concat(), parts.concat());
        prop_assert_eq!(whole_stop, parts_stop);
    }
}

#[test]
fn a_character_waits_for_its_last_byte() {
    let bytes = "a🦙b".as_bytes();
    assert_eq!(decoded([&bytes[..2], &bytes[2..4], &bytes[4..]]), ["a", "", "🦙b", ""]);
    assert_eq!(decoded([&"é".as_bytes()[..1]]), ["", "\u{fffd}"]);
}

#[test]
fn a_stop_string_across_chunks_is_never_shown_in_part() {
    let stops = ["\n\nUser:".to_owned()];
    let (pieces, stop) = matched(&stops, &["Hi.", "\n", "\nUs", "er: x"]);
    assert_eq!(pieces, ["Hi.", "", "", ""]);
    assert_eq!(stop.unwrap(), "\n\nUser:");
    assert_eq!(matched(&stops, &["a\n\nUse", "less"]).0, ["a", "\n\nUseless", ""]);
    assert_eq!(matched(&stops, &["a\n\n\n", "User:"]).0, ["a\n", ""]);
}
