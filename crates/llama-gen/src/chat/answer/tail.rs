//! Text of an answer that the format of its template does not allow.

/// The rest of an answer, which the grammar does not match. It is returned as content.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    /// The offset up to which it was returned.
    at: usize,
    /// Whether marks at its beginning are left out.
    skips_marks: bool,
    problem: String,
}

/// The longest mark, in bytes.
const MAX_MARK: usize = 64;

impl Tail {
    /// Creates the rest after the end of the grammar. Marks alone are left out and are no problem.
    pub(super) fn after_end(at: usize, prompt: usize) -> Self {
        let problem = format!(
            "the answer continues at byte {}, where the format of its template ends: the rest is returned as content",
            at.saturating_sub(prompt)
        );
        Self { at, skips_marks: true, problem }
    }

    /// Creates the rest from the position on where the answer does not match.
    pub(super) fn of_misfit(at: usize, prompt: usize, format: &str) -> Self {
        let at = at.max(prompt);
        let problem = format!(
            "the answer does not fit the format of its template ({format}) from byte {} on: the rest is returned as content",
            at - prompt
        );
        Self { at, skips_marks: false, problem }
    }

    /// Skips to an offset.
    pub(super) fn from(self, at: usize) -> Self {
        Self { at, ..self }
    }

    /// Returns the part that was not returned yet.
    pub(super) fn take<'i>(&mut self, input: &'i str) -> &'i str {
        while self.skips_marks {
            let rest = &input[self.at..];
            match mark(rest) {
                Mark::Length(length) => self.at += length,
                Mark::Unknown => return "",
                Mark::None => self.skips_marks = false,
            }
        }
        let rest = &input[self.at..];
        self.at = input.len();
        rest
    }

    /// Returns the part that was not returned yet, when no more text follows.
    pub(super) fn take_last<'i>(&mut self, input: &'i str) -> &'i str {
        let rest = self.take(input);
        if self.at < input.len() {
            self.skips_marks = false;
            return self.take(input);
        }
        rest
    }

    /// Returns the problem, if the rest has any text.
    pub(super) fn problem(&self) -> Option<&str> {
        (!self.skips_marks).then_some(self.problem.as_str())
    }
}

enum Mark {
    Length(usize),
    /// More text is needed to decide.
    Unknown,
    None,
}

/// Finds whitespace, or a mark such as `<|end|>`, `</tool_call>` or `[/TOOL_CALLS]`, at the beginning of a text.
fn mark(text: &str) -> Mark {
    let trimmed = text.trim_start();
    if trimmed.len() < text.len() {
        return Mark::Length(text.len() - trimmed.len());
    }
    let close = match text.bytes().next() {
        None => return Mark::Unknown,
        Some(b'<') => '>',
        Some(b'[') => ']',
        Some(_) => return Mark::None,
    };
    match text.find(close) {
        Some(end) if end < MAX_MARK => {
            let inside = &text[1..end];
            let is_mark = inside.starts_with(['|', '/', '\u{ff5c}']) || inside.ends_with(['|', '\u{ff5c}']);
            if is_mark { Mark::Length(end + 1) } else { Mark::None }
        }
        None if text.len() < MAX_MARK => Mark::Unknown,
        _ => Mark::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_left_out_and_text_is_not() {
        let read = |text: &str, size: usize| {
            let mut tail = Tail::after_end(0, 0);
            let characters: Vec<char> = text.chars().collect();
            let (mut input, mut given) = (String::new(), String::new());
            for piece in characters.chunks(size) {
                input.extend(piece);
                given += tail.take(&input);
            }
            given += tail.take_last(&input);
            (given, tail.problem().is_some())
        };
        for size in 1..4 {
            assert_eq!(read(" <|end|>\n</tool_call>[/X]", size), (String::new(), false));
            assert_eq!(read("<|end|> Text <|end|>", size), ("Text <|end|>".to_owned(), true));
            assert_eq!(read("<b>bold</b>", size), ("<b>bold</b>".to_owned(), true));
            assert_eq!(read("</tool", size), ("</tool".to_owned(), true));
        }
    }
}
