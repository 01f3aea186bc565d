//! The calls of tools in an answer: how their arguments become JSON, and which of them are whole.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A place in a buffer: from, to.
pub(super) type Span = (usize, usize);

/// A call while it is read. What it consists of is in the buffers of the reader.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Call {
    pub(super) name: Option<Span>,
    pub(super) id: Span,
    /// Where the arguments begin.
    pub(super) arguments: usize,
    /// Whether they are put together from single ones.
    pub(super) is_built: bool,
    /// Whether nothing more of them can come.
    pub(super) is_whole: bool,
    /// Where in the input arguments are that are no object.
    pub(super) odd: Option<Span>,
}

/// How deep a JSON text may be in JSON strings.
const MAX_ENCODINGS: usize = 8;

/// The object that arguments stand for which were not written as one: nothing for `null` and for an empty text, and the
/// object inside a JSON string.
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

/// Whether a text is a JSON object.
pub(super) fn is_object(text: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str::<Map<String, Value>>(text).map(drop)
}

/// The name and the arguments of a call that is a JSON object.
pub(super) struct LooseCall {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) arguments: String,
}

/// Reads a JSON object as a call, by whatever names models have for the members. `None` when it names no tool, or, without
/// a mark that says that it is a call, has no arguments.
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

/// The members of an object, each as it is written.
type Members = BTreeMap<String, Box<RawValue>>;

/// Arguments as an object where they stand for one, and as they are otherwise.
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

/// JSON in which control characters within strings are escaped: models write new lines as they are.
fn escape_controls(json: &str) -> String {
    let mut strings = Strings::default();
    let mut escaped = String::with_capacity(json.len());
    strings.push(json, |text| escaped.push_str(text));
    escaped
}

/// Where JSON is in a string.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strings {
    is_inside: bool,
    is_escaped: bool,
}

impl Strings {
    /// Goes on by a piece of JSON, and gives it to `put` with control characters in strings escaped.
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

/// What is between the quotes of a text as a JSON string.
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
