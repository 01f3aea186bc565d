//! Bytes of tokens to text, one token at a time: never half a character, never one lost.

/// Collects bytes and gives the text that is complete.
///
/// Bytes that are not UTF-8 become U+FFFD, exactly as [`String::from_utf8_lossy`] would do for all bytes at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Detokenizer {
    /// The beginning of a character whose end has not come yet, after `push` at most three bytes.
    pending: Vec<u8>,
}

impl Detokenizer {
    /// Where the next token's bytes are to be appended; call [`take`](Self::take) afterwards.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Moves the complete text to the end of `text`.
    pub(crate) fn take(&mut self, text: &mut String) {
        let mut rest = self.pending.as_slice();
        loop {
            match core::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, tail) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    rest = tail;
                    let Some(invalid) = error.error_len() else { break };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[invalid..];
                }
            }
        }
        let kept = rest.len();
        let start = self.pending.len() - kept;
        self.pending.drain(..start);
    }

    /// Ends the text: what is left of a character becomes U+FFFD.
    pub(crate) fn finish(&mut self, text: &mut String) {
        self.take(text);
        if !self.pending.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            self.pending.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut detokenizer = Detokenizer::default();
        let mut pieces = Vec::new();
        for chunk in chunks {
            detokenizer.buffer().extend_from_slice(chunk);
            let mut piece = String::new();
            detokenizer.take(&mut piece);
            pieces.push(piece);
        }
        let mut piece = String::new();
        detokenizer.finish(&mut piece);
        pieces.push(piece);
        pieces
    }

    #[test]
    fn a_character_waits_for_its_last_byte() {
        let bytes = "a🦙b".as_bytes();
        let pieces = stream([&bytes[..2], &bytes[2..4], &bytes[4..]]);
        assert_eq!(pieces, ["a", "", "🦙b", ""]);
    }

    #[test]
    fn a_character_without_its_end_is_replaced_at_the_end() {
        assert_eq!(stream([&"é".as_bytes()[..1]]), ["", "\u{fffd}"]);
    }

    proptest! {
        #[test]
        fn pieces_joined_are_the_lossy_whole(chunks in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
            let whole: Vec<u8> = chunks.concat();
            let joined: String = stream(chunks.iter().map(Vec::as_slice)).concat();
            prop_assert_eq!(joined, String::from_utf8_lossy(&whole));
        }

        #[test]
        fn text_split_anywhere_is_whole(text in any::<String>(), size in 1_usize..5) {
            let joined: String = stream(text.as_bytes().chunks(size)).concat();
            prop_assert_eq!(joined, text);
        }
    }
}
