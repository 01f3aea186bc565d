//! The words with tokens of their own, and the pieces that they are made of.

/// Common English words and a few of other scripts.
pub(crate) const WORDS: &[&str] = &[
    "the", "of", "and", "to", "in", "is", "you", "that", "it", "he", "was", "for", "on", "are", "as", "with",
    "his", "they", "one", "have", "this", "from", "word", "but", "what", "some", "we", "can", "out", "other",
    "were", "all", "there", "when", "up", "use", "your", "how", "said", "each", "she", "hello", "world",
    "red", "river", "stone", "over", "under", "light", "night",
];

/// Returns every beginning of a word, shorter ones first, without the single letters and without duplicates.
///
/// Tokenizers that merge pairs reach a word only through tokens for its beginnings.
pub(crate) fn beginnings() -> Vec<&'static str> {
    let mut beginnings = Vec::new();
    for length in 2..=WORDS.iter().map(|word| word.len()).max().unwrap_or(0) {
        for beginning in WORDS.iter().filter_map(|word| word.get(..length)) {
            if !beginnings.contains(&beginning) {
                beginnings.push(beginning);
            }
        }
    }
    beginnings
}
