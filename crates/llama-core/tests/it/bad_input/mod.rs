//! Bad input gives an error with the value and the limit, and has no other effect.

mod batches;
mod files;
mod parameters;

use llama_core::Error;

/// Asserts that the first line of an error, which is not llama.cpp's, contains all these words.
#[track_caller]
fn assert_says(error: &Error, words: &[&str]) {
    let text = error.to_string();
    let first = text.lines().next().unwrap();
    for word in words {
        assert!(first.contains(word), "{word:?} is not in: {first}");
    }
}

/// Asserts that an error contains llama.cpp's own words.
#[track_caller]
fn assert_llama_cpp_says(error: &Error, words: &str) {
    assert!(error.log().iter().any(|line| line.contains(words)), "{words:?} is not in: {:?}", error.log());
    assert!(error.to_string().contains(words), "{error}");
}
