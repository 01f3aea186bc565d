//! Stop strings: found at any position of a stream, and never shown in part.

/// Passes text on, and holds back text that could be the beginning of a stop string.
///
/// The first complete stop string ends the text. If several end at the same character, the longest one counts. So the
/// result does not depend on how the text is split into pieces. Each byte costs one step per stop string, of any length.
///
/// ```
/// use llama_gen::StopMatcher;
///
/// let mut matcher = StopMatcher::new(["\nUser:"]);
/// let mut shown = String::new();
/// assert_eq!(matcher.push("Hi.\nUs", &mut shown), None);
/// assert_eq!(shown, "Hi.");
/// assert_eq!(matcher.push("er: x", &mut shown), Some("\nUser:"));
/// assert_eq!(shown, "Hi.");
/// ```
#[derive(Clone, Debug, Default)]
pub struct StopMatcher {
    stops: Vec<Stop>,
    /// The held back end of the text, with which a stop string begins.
    held: String,
}

impl StopMatcher {
    /// Creates a matcher for these texts. Empty texts are left out.
    pub fn new<S: Into<String>>(stops: impl IntoIterator<Item = S>) -> Self {
        let stops = stops.into_iter().map(Into::into).filter(|stop: &String| !stop.is_empty());
        Self { stops: stops.map(Stop::new).collect(), held: String::new() }
    }

    /// Takes the next piece of text, and appends to `shown` the text that can be shown. Returns the stop string that ended the
    /// text, if any: text after it is dropped, and the matcher is reset.
    pub fn push(&mut self, text: &str, shown: &mut String) -> Option<&str> {
        let new = self.held.len();
        self.held.push_str(text);
        for (at, byte) in text.bytes().enumerate() {
            if let Some(stop) = self.step(byte) {
                let end = new + at + 1 - self.stops[stop].text.len();
                shown.push_str(&self.held[..end]);
                self.reset();
                return Some(&self.stops[stop].text);
            }
        }
        let keep = self.stops.iter().map(|stop| stop.matched).max().unwrap_or(0);
        let show = self.held.len() - keep;
        shown.push_str(&self.held[..show]);
        self.held.drain(..show);
        None
    }

    /// Returns the text that is held back.
    #[must_use]
    pub fn held(&self) -> &str {
        &self.held
    }

    /// Ends the text, and appends the held back text to `shown`.
    pub fn finish(&mut self, shown: &mut String) {
        shown.push_str(&self.held);
        self.reset();
    }

    /// Returns the index of the longest stop string that this byte completes.
    fn step(&mut self, byte: u8) -> Option<usize> {
        let mut complete: Option<usize> = None;
        for index in 0..self.stops.len() {
            let longest = complete.map_or(0, |stop| self.stops[stop].text.len());
            if self.stops[index].step(byte) && self.stops[index].text.len() > longest {
                complete = Some(index);
            }
        }
        complete
    }

    fn reset(&mut self) {
        self.held.clear();
        self.stops.iter_mut().for_each(|stop| stop.matched = 0);
    }
}

/// The state of one stop string in the algorithm of Knuth, Morris and Pratt.
#[derive(Clone, Debug)]
struct Stop {
    text: String,
    /// For each prefix, the length of its longest proper suffix that is a prefix too.
    shorter: Vec<usize>,
    /// The number of its first bytes that the text ends with: whole characters, as the text has only whole ones.
    matched: usize,
}

impl Stop {
    fn new(text: String) -> Self {
        let bytes = text.as_bytes();
        let mut shorter = vec![0; bytes.len()];
        for end in 1..bytes.len() {
            let mut length = shorter[end - 1];
            while length > 0 && bytes[length] != bytes[end] {
                length = shorter[length - 1];
            }
            shorter[end] = length + usize::from(bytes[length] == bytes[end]);
        }
        Self { text, shorter, matched: 0 }
    }

    /// Takes a byte. Returns true when the text ends with the whole string.
    fn step(&mut self, byte: u8) -> bool {
        let bytes = self.text.as_bytes();
        while self.matched > 0 && bytes[self.matched] != byte {
            self.matched = self.shorter[self.matched - 1];
        }
        self.matched += usize::from(bytes[self.matched] == byte);
        self.matched == bytes.len()
    }
}
