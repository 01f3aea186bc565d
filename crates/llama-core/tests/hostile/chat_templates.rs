//! Chat templates that are none, conversations and answers of other forms, and schemas that make no grammar.

use llama_core::{ChatTemplates, ChatTurn, json_schema_to_grammar};
use serde_json::json;

use crate::Case;
use crate::subjects::{Subjects, each_model};
use crate::values::{BOOLS, texts};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("ChatTemplates::new", new),
    ("ChatTemplates::describe", |walk, _| {
        each(walk, |walk, templates| _ = walk.call("", || templates.describe()));
    }),
    ("ChatTemplates::apply", |walk, _| {
        let requests = requests();
        each(walk, |walk, templates| {
            for (number, request) in requests.iter().enumerate() {
                if let Some(turn) = walk.call(number, || templates.apply(request)) {
                    walk.call(format!("{number}, described"), || turn.describe());
                }
            }
        });
    }),
    ("ChatTurn::describe", |walk, _| turns(walk, |walk, turn| _ = walk.call("", || turn.describe()))),
    ("ChatTurn::parse", |walk, _| {
        let answers = answers();
        turns(walk, |walk, turn| {
            for (answer, partial) in answers.iter().flat_map(|answer| BOOLS.map(|partial| (answer, partial)))
            {
                let what = format!("{:.20} {} {partial}", answer.escape_debug().to_string(), answer.len());
                walk.call(what, || turn.parse(answer, partial));
            }
        });
    }),
    ("json_schema_to_grammar", |walk, _| {
        for schema in schemas() {
            let what = format!("{:.40} {}", schema.escape_debug().to_string(), schema.len());
            walk.call(what, || json_schema_to_grammar(&schema));
        }
    }),
];

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}\
                      {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// Texts of templates, most of which are none.
fn sources() -> Vec<String> {
    let mut sources: Vec<String> = [
        CHATML,
        "{{ messages }}",
        "{{ messages[99999999999] }}",
        "{{ messages[-1].content[0:-5:-1] }}",
        "{{ 1 / 0 }}{{ 1 % 0 }}{{ 9223372036854775807 + 1 }}{{ -9223372036854775808 // -1 }}",
        "{{ 'a' * 99 }}{{ 'a' | join(5) }}{{ none.x.y }}{{ undefined() }}",
        "{% for x in",
        "{% endif %}",
        "{{ raise_exception('on purpose') }}",
        "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
        "{% set a = [] %}{{ a[0] }}{{ {}['x'] }}{{ range(-5) }}{{ range(5, 0, -1) }}",
        "{%- if tools -%}{{ tools | tojson(indent=-1) }}{%- endif -%}{{ strftime_now('%%%q%') }}",
    ]
    .map(str::to_owned)
    .to_vec();
    for (open, close) in [("(", ")"), ("[", "]"), ("-", ""), ("not ", "")] {
        sources.push(format!("{{{{ {}1{} }}}}", open.repeat(5000), close.repeat(5000)));
    }
    sources.push(format!("{}{}", "{% if 1 %}".repeat(5000), "{% endif %}".repeat(5000)));
    sources.extend(texts());
    sources
}

fn new(walk: &mut Walk, subjects: &mut Subjects) {
    let sources = sources();
    for source in &sources {
        let what = format!("{:.40} {}", source.escape_debug().to_string(), source.len());
        walk.call(&what, || ChatTemplates::new(None, json!({ "template": source }).to_string()));
        walk.call(format!("{what} as options"), || ChatTemplates::new(None, source));
        let tokens = json!({ "template": CHATML, "bos_token": source, "eos_token": source });
        walk.call(format!("{what} as tokens"), || ChatTemplates::new(None, tokens.to_string()));
    }
    for options in ["[]", "null", r#"{"template": 5}"#, r#"{"template": null, "bos_token": []}"#] {
        walk.call(options, || ChatTemplates::new(None, options));
    }
    each_model(walk, subjects, |walk, model| {
        walk.call("its own", || ChatTemplates::new(Some(model), "{}"));
        walk.call("another", || ChatTemplates::new(Some(model), json!({ "template": CHATML }).to_string()));
    });
}

/// The templates that are some.
fn each(walk: &mut Walk, mut with: impl FnMut(&mut Walk, &ChatTemplates)) {
    for source in sources() {
        if let Ok(templates) = ChatTemplates::new(None, json!({ "template": source }).to_string()) {
            walk.on(format!("{:.40}", source.escape_debug().to_string()), false);
            with(walk, &templates);
        }
    }
}

/// Conversations, most of which are none.
fn requests() -> Vec<String> {
    let user = |content: serde_json::Value| json!({ "messages": [{ "role": "user", "content": content }] });
    let mut requests: Vec<String> = texts();
    requests.extend(texts().into_iter().map(|text| user(json!(text)).to_string()));
    requests.extend(
        [
            json!({}),
            json!({ "messages": [] }),
            json!({ "messages": "x" }),
            json!({ "messages": [5, null, []] }),
            json!({ "messages": [{}] }),
            user(json!(null)),
            user(json!([{ "type": "text" }, { "type": "image", "image": 5 }])),
            json!({ "messages": [{ "role": "assistant", "tool_calls": [{}, 5, { "function": {} }] }] }),
            json!({ "messages": [{ "role": "tool", "content": "x" }], "tools": [{}], "tool_choice": "?" }),
            json!({ "messages": [{ "role": "user", "content": "x" }], "json_schema": { "type": "?" } }),
            json!({ "messages": [{ "role": "user", "content": "x" }], "grammar": "root ::= (" }),
            json!({ "messages": [{ "role": "user", "content": "x" }], "tools": [{ "type": "function",
                "function": { "name": "\0", "parameters": { "$ref": "#/nowhere" } } }] }),
        ]
        .map(|request| request.to_string()),
    );
    requests.push(format!("{{\"messages\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000)));
    requests
}

fn turns(walk: &mut Walk, mut with: impl FnMut(&mut Walk, &ChatTurn)) {
    let tool = json!({ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } });
    let hello = json!([{ "role": "user", "content": "Hello" }]);
    each(walk, |walk, templates| {
        for request in [json!({ "messages": hello }), json!({ "messages": hello, "tools": [tool] })] {
            if let Ok(turn) = templates.apply(request.to_string()) {
                with(walk, &turn);
            }
        }
    });
}

/// Answers with beginnings of what a format has, and none of its ends.
fn answers() -> Vec<String> {
    let mut answers: Vec<String> = [
        "<think>",
        "</think>",
        "<tool_call>",
        "<tool_call>{\"name\": \"f\", \"arguments\": {",
        "<tool_call>{\"name\": 5}</tool_call>",
        "{\"tool_calls\": [{}]}",
        "{\"tool_call\": {\"name\": \"f\", \"arguments\": \"\\ud800\"}}",
    ]
    .map(str::to_owned)
    .to_vec();
    answers.push(format!("<tool_call>{}", "[".repeat(100_000)));
    answers.push(format!("{{\"tool_call\": {}", "{\"a\":".repeat(10_000)));
    answers.extend(texts());
    answers
}

fn schemas() -> Vec<String> {
    let mut schemas = texts();
    schemas.extend(
        [
            json!(null),
            json!([]),
            json!({}),
            json!({ "type": 5 }),
            json!({ "type": "?" }),
            json!({ "$ref": "#" }),
            json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/a" } } }),
            json!({ "$ref": "https://example.invalid/x" }),
            json!({ "type": "string", "pattern": "^(" }),
            json!({ "type": "string", "pattern": "^a{999999999}$" }),
            json!({ "type": "string", "minLength": -1, "maxLength": 1_u64 << 40 }),
            json!({ "type": "integer", "minimum": 5, "maximum": -5 }),
            json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX }),
            json!({ "type": "array", "minItems": 5, "maxItems": 1 }),
            json!({ "enum": [] }),
            json!({ "oneOf": [] }),
            json!({ "allOf": [{ "type": "string" }, 5] }),
            json!({ "const": "\0\u{ffff}" }),
            json!({ "type": "object", "properties": 5, "required": "x" }),
            json!({ "type": "object", "properties": { "": {}, "\0": {}, "a b": { "format": "?" } } }),
        ]
        .map(|schema| schema.to_string()),
    );
    let deep = |n: usize| format!("{}{{}}{}", "{\"type\":\"array\",\"items\":".repeat(n), "}".repeat(n));
    schemas.extend([deep(50), deep(5000), "[".repeat(100_000), "{\"anyOf\":[".repeat(2000)]);
    schemas
}
