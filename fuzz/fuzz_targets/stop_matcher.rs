//! The stop string that is complete first is found, and no part of it is shown, however the text is divided.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama_gen::StopMatcher;

/// Computes the expected result directly: the text before the stop string that is complete first, the longest of
/// several, and that string.
fn expected<'t>(stops: &'t [String], text: &'t str) -> (&'t str, Option<&'t str>) {
    for end in (1..=text.len()).filter(|end| text.is_char_boundary(*end)) {
        let complete = stops.iter().filter(|stop| !stop.is_empty() && text[..end].ends_with(stop.as_str()));
        if let Some(stop) = complete.max_by_key(|stop| stop.len()) {
            return (&text[..end - stop.len()], Some(stop));
        }
    }
    (text, None)
}

fuzz_target!(|input: (String, Vec<String>, Vec<u8>)| {
    let (text, stops, lengths) = input;
    let (whole, expected_stop) = expected(&stops, &text);
    let mut matcher = StopMatcher::new(&stops);
    let (mut shown, mut rest) = (String::new(), text.as_str());
    for length in lengths.into_iter().map(Some).chain([None]) {
        let most = length.map_or(rest.len(), |length| usize::from(length % 8).min(rest.len()));
        let end = (0..=most).rev().find(|end| rest.is_char_boundary(*end)).unwrap_or(0);
        let (chunk, after) = rest.split_at(end);
        rest = after;
        let stop = matcher.push(chunk, &mut shown).map(str::to_owned);
        assert!(whole.starts_with(&shown), "nothing is shown that is not to be shown");
        if stop.is_some() {
            assert_eq!((shown.as_str(), stop.as_deref()), (whole, expected_stop));
            return;
        }
    }
    matcher.finish(&mut shown);
    assert_eq!((shown.as_str(), None), (whole, expected_stop));
});
