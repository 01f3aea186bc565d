//! The tool calls of an answer, and the conversion of their arguments to JSON objects.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A range of a buffer: begin and end.
pub(super) type Span = (usize, usize);

/// A call while it is read. Its texts are in the buffers of the reader.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Call {
    pub(super) name: Option<Span>,
    pub(super) id: Span,
    /// The offset of the arguments.
    pub(super) arguments: usize,
    /// Whether the object is built from single arguments.
    pub(super) is_built: bool,
    /// Whether the arguments are complete.
    pub(super) is_whole: bool,
    /// The range of the input with arguments that are not an object.
    pub(super) odd: Option<Span>,
}

/// The most levels of JSON strings around arguments.
const MAX_ENCODINGS: usize = 8;

/// Converts arguments that were not written as an object: `null` and empty text become an empty object, a JSON string
/// becomes the object inside it.
pub(super) fn object_within(text: &str) -> Option<String> {
    let mut text = text.trim().to_owned();
    for _ in 0..MAX_ENCODINGS {
        if text.is_empty() || text == "null" {
            return Some("{}".to_owned());
        }
        if text.starts_with('{') {
            let object = escape_controls(&text);
            return is_object(&object).is_ok().then_some(object);
        }
        let inside: String = serde_json::from_str(&escape_controls(&text)).ok()?;
        inside.trim().clone_into(&mut text);
    }
    None
}

/// Checks that a text is a JSON object.
pub(super) fn is_object(text: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str::<Map<String, Value>>(text).map(drop)
}

/// A call that was written as a JSON object.
pub(super) struct LooseCall {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) arguments: String,
}

/// Reads a JSON object as a call, with any of the member names that models use. Returns `None` when it names no tool, and,
/// without a mark that introduces a call, when it has no arguments.
pub(super) fn loose_call(text: &str, is_marked: bool) -> Option<LooseCall> {
    let mut object: Members = serde_json::from_str(&escape_controls(text)).ok()?;
    let id = take_text(&mut object, &["id", "call_id", "tool_call_id"]).unwrap_or_default();
    let wrapped = ["function", "tool_call", "tool"]
        .into_iter()
        .find_map(|it| object.get(it)?.get().starts_with('{').then_some(it));
    if let Some(wrapper) = wrapped {
        object = serde_json::from_str(object.remove(wrapper)?.get()).ok()?;
    }
    if let Some(name) = take_text(&mut object, &["name", "tool_name", "function", "tool"]) {
        let arguments =
            ["arguments", "parameters", "args", "input"].into_iter().find_map(|it| object.remove(it));
        let arguments = arguments.as_ref().map(|it| it.get());
        if !is_marked && !arguments.is_some_and(|it| it.starts_with(['{', '"'])) {
            return None;
        }
        return Some(LooseCall { name, id, arguments: written(arguments.unwrap_or_default()) });
    }
    // {"name of the tool": {arguments}}
    match object.pop_first() {
        Some((name, arguments)) if is_marked && object.is_empty() && arguments.get().starts_with('{') => {
            Some(LooseCall { name, id, arguments: arguments.get().to_owned() })
        }
        _ => None,
    }
}

/// The members of an object, with their values as written.
type Members = BTreeMap<String, Box<RawValue>>;

/// Converts arguments to an object if possible, and returns them unchanged otherwise.
fn written(arguments: &str) -> String {
    object_within(arguments).unwrap_or_else(|| arguments.to_owned())
}

fn take_text(object: &mut Members, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| {
        let text: String = serde_json::from_str(object.get(*name)?.get()).ok()?;
        object.remove(*name);
        (!text.is_empty()).then_some(text)
    })
}

/// Escapes control characters within the strings of JSON: models write new lines unescaped.
fn escape_controls(json: &str) -> String {
    let mut strings = Strings::default();
    let mut escaped = String::with_capacity(json.len());
    strings.push(json, |text| escaped.push_str(text));
    escaped
}

/// The state of a scan of JSON: inside a string or not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strings {
    is_inside: bool,
    is_escaped: bool,
}

impl Strings {
    /// Scans a piece of JSON, and passes it to `put` with the control characters in strings escaped.
    pub(super) fn push(&mut self, json: &str, mut put: impl FnMut(&str)) {
        let mut from = 0;
        for (at, byte) in json.bytes().enumerate() {
            if self.is_inside && byte < b' ' {
                put(&json[from..at]);
                put(&escaped_control(byte));
                from = at + 1;
            }
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = self.is_inside,
                b'"' => self.is_inside = !self.is_inside,
                _ => {}
            }
        }
        put(&json[from..]);
    }

    pub(super) const fn is_inside(self) -> bool {
        self.is_inside
    }
}

fn escaped_control(byte: u8) -> String {
    match byte {
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\t' => "\\t".to_owned(),
        _ => format!("\\u{byte:04x}"),
    }
}

/// Escapes a text for a JSON string, without the quotes.
pub(super) fn escape(text: &str) -> String {
    let quoted = Value::String(text.to_owned()).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_stand_for_an_object() {
        let cases = [
            ("null", Some("{}")),
            (" ", Some("{}")),
            ("\"\"", Some("{}")),
            ("\"null\"", Some("{}")),
            (r#""{\"x\": 1}""#, Some(r#"{"x": 1}"#)),
            (r#""\"{\\\"x\\\": 1}\"""#, Some(r#"{"x": 1}"#)),
            ("\"{\\\"x\\\": \\\"a\nb\\\"}\"", Some(r#"{"x": "a\nb"}"#)),
            ("[1]", None),
            ("7", None),
            (r#""Paris""#, None),
            (r#""{\"x\": ""#, None),
        ];
        for (text, expected) in cases {
            assert_eq!(object_within(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn calls_have_many_forms() {
        let forms = [
            r#"{"name": "f", "arguments": {"x": 1}}"#,
            r#"{"arguments": {"x": 1}, "name": "f"}"#,
            r#"{"name": "f", "parameters": {"x": 1}, "why": "because"}"#,
            r#"{"name": "f", "arguments": "{\"x\":1}"}"#,
            r#"{"type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}"#,
            r#"{"type": "function", "function": "f", "args": {"x": 1}}"#,
            r#"{"f": {"x": 1}}"#,
        ];
        for form in forms {
            let call = loose_call(form, true).unwrap_or_else(|| panic!("{form}"));
            let arguments = call.arguments.replace(' ', "");
            assert_eq!((call.name.as_str(), arguments.as_str()), ("f", r#"{"x":1}"#), "{form}");
        }
        let without = loose_call(r#"{"id": "7", "name": "f"}"#, true).map(|it| (it.id, it.arguments));
        assert_eq!(without, Some(("7".to_owned(), "{}".to_owned())));
        assert!(loose_call(forms[0], false).is_some());
        for none in ["{}", "[1]", r#"{"x": 1}"#, r#"{"name": ""}"#, r#"{"a": {}, "b": {}}"#] {
            assert!(loose_call(none, true).is_none(), "{none}");
        }
        for data in [r#"{"name": "Ada", "born": 1815}"#, r#"{"a": {"x": 1}}"#, r#"{"name": "f", "input": 7}"#]
        {
            assert!(loose_call(data, false).is_none(), "{data}");
        }
    }

    #[test]
    fn control_characters_are_escaped_in_strings_only() {
        assert_eq!(escape_controls("{\n\"a\nb\\\"\tc\": 1}\n"), "{\n\"a\\nb\\\"\\tc\": 1}\n");
    }
}
