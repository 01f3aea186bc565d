//! Converts streaming arguments from a template's notation to JSON, piece by piece.

use super::buffer::Buffer;
use super::call::{self, Strings};

/// The conversion of a part of an answer to JSON.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    /// Arguments of unknown form, before their first character.
    Start,
    /// A JSON object, passed on unchanged. `held` is the offset of whitespace that may be its end.
    Object { strings: Strings, held: Option<usize> },
    /// A JSON string that contains an object.
    Encoded(Encoded),
    /// Another form, converted when it is complete.
    Odd,
    /// The text of a JSON string.
    Text,
    /// A value in Python's or JSON's notation.
    Python(Python),
}

impl Value {
    /// Converts `input[from..to]` and appends it to `json`.
    pub(super) fn push(&mut self, input: &str, from: usize, to: usize, json: &mut Buffer) {
        let mut text = &input[from..to];
        if matches!(self, Self::Start) {
            text = text.trim_start();
            match text.bytes().next() {
                None => return,
                Some(b'{') => *self = Self::Object { strings: Strings::default(), held: None },
                Some(b'"') => {
                    text = &text[1..];
                    *self = Self::Encoded(Encoded::default());
                }
                Some(_) => *self = Self::Odd,
            }
        }
        match self {
            Self::Start | Self::Odd => {}
            Self::Object { strings, held } => {
                let at = to - text.len();
                push_object(strings, held, input, at, to, json);
            }
            Self::Encoded(encoded) => {
                if !text.chars().all(|char| encoded.push(char, json)) {
                    *self = Self::Odd;
                }
            }
            Self::Text => json.push_str(&call::escape(text)),
            Self::Python(python) => text.chars().for_each(|char| python.push(char, json)),
        }
    }
}

/// Appends a part of an object, and holds back whitespace that may follow its end.
fn push_object(
    strings: &mut Strings,
    held: &mut Option<usize>,
    input: &str,
    from: usize,
    to: usize,
    json: &mut Buffer,
) {
    let text = input[from..to].trim_end_matches([' ', '\n', '\r', '\t']);
    let solid = from + text.len();
    if !text.is_empty() {
        let from = held.take().unwrap_or(from);
        strings.push(&input[from..solid], |piece| json.push_str(piece));
    }
    if solid < to {
        if strings.is_inside() {
            strings.push(&input[solid..to], |piece| json.push_str(piece));
        } else {
            held.get_or_insert(solid);
        }
    }
}

/// The decoder of a JSON string. Its content is passed on if it begins like an object.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Encoded {
    has_begun: bool,
    has_ended: bool,
    is_escape: bool,
    /// The number of digits of `\u` that are still to come.
    digits: u8,
    /// The value of the digits so far.
    code: u32,
    /// The first half of a surrogate pair.
    high: u32,
    strings: Strings,
}

impl Encoded {
    /// Decodes a character and appends the result. Returns false when the content is not the beginning of an object.
    fn push(&mut self, char: char, json: &mut Buffer) -> bool {
        if self.has_ended {
            return true;
        }
        if self.digits > 0 {
            self.digits -= 1;
            self.code = self.code << 4 | char.to_digit(16).unwrap_or_default();
            return self.digits > 0 || self.put_code(json);
        }
        if !core::mem::take(&mut self.is_escape) {
            match char {
                '"' => self.has_ended = true,
                '\\' => self.is_escape = true,
                _ => return self.put(char, json),
            }
            return true;
        }
        match char {
            'u' => (self.digits, self.code) = (4, 0),
            'n' => return self.put('\n', json),
            'r' => return self.put('\r', json),
            't' => return self.put('\t', json),
            'b' => return self.put('\u{8}', json),
            'f' => return self.put('\u{c}', json),
            _ => return self.put(char, json),
        }
        true
    }

    fn put_code(&mut self, json: &mut Buffer) -> bool {
        match self.code {
            0xd800..0xdc00 => {
                self.high = self.code;
                true
            }
            0xdc00..0xe000 if self.high > 0 => {
                let code =
                    0x10000 + ((core::mem::take(&mut self.high) - 0xd800) << 10 | (self.code - 0xdc00));
                self.put(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), json)
            }
            code => self.put(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), json),
        }
    }

    fn put(&mut self, char: char, json: &mut Buffer) -> bool {
        if !self.has_begun && char.is_whitespace() {
            return true;
        }
        if !self.has_begun && char != '{' {
            return false;
        }
        self.has_begun = true;
        self.strings.push(char.encode_utf8(&mut [0; 4]), |piece| json.push_str(piece));
        true
    }
}

/// The conversion of a value in Python's notation to JSON: quotes, and the names of constants. JSON stays unchanged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Python {
    quote: Option<char>,
    is_escape: bool,
    /// The constant that a word outside of strings may be: in Python, in JSON, and its length so far.
    constant: Option<(&'static str, &'static str, usize)>,
    in_word: bool,
}

const CONSTANTS: [(&str, &str); 3] = [("True", "true"), ("False", "false"), ("None", "null")];

impl Python {
    fn push(&mut self, char: char, json: &mut Buffer) {
        if core::mem::take(&mut self.is_escape) {
            match (self.quote, char) {
                (Some('\''), '\'') => json.push('\''),
                _ => {
                    json.push('\\');
                    json.push(char);
                }
            }
            return;
        }
        match (self.quote, char) {
            (Some(_), '\\') => self.is_escape = true,
            (Some(quote), _) if quote == char => {
                self.quote = None;
                json.push('"');
            }
            (Some(_), '"') => json.push_str("\\\""),
            (Some(_), _) if char < ' ' => {
                json.push_str(&call::escape(char.encode_utf8(&mut [0; 4])));
            }
            (Some(_), _) => json.push(char),
            (None, '"' | '\'') => {
                self.end_word();
                self.quote = Some(char);
                json.push('"');
            }
            (None, _) => self.word(char, json),
        }
    }

    fn word(&mut self, char: char, json: &mut Buffer) {
        if !char.is_alphanumeric() && char != '_' {
            self.end_word();
            json.push(char);
            return;
        }
        if !self.in_word {
            self.in_word = true;
            self.constant = CONSTANTS
                .into_iter()
                .find(|(python, _)| python.starts_with(char))
                .map(|(python, json)| (python, json, 0));
        }
        let Some((python, written, at)) = &mut self.constant else {
            json.push(char);
            return;
        };
        if python[*at..].starts_with(char) {
            json.push_str(&written[*at..=*at]);
            *at += 1;
        } else {
            // The word only begins like a constant. It is no valid JSON in either form.
            json.push(char);
            self.constant = None;
        }
    }

    fn end_word(&mut self) {
        self.in_word = false;
        self.constant = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(value: Value, input: &str, size: usize) -> String {
        let mut json = Buffer::default();
        let (mut value, mut from) = (value, 0);
        let ends = input.char_indices().map(|(at, _)| at).filter(|at| *at > 0).chain([input.len()]);
        for end in
            ends.enumerate().filter(|(n, end)| n % size == 0 || *end == input.len()).map(|(_, end)| end)
        {
            value.push(input, from, end, &mut json);
            from = end;
        }
        json.slice(0, json.len())
    }

    #[test]
    fn python_becomes_json() {
        let cases = [
            ("'a'", r#""a""#),
            (r#"'say "hi", it\'s'"#, r#""say \"hi\", it's""#),
            (r#""it's""#, r#""it's""#),
            ("[True, False, None, 1.5e3]", "[true, false, null, 1.5e3]"),
            ("{'True': [\"None\"], 'n\\n': 1}", "{\"True\": [\"None\"], \"n\\n\": 1}"),
            ("{\"a\": true, \"b\": null}", "{\"a\": true, \"b\": null}"),
            ("'a\nb'", "\"a\\nb\""),
        ];
        for (python, json) in cases {
            for size in 1..4 {
                assert_eq!(
                    converted(Value::Python(Python::default()), python, size),
                    json,
                    "{python} by {size}"
                );
            }
        }
    }

    #[test]
    fn arguments_are_shown_as_objects() {
        let cases = [
            ("  {\"a\": 1 , \"b\": \"x \"}  ", "{\"a\": 1 , \"b\": \"x \"}"),
            ("{\"a\": \"x\ny\"}\n", "{\"a\": \"x\\ny\"}"),
            (r#""{\"a\": \"b\\n\u00e9\ud83e\udd99\"}" "#, r#"{"a": "b\né🦙"}"#),
            (r#""  {\"a\": 1}""#, r#"{"a": 1}"#),
            (r#""Paris""#, ""),
            ("[1]", ""),
            ("null", ""),
            ("  ", ""),
        ];
        for (text, json) in cases {
            for size in 1..4 {
                assert_eq!(converted(Value::Start, text, size), json, "{text} by {size}");
            }
        }
    }
}
