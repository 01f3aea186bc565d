//! What a model writes where the format of its template has no place for it.

/// The rest of an answer that the grammar does not read: it is given as content.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    /// How far it has been given.
    at: usize,
    /// Whether marks in front of the text are left out.
    skips_marks: bool,
    problem: String,
}

/// The longest mark, in bytes.
const MAX_MARK: usize = 64;

impl Tail {
    /// What follows the end that the grammar knows. Marks alone are not worth a word.
    pub(super) fn after_end(at: usize, prompt: usize) -> Self {
        let problem = format!(
            "the answer goes on at byte {} where the format of its template has an end: the rest is given as content",
            at.saturating_sub(prompt)
        );
        Self { at, skips_marks: true, problem }
    }

    /// What does not fit.
    pub(super) fn of_misfit(at: usize, prompt: usize, format: &str) -> Self {
        let at = at.max(prompt);
        let problem = format!(
            "the answer does not fit the format of its template ({format}) from byte {} on: the rest is given as content",
            at - prompt
        );
        Self { at, skips_marks: false, problem }
    }

    /// The rest from a place on.
    pub(super) fn from(self, at: usize) -> Self {
        Self { at, ..self }
    }

    /// What more of it there is.
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

    /// All the rest, of which no more comes.
    pub(super) fn take_last<'i>(&mut self, input: &'i str) -> &'i str {
        let rest = self.take(input);
        if self.at < input.len() {
            self.skips_marks = false;
            return self.take(input);
        }
        rest
    }

    /// What is wrong, if there is such a text.
    pub(super) fn problem(&self) -> Option<&str> {
        (!self.skips_marks).then_some(self.problem.as_str())
    }
}

enum Mark {
    Length(usize),
    /// More text decides.
    Unknown,
    None,
}

/// Whitespace, or a mark such as `<|end|>`, `</tool_call>` or `[/TOOL_CALLS]`, at the beginning of a text.
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
