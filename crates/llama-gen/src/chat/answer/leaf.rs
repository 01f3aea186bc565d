//! Matching of the nodes without children, and the part of a match that more text cannot change.

use super::grammar::Node;

/// The outcome of matching a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Success,
    Fail,
    /// More text is needed to decide.
    NeedMore,
}

/// The progress within a leaf that more text cannot change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Certain {
    /// The offset at which reading continues.
    pub(super) at: usize,
    /// The number of characters, or of open brackets.
    count: usize,
    in_string: bool,
    escaped: bool,
}

impl Certain {
    pub(super) const fn nothing(start: usize) -> Self {
        Self { at: start, count: 0, in_string: false, escaped: false }
    }
}

/// The result of matching a leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) status: Status,
    /// The end of the match.
    pub(super) end: usize,
    /// Whether the match depends on the end of the text, so that more text can change it.
    pub(super) touched: bool,
    pub(super) certain: Certain,
}

/// The text to match.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'t> {
    pub(super) text: &'t str,
    /// Whether no more text follows, so that the beginning of a delimiter is plain text.
    pub(super) is_complete: bool,
    /// Whether a node that is incomplete at the end of the text fails.
    pub(super) is_strict: bool,
}

impl Text<'_> {
    fn short(self, at: usize, certain: Certain) -> Step {
        let status = if self.is_strict { Status::Fail } else { Status::NeedMore };
        Step { status, end: at, touched: true, certain }
    }

    fn char_at(self, at: usize) -> Option<char> {
        self.text[at..].chars().next()
    }

    /// Matches a leaf that begins at `start`, continuing from the progress `from`.
    pub(super) fn read(self, node: &Node, start: usize, from: Certain) -> Step {
        match node {
            Node::Literal { text } => self.literal(text, start),
            Node::Space => self.space(from),
            Node::Any => match self.char_at(start) {
                Some(char) => success(start + char.len_utf8(), from),
                None => self.short(start, from),
            },
            Node::Start if start == 0 => success(start, from),
            Node::Epsilon => success(start, from),
            Node::End if start >= self.text.len() => Step { touched: true, ..success(start, from) },
            Node::Chars { ranges, negated, min, max } => {
                let matches =
                    |char| ranges.iter().any(|(low, high)| (*low..=*high).contains(&u32::from(char)));
                self.chars(from, *min, *max, |char| matches(char) != *negated)
            }
            Node::Name { ends } => {
                self.chars(from, 1, MAX_NAME, |char| is_of_name(char) && !ends.contains(&char))
            }
            Node::String { delimiter } => self.string(*delimiter, from),
            Node::Until { delimiters } => self.until(delimiters, from),
            Node::Call { .. } => self.call(start, from),
            _ => fail(start, from),
        }
    }

    fn literal(self, literal: &str, start: usize) -> Step {
        let certain = Certain::nothing(start);
        let rest = &self.text.as_bytes()[start..];
        if rest.starts_with(literal.as_bytes()) {
            return success(start + literal.len(), certain);
        }
        if literal.as_bytes().starts_with(rest) {
            return self.short(self.text.len(), certain);
        }
        fail(start, certain)
    }

    fn space(self, mut certain: Certain) -> Step {
        let rest = &self.text.as_bytes()[certain.at..];
        let n = rest.iter().position(|byte| !is_space(*byte)).unwrap_or(rest.len());
        certain.at += n;
        Step { touched: certain.at == self.text.len(), ..success(certain.at, certain) }
    }

    fn chars(self, mut certain: Certain, min: i64, max: i64, matches: impl Fn(char) -> bool) -> Step {
        let is_less = |count: usize, than: i64| i64::try_from(count).is_ok_and(|count| count < than);
        while max < 0 || is_less(certain.count, max) {
            let Some(char) = self.char_at(certain.at) else {
                if is_less(certain.count, min) {
                    return self.short(certain.at, certain);
                }
                return Step { touched: true, ..success(certain.at, certain) };
            };
            if !matches(char) {
                break;
            }
            certain.at += char.len_utf8();
            certain.count += 1;
        }
        if is_less(certain.count, min) { fail(certain.at, certain) } else { success(certain.at, certain) }
    }

    fn string(self, delimiter: char, mut certain: Certain) -> Step {
        while let Some(char) = self.char_at(certain.at) {
            if char == delimiter {
                return success(certain.at, certain);
            }
            if char != '\\' {
                certain.at += char.len_utf8();
                continue;
            }
            match escape(&self.text.as_bytes()[certain.at..], delimiter) {
                Some(Some(length)) => certain.at += length,
                Some(None) => return self.short(certain.at, certain),
                None => return fail(certain.at, certain),
            }
        }
        self.short(certain.at, certain)
    }

    fn until(self, delimiters: &[String], mut certain: Certain) -> Step {
        let bytes = self.text.as_bytes();
        let is_first = |byte: &u8| delimiters.iter().any(|it| it.as_bytes().first() == Some(byte));
        while certain.at < bytes.len() {
            let rest = &bytes[certain.at..];
            let Some(next) = rest.iter().position(is_first) else { break };
            let rest = &rest[next..];
            certain.at += next;
            if delimiters.iter().any(|it| rest.starts_with(it.as_bytes())) {
                return success(certain.at, certain);
            }
            if delimiters.iter().any(|it| it.as_bytes().starts_with(rest)) && !self.is_complete {
                return Step { touched: true, ..success(certain.at, certain) };
            }
            // A delimiter begins with the first byte of a character, so this is a character boundary.
            certain.at += self.char_at(certain.at).map_or(1, char::len_utf8);
        }
        certain.at = bytes.len();
        if self.is_strict { success(certain.at, certain) } else { self.short(certain.at, certain) }
    }

    /// Matches a JSON object up to its closing bracket.
    fn call(self, start: usize, mut certain: Certain) -> Step {
        let bytes = self.text.as_bytes();
        if bytes.get(start).is_some_and(|byte| *byte != b'{') {
            return fail(start, certain);
        }
        while let Some(byte) = bytes.get(certain.at) {
            certain.at += 1;
            if certain.in_string {
                match byte {
                    _ if certain.escaped => certain.escaped = false,
                    b'\\' => certain.escaped = true,
                    b'"' => certain.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => certain.in_string = true,
                b'{' | b'[' => certain.count += 1,
                b'}' | b']' => certain.count -= 1,
                _ => {}
            }
            if certain.count == 0 {
                return success(certain.at, certain);
            }
        }
        self.short(certain.at, certain)
    }
}

/// The longest name of a tool that was not offered, in characters.
const MAX_NAME: i64 = 256;

/// Returns whether names of tools and arguments may contain this character.
fn is_of_name(char: char) -> bool {
    char.is_alphanumeric() || "_-.:/@#$+~".contains(char)
}

fn success(end: usize, certain: Certain) -> Step {
    Step { status: Status::Success, end, touched: false, certain }
}

fn fail(end: usize, certain: Certain) -> Step {
    Step { status: Status::Fail, end, touched: false, certain }
}

/// Returns whether C's `isspace` is true for a byte.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Returns the length of the escape at the beginning of these bytes, `Some(None)` when it is incomplete.
fn escape(bytes: &[u8], delimiter: char) -> Option<Option<usize>> {
    match bytes.get(1) {
        None => Some(None),
        Some(b'u') => {
            let digits = &bytes[2..bytes.len().min(6)];
            let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
            is_hex.then(|| (digits.len() == 4).then_some(6))
        }
        Some(b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Some(Some(2)),
        Some(byte) if char::from(*byte) == delimiter => Some(Some(2)),
        Some(_) => None,
    }
}
