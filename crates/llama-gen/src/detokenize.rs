//! Bytes of tokens to text, one token at a time: never half a character, never one lost.

/// Collects bytes and gives the text that is complete.
///
/// Bytes that are not UTF-8 become U+FFFD, exactly as [`String::from_utf8_lossy`] would do for all bytes at once.
///
/// ```
/// use llama_gen::Detokenizer;
///
/// let mut detokenizer = Detokenizer::new();
/// let mut text = String::new();
/// for bytes in ["🦙".as_bytes().split_at(2).0, "🦙".as_bytes().split_at(2).1] {
///     detokenizer.buffer().extend_from_slice(bytes);
///     detokenizer.take(&mut text);
/// }
/// assert_eq!(text, "🦙");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Detokenizer {
    /// The beginning of a character whose end has not come yet, after `push` at most three bytes.
    pending: Vec<u8>,
}

impl Detokenizer {
    /// No bytes so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes that wait for the rest of their character.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// Where the next token's bytes are to be appended; call [`take`](Self::take) afterwards.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Moves the complete text to the end of `text`.
    pub fn take(&mut self, text: &mut String) {
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
    pub fn finish(&mut self, text: &mut String) {
        self.take(text);
        if !self.pending.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            self.pending.clear();
        }
    }
}
