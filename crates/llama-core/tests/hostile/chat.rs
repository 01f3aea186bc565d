//! Chat templates of the common library, their prompts and answers, and JSON schemas.

use std::time::Duration;

use llama_core::Model;
use llama_core::chat::{ChatTemplates, ChatTurn, TemplateLimits};
use llama_core::sampler::json_schema_to_grammar;
use serde_json::json;

use crate::Case;
use crate::subjects::{Subjects, each_model};
use crate::values::{BOOLS, texts};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("json_schema_to_grammar", |walk, _| {
        for text in all() {
            walk.call(short(&text), || json_schema_to_grammar(&text));
        }
    }),
    ("ChatTemplates::new", |walk, subjects| {
        each_options(walk, subjects, |walk, model, options| {
            walk.call(short(options), || ChatTemplates::new(model, options));
        });
    }),
    ("ChatTemplates::new_within", |walk, _| {
        for limits in limits() {
            let options = json!({ "template": "{{ messages|tojson }}" }).to_string();
            walk.call(format!("{limits:?}"), || ChatTemplates::new_within(None, &options, &limits, || false));
        }
    }),
    ("ChatTemplates::apply_within", |walk, _| {
        each_template(walk, |walk, templates| {
            for limits in limits() {
                for request in requests() {
                    walk.call(format!("{limits:?}"), || templates.apply_within(&request, &limits, || false));
                }
            }
        });
    }),
    ("TemplateLimits::steps", |walk, _| {
        [0, 1, u64::MAX].iter().for_each(|steps| render(walk, &TemplateLimits::default().steps(*steps)));
    }),
    ("TemplateLimits::depth", |walk, _| {
        [0, 1, u32::MAX].iter().for_each(|depth| render(walk, &TemplateLimits::default().depth(*depth)));
    }),
    ("TemplateLimits::output_bytes", |walk, _| {
        [0, 1, u64::MAX]
            .iter()
            .for_each(|bytes| render(walk, &TemplateLimits::default().output_bytes(*bytes)));
    }),
    ("TemplateLimits::memory_bytes", |walk, _| {
        [0, 1, u64::MAX]
            .iter()
            .for_each(|bytes| render(walk, &TemplateLimits::default().memory_bytes(*bytes)));
    }),
    ("TemplateLimits::time", |walk, _| {
        [Duration::ZERO, Duration::MAX]
            .iter()
            .for_each(|time| render(walk, &TemplateLimits::default().time(*time)));
    }),
    ("TemplateLimits::hold", |walk, _| {
        _ = walk.call("", || Ok::<_, llama_core::Error>(TemplateLimits::hold()));
    }),
    ("ChatTemplates::describe", |walk, subjects| {
        each_options(walk, subjects, |walk, model, options| {
            if let Ok(templates) = ChatTemplates::new(model, options) {
                walk.call(short(options), || templates.describe());
            }
        });
    }),
    ("ChatTemplates::apply", |walk, _| {
        each_template(walk, |walk, templates| {
            for request in all().into_iter().chain(requests()) {
                walk.call(short(&request), || templates.apply(&request));
            }
        });
    }),
    ("ChatTurn::describe", |walk, _| {
        each_turn(walk, |walk, turn| _ = walk.call("", || turn.describe()));
    }),
    ("ChatTurn::grammar", |walk, _| {
        each_turn(walk, |walk, turn| _ = walk.call("", || turn.grammar()));
    }),
    ("ChatTurn::parse", |walk, _| {
        each_turn(walk, |walk, turn| {
            for answer in all().into_iter().chain(answers()) {
                for is_partial in BOOLS {
                    walk.call(short(&answer), || turn.parse(&answer, is_partial));
                }
            }
        });
    }),
];

/// Renders a conversation within limits.
fn render(walk: &mut Walk, limits: &TemplateLimits) {
    let options = json!({ "template": "{{ messages|tojson }}" }).to_string();
    let request = json!({ "messages": [{ "role": "user", "content": "x" }] }).to_string();
    walk.call(format!("{limits:?}"), || {
        let templates = ChatTemplates::new_within(None, &options, limits, || false)?;
        templates.apply_within(&request, limits, || false)
    });
}

/// Returns limits with the least and the most of each amount. The stack for the depth is reserved, not used.
fn limits() -> Vec<TemplateLimits> {
    let all = || TemplateLimits::default();
    vec![
        all().steps(0),
        all().steps(u64::MAX),
        all().depth(0),
        all().depth(10_000),
        all().output_bytes(0),
        all().output_bytes(u64::MAX),
        all().memory_bytes(0),
        all().memory_bytes(u64::MAX),
        all().time(Duration::ZERO),
        all().time(Duration::MAX),
    ]
}

/// Returns JSON of every wrong kind, and invalid JSON.
fn all() -> Vec<String> {
    let mut all = texts();
    let json = [
        "null",
        "true",
        "-1",
        "1e999",
        "\"\\ud800\"",
        "[]",
        "{}",
        "{\"a\":1,\"a\":2}",
        "{",
        "[1,",
        "\"\\u0000\"",
    ];
    all.extend(json.map(str::to_owned));
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [100, 127, 128, 129, 1000, 100_000] {
            all.push(open.repeat(depth) + "null" + &close.repeat(depth));
            all.push(open.repeat(depth));
        }
    }
    all
}

const TEMPLATES: [&str; 5] = [
    "{{ messages }}{{ tools }}",
    "{{ messages | tojson }}{{ tools | tojson(indent=2) }}",
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% for c in m.tool_calls %}<tool_call>{{ c.function | tojson }}\
     </tool_call>{% endfor %}{% endfor %}{{ tools | tojson }}{% if add_generation_prompt %}<|assistant|><think>{% endif %}",
    "{{ messages[0].content[5:1:-1] }}{{ messages[-1].role | upper }}",
    "{{ raise_exception('no') }}",
];

/// Returns requests with unexpected values in each of their fields.
fn requests() -> Vec<String> {
    let values = || {
        let texts = texts().into_iter().map(|text| json!(text));
        texts.chain([
            json!(null),
            json!(7),
            json!(-1.5),
            json!([]),
            json!({}),
            json!([[]]),
            json!([null]),
            json!(true),
        ])
    };
    let message = json!([{ "role": "user", "content": "x" }]);
    let mut requests = Vec::new();
    for field in [
        "messages",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "add_generation_prompt",
        "grammar",
        "json_schema",
        "continue_final_message",
        "enable_thinking",
        "extract_reasoning",
        "template_kwargs",
    ] {
        requests.extend(values().map(|value| json!({ "messages": message, field: value }).to_string()));
    }
    for field in ["role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content", "other"] {
        for value in values() {
            let mut message = json!({ "role": "assistant", "content": "x" });
            message[field] = value;
            for go_on in BOOLS {
                requests.push(json!({ "messages": [message], "continue_final_message": go_on }).to_string());
            }
        }
    }
    for field in ["name", "description", "parameters", "defer_loading"] {
        for value in values() {
            let mut function = json!({ "name": "f", "parameters": { "type": "object" } });
            function[field] = value;
            let tools = json!([{ "type": "function", "function": function }]);
            for choice in ["auto", "none", "required"] {
                requests
                    .push(json!({ "messages": message, "tools": tools, "tool_choice": choice }).to_string());
            }
        }
    }
    requests
}

fn answers() -> Vec<String> {
    let call = "<tool_call>{\"name\": \"f\", \"arguments\": ";
    let mut answers = vec![
        "</think>".to_owned(),
        "<think>".repeat(100),
        "x</think>y</think>".to_owned(),
        call.to_owned(),
        format!("{call}{{}}}}</tool_call>"),
        format!("{call}{{\"a\": \"\\u"),
        "<tool_call>".repeat(100),
    ];
    answers.extend([60, 64, 70, 100_000].map(|depth| call.to_owned() + &"[".repeat(depth)));
    answers.extend(
        [60, 64, 70].map(|depth| format!("{call}{}{}}}</tool_call>", "[".repeat(depth), "]".repeat(depth))),
    );
    answers
}

fn each_options(walk: &mut Walk, subjects: &mut Subjects, run: impl Fn(&mut Walk, Option<&Model>, &str)) {
    let templates = texts().into_iter().chain(TEMPLATES.map(str::to_owned));
    let options: Vec<String> = templates.map(|text| json!({ "template": text }).to_string()).collect();
    let others = r#"{"template": null} {"template": 7} {"bos_token": 7} {"template": "x", "eos_token": []}"#;
    for options in
        options.iter().cloned().chain(all()).chain(others.split("} ").map(|part| format!("{part}}}")))
    {
        run(walk, None, &options);
    }
    each_model(walk, subjects, |walk, model| {
        for options in options.iter().map(String::as_str).chain(["{}", "[]", "{\"template\": \"\"}"]) {
            run(walk, Some(model), options);
        }
    });
}

fn each_template(walk: &mut Walk, run: impl Fn(&mut Walk, &ChatTemplates)) {
    for source in TEMPLATES {
        walk.on(short(source), false);
        let options = json!({ "template": source, "bos_token": "<s>", "eos_token": "\0" }).to_string();
        if let Some(templates) = walk.call("making it", || ChatTemplates::new(None, options)) {
            run(walk, &templates);
        }
    }
}

fn each_turn(walk: &mut Walk, run: impl Fn(&mut Walk, &ChatTurn)) {
    each_template(walk, |walk, templates| {
        let messages = json!([{ "role": "user", "content": "x" }]);
        let tools =
            json!([{ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } }]);
        for request in [
            json!({ "messages": messages }),
            json!({ "messages": messages, "tools": tools }),
            json!({ "messages": messages, "tools": tools, "tool_choice": "required" }),
            json!({ "messages": messages, "json_schema": { "type": "array" }, "extract_reasoning": false }),
        ] {
            if let Some(turn) = walk.call("rendering", || templates.apply(request.to_string())) {
                run(walk, &turn);
            }
        }
    });
}

/// Returns the beginning of a text, for a step.
fn short(text: &str) -> String {
    format!("{text:.60}").escape_debug().to_string()
}
