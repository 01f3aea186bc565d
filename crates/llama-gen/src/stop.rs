//! Stop strings: found wherever they are in the stream, and never shown in part.

/// Passes text on and keeps back what could be the beginning of a stop string.
///
/// The first stop string to be complete ends the text; of several that are complete at the same character the longest
/// counts. So the result does not depend on how the text is divided.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopMatcher {
    stops: Vec<String>,
    held: String,
}

impl StopMatcher {
    pub(crate) fn new(stops: Vec<String>) -> Self {
        Self { stops, held: String::new() }
    }

    /// Takes the next text; appends to `shown` what can be shown. `Some` is the stop string that ended the text.
    pub(crate) fn push(&mut self, text: &str, shown: &mut String) -> Option<String> {
        if self.stops.is_empty() {
            shown.push_str(text);
            return None;
        }
        let new = self.held.len();
        self.held.push_str(text);
        let ends = text.char_indices().map(|(at, character)| new + at + character.len_utf8());
        for end in ends {
            let so_far = &self.held[..end];
            let matched = self
                .stops
                .iter()
                .filter(|stop| so_far.ends_with(stop.as_str()))
                .max_by_key(|stop| stop.len());
            if let Some(stop) = matched.cloned() {
                shown.push_str(&self.held[..end - stop.len()]);
                self.held.clear();
                return Some(stop);
            }
        }
        let keep = self.longest_beginning();
        let show = self.held.len() - keep;
        shown.extend(self.held.drain(..show));
        None
    }

    /// Ends the text: what was kept back is shown after all.
    pub(crate) fn finish(&mut self, shown: &mut String) {
        shown.push_str(&self.held);
        self.held.clear();
    }

    /// The length of the longest end of the text that a stop string begins with.
    fn longest_beginning(&self) -> usize {
        let starts = self.held.char_indices().map(|(at, _)| &self.held[at..]);
        let could_stop =
            |end: &&str| self.stops.iter().any(|stop| stop.len() > end.len() && stop.starts_with(*end));
        starts.into_iter().find(could_stop).map_or(0, str::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is shown of the chunks, piece by piece, and the stop string.
    fn run(stops: &[&str], chunks: &[&str]) -> (Vec<String>, Option<String>) {
        let mut matcher = StopMatcher::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut pieces = Vec::new();
        for chunk in chunks {
            let mut piece = String::new();
            let stop = matcher.push(chunk, &mut piece);
            pieces.push(piece);
            if stop.is_some() {
                return (pieces, stop);
            }
        }
        let mut piece = String::new();
        matcher.finish(&mut piece);
        pieces.push(piece);
        (pieces, None)
    }

    #[test]
    fn a_stop_string_across_chunks_is_never_shown_in_part() {
        let (pieces, stop) = run(&["\n\nUser:"], &["Hi.", "\n", "\nUs", "er: x"]);
        assert_eq!(pieces, ["Hi.", "", "", ""]);
        assert_eq!(stop.unwrap(), "\n\nUser:");
    }

    #[test]
    fn what_was_kept_back_in_vain_is_shown() {
        let (pieces, stop) = run(&["END"], &["a EN", "TER"]);
        assert_eq!(pieces, ["a ", "ENTER", ""]);
        assert_eq!(stop, None);
    }

    #[test]
    fn what_is_kept_back_at_the_end_is_shown() {
        assert_eq!(run(&["END"], &["a EN"]), (vec!["a ".to_owned(), "EN".to_owned()], None));
    }

    #[test]
    fn of_a_stop_string_and_its_beginning_the_beginning_stops_first() {
        let (pieces, stop) = run(&["abc", "ab"], &["xabc"]);
        assert_eq!((pieces.concat().as_str(), stop.unwrap().as_str()), ("x", "ab"));
    }

    #[test]
    fn of_two_that_end_together_the_longer_counts() {
        let (pieces, stop) = run(&["b", "ab"], &["xab"]);
        assert_eq!((pieces.concat().as_str(), stop.unwrap().as_str()), ("x", "ab"));
    }

    #[test]
    fn a_stop_string_inside_a_chunk_cuts_it() {
        let (pieces, stop) = run(&["|"], &["one|two"]);
        assert_eq!((pieces.concat().as_str(), stop.unwrap().as_str()), ("one", "|"));
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_the_division(
            text in "[abé]{0,24}", stops in proptest::collection::vec("[abé]{1,4}", 0..4), size in 1_usize..6,
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let characters: Vec<char> = text.chars().collect();
            let chunks: Vec<String> = characters.chunks(size).map(|chunk| chunk.iter().collect()).collect();
            let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
            let (whole, whole_stop) = run(&stops, &[&text]);
            let (parts, parts_stop) = run(&stops, &chunks);
            prop_assert_eq!(whole.concat(), parts.concat());
            prop_assert_eq!(whole_stop, parts_stop);
        }

        #[test]
        fn no_stop_string_is_ever_shown(text in "[ab]{0,24}", stop in "[ab]{1,4}") {
            let (pieces, _) = run(&[&stop], &[&text]);
            prop_assert!(!pieces.concat().contains(&stop));
        }
    }
}
