//! A growing text whose end may be a guess.

/// A text that grows, or is cut back to an earlier length. Guessed text is stored apart from certain text, so that
/// discarding a guess takes the same time however long the text is.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffer {
    certain: String,
    /// The length of the certain text that is in use.
    kept: usize,
    guessed: String,
    is_guessing: bool,
    /// The shortest length since [`take_low`](Self::take_low).
    low: usize,
}

impl Buffer {
    pub(super) fn len(&self) -> usize {
        self.kept + self.guessed.len()
    }

    pub(super) fn push_str(&mut self, text: &str) {
        if self.is_guessing {
            self.guessed.push_str(text);
        } else {
            self.certain.push_str(text);
            self.kept = self.certain.len();
        }
    }

    pub(super) fn push(&mut self, char: char) {
        self.push_str(char.encode_utf8(&mut [0; 4]));
    }

    pub(super) fn truncate(&mut self, length: usize) {
        if length >= self.len() {
            return;
        }
        self.low = self.low.min(length);
        if length > self.kept {
            self.guessed.truncate(length - self.kept);
            return;
        }
        self.guessed.clear();
        self.kept = length;
        if !self.is_guessing {
            self.certain.truncate(length);
        }
    }

    pub(super) fn guess(&mut self) {
        self.is_guessing = true;
    }

    /// Discards the guessed text, and restores certain text that a guess has cut off.
    pub(super) fn be_certain(&mut self) {
        self.low = self.low.min(self.kept);
        self.guessed.clear();
        self.kept = self.certain.len();
        self.is_guessing = false;
    }

    pub(super) fn last_byte(&self) -> Option<u8> {
        let kept = &self.certain.as_bytes()[..self.kept];
        self.guessed.as_bytes().last().or(kept.last()).copied()
    }

    /// Returns the text between two offsets, in two pieces.
    pub(super) fn pieces(&self, from: usize, to: usize) -> [&str; 2] {
        let split = |at: usize| (at.min(self.kept), at.saturating_sub(self.kept));
        let ((low, low_guessed), (high, high_guessed)) = (split(from), split(to));
        [&self.certain[low..high], &self.guessed[low_guessed..high_guessed]]
    }

    /// Returns whether the text has these bytes at an offset.
    pub(super) fn has(&self, from: usize, bytes: &[u8]) -> bool {
        #[cfg(test)]
        super::tests::add_work(bytes.len());
        let to = from + bytes.len();
        if to > self.len() {
            return false;
        }
        let (low, high) = (from.min(self.kept), to.min(self.kept));
        let (certain, guessed) = bytes.split_at(high - low);
        let skipped = from.saturating_sub(self.kept);
        self.certain.as_bytes()[low..high] == *certain
            && self.guessed.as_bytes()[skipped..skipped + guessed.len()] == *guessed
    }

    pub(super) fn slice(&self, from: usize, to: usize) -> String {
        self.pieces(from, to).concat()
    }

    /// Returns the length up to which the text has not changed since the last call.
    pub(super) fn take_low(&mut self) -> usize {
        core::mem::replace(&mut self.low, usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_is_forgotten_whatever_it_did() {
        let mut buffer = Buffer::default();
        buffer.push_str("certain");
        buffer.guess();
        buffer.push_str(" guess");
        assert_eq!(
            (buffer.slice(0, buffer.len()).as_str(), buffer.last_byte()),
            ("certain guess", Some(b's'))
        );
        buffer.truncate(9);
        assert_eq!(buffer.slice(3, buffer.len()), "tain g");
        buffer.truncate(4);
        buffer.push('x');
        assert_eq!((buffer.slice(0, buffer.len()).as_str(), buffer.take_low()), ("certx", 0));
        buffer.be_certain();
        assert_eq!((buffer.slice(0, buffer.len()).as_str(), buffer.take_low()), ("certain", 4));
        buffer.truncate(2);
        assert_eq!((buffer.slice(0, buffer.len()).as_str(), buffer.take_low()), ("ce", 2));
    }
}
