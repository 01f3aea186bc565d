//! Stop strings: found wherever they are in the stream, and never shown in part.

/// Passes text on and keeps back what could be the beginning of a stop string.
///
/// The first stop string to be complete ends the text; of several that are complete at the same character the longest
/// counts. So the result does not depend on how the text is divided. Each byte costs a step for each stop string,
/// however long they are.
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
    /// The end of the text that a stop string begins with.
    held: String,
}

impl StopMatcher {
    /// A matcher for these texts. Empty ones are left out.
    pub fn new<S: Into<String>>(stops: impl IntoIterator<Item = S>) -> Self {
        let stops = stops.into_iter().map(Into::into).filter(|stop: &String| !stop.is_empty());
        Self { stops: stops.map(Stop::new).collect(), held: String::new() }
    }

    /// Takes the next text; appends to `shown` what can be shown. `Some` is the stop string that ended the text: what
    /// comes after it is dropped, and the matcher begins anew.
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

    /// What is kept back.
    #[must_use]
    pub fn held(&self) -> &str {
        &self.held
    }

    /// Ends the text: what was kept back is shown after all.
    pub fn finish(&mut self, shown: &mut String) {
        shown.push_str(&self.held);
        self.reset();
    }

    /// The longest of the stop strings that this byte completes.
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

/// A stop string and how much of it the text ends with: the matcher of Knuth, Morris and Pratt.
#[derive(Clone, Debug)]
struct Stop {
    text: String,
    /// For each length of a beginning, the length of its longest end that is a shorter beginning.
    shorter: Vec<usize>,
    /// How many bytes the text so far ends with. They are whole characters when the text is.
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

    /// Takes a byte; true when the text ends with the whole string.
    fn step(&mut self, byte: u8) -> bool {
        let bytes = self.text.as_bytes();
        while self.matched > 0 && bytes[self.matched] != byte {
            self.matched = self.shorter[self.matched - 1];
        }
        self.matched += usize::from(bytes[self.matched] == byte);
        self.matched == bytes.len()
    }
}
