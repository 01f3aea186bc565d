//! No template and no conversation ends the process or exceeds its limits: templates of random expressions, of random
//! statements, and the templates of the tests with exchanged pieces.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use llama_gen::chat::{ChatRequest, ChatTemplate, Message, TemplateLimits, Tool, ToolCall};

/// The templates of the tests, to be cut and joined.
const TEMPLATES: [&str; 6] = [
    include_str!("../../crates/llama-gen/tests/it/chat/templates/chatml.jinja"),
    include_str!("../../crates/llama-gen/tests/it/chat/templates/qwen3.jinja"),
    include_str!("../../crates/llama-gen/tests/it/chat/templates/gpt-oss.jinja"),
    include_str!("../../crates/llama-gen/tests/it/chat/templates/command-a.jinja"),
    include_str!("../../crates/llama-gen/tests/it/chat/templates/llama-3.1.jinja"),
    include_str!("../../crates/llama-gen/tests/it/chat/templates/mistral-v3.jinja"),
];

const FILTERS: [&str; 44] = [
    "abs", "append", "capitalize", "count", "d", "default", "dictsort", "e", "endswith", "first", "float", "format", "get",
    "indent", "int", "items", "join", "keys", "last", "length", "list", "lower", "map", "max", "min", "pop", "reject",
    "rejectattr", "replace", "reverse", "rsplit", "safe", "select", "selectattr", "slice", "sort", "split", "startswith",
    "string", "strip", "tojson", "unique", "upper", "values",
];

const TESTS: [&str; 16] = [
    "boolean", "callable", "defined", "divisibleby", "eq", "even", "ge", "in", "iterable", "lt", "mapping", "none", "odd",
    "sameas", "string", "lower",
];

const NAMES: [&str; 14] = [
    "a", "b", "ns", "ns.a", "ns.b", "loop", "loop.previtem", "messages", "messages[0]", "tools", "m", "range", "namespace",
    "caller",
];

const LITERALS: [&str; 20] = [
    "0", "1", "-1", "2", "7", "1.5", "9223372036854775807", "-9223372036854775807", "1000000", "100000000000", "''", "'a'",
    "'{}'", "'\\n'", "'divisibleby'", "'in'", "none", "true", "[]", "{}",
];

const OPERATORS: [&str; 16] =
    ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", ">=", "in", "not in", "and", "or", "if"];

/// Makes choices from bytes. When they are used up, it always chooses the first option.
struct Choices<'b>(std::slice::Iter<'b, u8>);

impl Choices<'_> {
    fn number(&mut self, below: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % below.max(1)
    }

    fn one_of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.number(texts.len())]
    }

    fn is_done(&self) -> bool {
        self.0.as_slice().is_empty()
    }

    fn expression(&mut self, depth: usize) -> String {
        if depth == 0 || self.is_done() {
            return if self.number(2) == 0 { self.one_of(&LITERALS) } else { self.one_of(&NAMES) }.to_owned();
        }
        let mut one = || self.expression(depth - 1);
        let (left, right) = (one(), one());
        match self.number(14) {
            0 => left,
            1 => format!("({left} {} {right})", self.one_of(&OPERATORS)),
            2 => format!("{left}|{}", self.one_of(&FILTERS)),
            3 => format!("{left}|{}({right})", self.one_of(&FILTERS)),
            4 => format!("{left}|{}({right}, {})", self.one_of(&FILTERS), self.expression(depth - 1)),
            5 => format!("({left} is {})", self.one_of(&TESTS)),
            6 => format!("({left} is {}({right}))", self.one_of(&TESTS)),
            7 => format!("[{left}, {right}]"),
            8 => format!("({left}, {right})"),
            9 => format!("{{{left}: {right}}}"),
            10 => format!("{left}[{right}]"),
            11 => format!("{left}[{right}:{}:{}]", self.expression(0), self.expression(0)),
            12 => format!("{left}.{}({right})", self.one_of(&FILTERS)),
            _ => format!("{}({left}, a={right})", self.one_of(&["range", "namespace", "dict", "m", "caller"])),
        }
    }

    fn statement(&mut self, depth: usize) -> String {
        let expression = self.expression(3);
        if depth == 0 || self.is_done() {
            return format!("{{{{ {expression} }}}}");
        }
        let body = self.statement(depth - 1) + &self.statement(depth - 1);
        match self.number(10) {
            0 => format!("{{{{ {expression} }}}}{body}"),
            1 => format!("{{% for {} in {expression} %}}{body}{{% endfor %}}", self.one_of(&["a", "b", "a, b", "loop"])),
            2 => format!("{{% for a in range({}) %}}{body}{{% endfor %}}", self.one_of(&["3", "100", "100000"])),
            3 => format!("{{% if {expression} %}}{body}{{% else %}}x{{% endif %}}"),
            4 => format!("{{% set {} = {expression} %}}{body}", self.one_of(&["a", "b", "ns.a", "ns.b", "ns"])),
            5 => format!("{{% set a %}}{body}{{% endset %}}{{{{ a }}}}"),
            6 => format!("{{% macro m(a, b={expression}) %}}{body}{{% endmacro %}}{{{{ m(1) }}}}"),
            7 => format!("{{% call m({expression}) %}}{body}{{% endcall %}}"),
            8 => format!("{{% filter {} %}}{body}{{% endfilter %}}", self.one_of(&FILTERS)),
            _ => format!("{{% set _ = a.append({expression}) %}}{body}{{% break %}}"),
        }
    }

    /// Returns two templates of the tests, cut at any characters and joined.
    fn spliced(&mut self) -> String {
        let (first, second) = (self.one_of(&TEMPLATES), self.one_of(&TEMPLATES));
        let mut cut = |text: &str| {
            let at = (self.number(256) * 256 + self.number(256)) % (text.len() + 1);
            (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
        };
        let (end, begin) = (cut(first), cut(second));
        format!("{}{}{}", &first[..end], self.expression(2), &second[begin..])
    }
}

fn conversation(text: &str) -> ChatRequest {
    let parameters = serde_json::json!({ "type": "object", "properties": { "x": { "type": "integer" } } });
    ChatRequest::new([
        Message::system(text),
        Message::user("Hello"),
        Message::assistant("").reasoning(text).tool_call(ToolCall::new("call00001", "f", "{\"x\": 1}")),
        Message::tool("call00001", text),
        Message::assistant("Hi"),
        Message::user(text),
    ])
    .tools([Tool::new("f", text, parameters)])
}

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices(bytes.iter());
    let prefix = "{% set a = [1] %}{% set b = 'b' %}{% set ns = namespace(a=1, b=[]) %}";
    let source = match choices.number(3) {
        0 => choices.spliced(),
        _ => prefix.to_owned() + &choices.statement(4) + &choices.statement(3),
    };
    let limits = TemplateLimits::default()
        .steps(200_000)
        .memory_bytes(64 << 20)
        .output_bytes(1 << 20)
        .time(Duration::from_secs(5));
    let started = Instant::now();
    if let Ok(template) = ChatTemplate::builder().limits(limits).from_jinja_without_model(&source, "<s>", "</s>") {
        let text = String::from_utf8_lossy(bytes);
        let _ = template.render(&ChatRequest::new([Message::user(text.as_ref())]));
        let _ = template.render(&conversation(&text));
        let _ = template.render(&conversation("Hello").continue_answer(true));
    }
    assert!(started.elapsed() < Duration::from_secs(60), "{:?} for {source}", started.elapsed());
});
