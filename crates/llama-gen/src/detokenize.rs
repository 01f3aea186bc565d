//! Conversion of the bytes of tokens to text, in whole characters.

/// Collects bytes, and returns the text of the complete characters.
///
/// Invalid UTF-8 becomes U+FFFD, exactly as [`String::from_utf8_lossy`] converts all bytes at once.
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
    /// The beginning of an incomplete character, after [`take`](Self::take) at most three bytes.
    pending: Vec<u8>,
}

impl Detokenizer {
    /// Creates an empty detokenizer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the bytes of an incomplete character.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// Returns the buffer to append the next token's bytes to. Call [`take`](Self::take) afterwards.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Moves the complete characters to the end of `text`.
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

    /// Ends the text. The rest of an incomplete character becomes U+FFFD.
    pub fn finish(&mut self, text: &mut String) {
        self.take(text);
        if !self.pending.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            self.pending.clear();
        }
    }
}
