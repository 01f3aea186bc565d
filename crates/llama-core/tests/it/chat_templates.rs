//! Chat templates through the shim: inputs, outputs, and hostile templates that must not end the process.

use crate::logged::log_of;
use llama_core::chat::{ChatTemplates, ChatTurn, TemplateLimit, TemplateLimits};
use llama_core::{ErrorKind, Model, ModelParams};
use serde_json::{Value, json};
use test_models::child::alone;
use test_models::smollm2;

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}\
                      {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

fn templates(source: &str) -> llama_core::Result<ChatTemplates> {
    ChatTemplates::new(None, json!({ "template": source }).to_string())
}

fn hello() -> Value {
    json!({ "messages": [{ "role": "user", "content": "Hello" }] })
}

fn described(turn: &ChatTurn) -> Value {
    serde_json::from_str(&turn.describe().unwrap()).unwrap()
}

fn prompt(turn: &ChatTurn) -> String {
    let parts = described(turn)["prompt"].as_array().unwrap().clone();
    parts.iter().map(|part| part["text"].as_str().unwrap()).collect()
}

/// Returns the reason of an error of this module's kind.
fn reason<T>(result: llama_core::Result<T>) -> String {
    match result.map(drop).unwrap_err().kind() {
        ErrorKind::Chat { reason, .. } => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_models_own_template_is_taken() {
    let model = Model::load(smollm2(), &ModelParams::default().vocab_only(true)).unwrap();
    let templates = ChatTemplates::new(Some(&model), "{}").unwrap();
    let description: Value = serde_json::from_str(&templates.describe().unwrap()).unwrap();
    assert_eq!(description["source"].as_str().unwrap(), model.chat_template(None).unwrap().unwrap());
    assert_eq!(description["is_explicit"], true);
    assert_eq!(description["tool_use"], Value::Null);
    assert_eq!(description["caps"]["supports_system_role"], true);
    assert_eq!(description["caps"]["supports_tools"], false);
    let turn = templates.apply(hello().to_string()).unwrap();
    assert_eq!(
        prompt(&turn),
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n\
         <|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    );
}

#[test]
fn a_given_template_renders_and_reads() {
    let turn = templates(CHATML).unwrap().apply(hello().to_string()).unwrap();
    assert_eq!(prompt(&turn), "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
    let description = described(&turn);
    assert_eq!(description["generation_prompt"], "<|im_start|>assistant\n");
    assert_eq!(description["grammar"], "");
    let message: Value = serde_json::from_str(&turn.parse("Hi!", false).unwrap()).unwrap();
    assert_eq!(message, json!({ "content": "Hi!", "reasoning_content": "", "tool_calls": [] }));
}

#[test]
fn a_turn_outlives_its_template_and_goes_to_other_threads() {
    let turn = templates(CHATML).unwrap().apply(hello().to_string()).unwrap();
    let answers: Vec<String> = std::thread::scope(|scope| {
        let read = |text: String| move |turn: &ChatTurn| turn.parse(&text, false).unwrap();
        let turn = &turn;
        let threads: Vec<_> =
            (0..4).map(|index| scope.spawn(move || read(format!("answer {index}"))(turn))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (index, answer) in answers.iter().enumerate() {
        assert!(answer.contains(&format!("answer {index}")), "{answer}");
    }
}

#[test]
fn text_that_is_no_template_is_refused_with_the_place() {
    let reason_of = |source| reason(templates(source));
    assert!(reason_of("{% for x in %}").contains("Unexpected token: %}"));
    assert!(reason_of("{{ 'never closed").contains("...{{ 'never closed..."));
    assert!(reason(ChatTemplates::new(None, "{}")).contains("neither a model nor the text"));
}

#[test]
fn what_a_template_refuses_is_an_error_in_its_words() {
    let source = "{% if messages|length > 1 %}{{ raise_exception('one at a time') }}{% endif %}{{ messages[0].content }}";
    let two = json!({ "messages": [hello()["messages"][0], hello()["messages"][0]] });
    let reason = reason(templates(source).unwrap().apply(two.to_string()));
    assert!(reason.contains("one at a time"), "{reason}");
}

#[test]
fn requests_of_another_form_are_refused() {
    let templates = templates(CHATML).unwrap();
    let refused = |request: &str, part: &str| {
        let reason = reason(templates.apply(request));
        assert!(reason.contains(part), "{request}: {reason}");
    };
    refused("", "parse error");
    refused("[]", "not an object");
    refused("7", "not an object");
    refused("{}", "no messages");
    refused(r#"{"messages": []}"#, "no messages");
    refused(r#"{"messages": {}}"#, "array");
    refused(r#"{"messages": [7]}"#, "object");
    refused(r#"{"messages": [{"content": "x"}]}"#, "role");
    refused(r#"{"messages": [{"role": 7, "content": "x"}]}"#, "string");
    refused(r#"{"messages": [{"role": "user"}]}"#, "content");
    refused(r#"{"messages": [{"role": "user", "content": 7}]}"#, "content");
    refused(r#"{"messages": [{"role": "user", "content": [{"type": "text"}]}]}"#, "text");
    refused(r#"{"messages": [{"role": "user", "content": [7]}]}"#, "part");
    refused(r#"{"messages": [{"role": "user", "content": "x", "tool_calls": 7}]}"#, "");
    refused(r#"{"messages": [{"role": "user", "content": "x"}], "tools": 7}"#, "array");
    refused(r#"{"messages": [{"role": "user", "content": "x"}], "tools": [7]}"#, "");
    refused(
        r#"{"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function", "function": 7}]}"#,
        "",
    );
    refused(r#"{"messages": [{"role": "user", "content": "x"}], "tool_choice": "some"}"#, "tool_choice");
    refused(r#"{"messages": [{"role": "user", "content": "x"}], "enable_thinking": 7}"#, "enable_thinking");
    refused(r#"{"messages": [{"role": "user", "content": "x"}], "template_kwargs": 7}"#, "template_kwargs");
    refused(r#"{"messages": [{"role": "user", "content": "x"}], "json_schema": 7}"#, "json_schema");
}

#[test]
fn deep_nesting_is_refused_wherever_it_is() {
    let templates = templates(CHATML).unwrap();
    let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
    let places = [
        deep.clone(),
        format!(r#"{{"messages": {deep}}}"#),
        format!(r#"{{"messages": [{{"role": "user", "content": "x", "extra": {deep}}}]}}"#),
        format!(r#"{{"messages": [{{"role": "user", "content": "x"}}], "json_schema": {deep}}}"#),
        format!(
            r#"{{"messages": [{{"role": "user", "content": "x"}}], "template_kwargs": {{"a": {deep}}}}}"#
        ),
        "[".repeat(1_000_000),
        format!(
            r#"{{"messages": [{{"role": "assistant", "content": "", "tool_calls": [{{"type": "function", "function": {{"name": "f", "arguments": {deep}}}}}]}}]}}"#
        ),
    ];
    for request in places {
        let reason = reason(templates.apply(&request));
        assert!(reason.contains("1000") && reason.contains("128"), "{reason}");
    }
    // Inside a text it is none; the template may not make JSON of it, and this one does not.
    let quoted = json!({ "messages": [{ "role": "user", "content": deep }] });
    assert!(prompt(&templates.apply(quoted.to_string()).unwrap()).contains(&deep));
}

#[test]
fn arguments_nested_in_a_text_are_refused() {
    // The template asks for arguments as objects, so their text is parsed.
    let source = "{% for m in messages %}{{ m.role }}{{ m.content }}{% for c in m.tool_calls %}{{ c.function.name }}\
                  {% for k, v in c.function.arguments.items() %}{{ k }}={{ v }}{% endfor %}{% endfor %}{% endfor %}";
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let call =
        json!({ "type": "function", "function": { "name": "f", "arguments": format!("{{\"a\": {deep}}}") } });
    let request = json!({ "messages": [
        { "role": "user", "content": "x" },
        { "role": "assistant", "content": "", "tool_calls": [call] },
    ] });
    let reason = reason(templates(source).unwrap().apply(request.to_string()));
    assert!(reason.contains("128"), "{reason}");
}

#[test]
fn hostile_templates_are_errors() {
    let many = 20_000;
    let hostile = [
        "{{ ".to_owned() + &"(".repeat(many) + "1" + &")".repeat(many) + " }}",
        "{% if x %}".repeat(many) + &"{% endif %}".repeat(many),
        "{% for x in y %}".repeat(many),
        "{{ ".to_owned() + &"not ".repeat(many) + "x }}",
        "{{ ".to_owned() + &"[".repeat(many) + &"]".repeat(many) + " }}",
        "{{ messages".to_owned() + &"[0]".repeat(many) + " }}",
        "{{ 1 // 0 }}{{ 1 % 0 }}".to_owned(),
        "{{ messages[0].content[5:1:-1] }}".to_owned(),
        "{{ strftime_now('%') }}{{ strftime_now('') }}".to_owned(),
        "\u{0}{{ '\u{0}' }}{{ undefined.a.b }}".to_owned(),
    ];
    hostile.iter().for_each(|source| try_out(source));
}

/// Asserts an error in one of the two steps, or a result.
fn try_out(source: &str) {
    if let Ok(templates) = templates(source) {
        let _ = templates.apply(hello().to_string());
    }
}

#[test]
fn what_the_common_library_logs_is_logged_as_llama_cpps() {
    alone(module_path!(), "what_the_common_library_logs_is_logged_as_llama_cpps", || {
        let source = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}\
                  {{ m.content }}{% endfor %}";
        let templates = templates(source).unwrap();
        let request = json!({ "messages": [{ "role": "system", "content": "a" }] }).to_string();
        let (applied, log) = log_of(|| templates.apply(&request));
        let text = "Removing system prompt due to template not supporting system role";
        assert!(log.contains("WARN") && log.contains(text), "{log}");
        assert_eq!(prompt(&applied.unwrap()), "");
    });
}

#[test]
fn values_that_hold_themselves_are_errors() {
    try_out("{% set ns = namespace() %}{% set ns.a = ns %}{{ ns | tojson }}");
    try_out("{% set l = [] %}{% set _ = l.append(l) %}{{ l }}");
}

#[test]
fn texts_that_are_no_characters_any_more_are_replaced() {
    // Templates cut at bytes.
    let turn = templates("{{ messages[0].content[:1] }}|{{ messages[0].content }}").unwrap();
    let request = json!({ "messages": [{ "role": "user", "content": "é\u{0}" }] });
    let prompt = prompt(&turn.apply(request.to_string()).unwrap());
    assert!(prompt.ends_with("|é\u{0}"), "{prompt:?}");
}

#[test]
fn chains_of_operators_are_limited() {
    let many = 10_000;
    for source in [
        "{{ 1".to_owned() + &" + 1".repeat(many) + " }}",
        "{{ 'x'".to_owned() + &" ~ 'x'".repeat(many) + " }}",
        "{{ 'x'".to_owned() + &"|trim".repeat(many) + " }}",
        "{{ x".to_owned() + &".a".repeat(many) + " }}",
        "{{ x".to_owned() + &" and x".repeat(many) + " }}",
        "{% if x %}".to_owned() + &"{% elif x %}".repeat(many) + "{% endif %}",
        "{{ 1".to_owned() + &" if x else 1".repeat(many) + " }}",
        "{{ f".to_owned() + &"()".repeat(many) + " }}",
        "{{ x".to_owned() + &"[0]".repeat(many) + " }}",
        "{{ x".to_owned() + &" == x".repeat(many) + " }}",
        "{{ x".to_owned() + &" in x".repeat(many) + " }}",
        "{{ 'x'".to_owned() + &"|replace('a', 'b')".repeat(many) + " }}",
        "{{ (1".to_owned() + &" + (1, 1)[0]".repeat(many) + ") }}",
    ] {
        let reason = reason(templates(&source));
        assert!(
            reason.contains("more than 256 operators") || reason.contains("nested more than 128"),
            "{reason}"
        );
    }
    let long = "{{ 'x'".to_owned() + &" ~ 'x'".repeat(200) + " }}";
    assert_eq!(prompt(&templates(&long).unwrap().apply(hello().to_string()).unwrap()), "x".repeat(201));
    // Literals are as long as they like: templates have tables of languages in them.
    let table = format!(
        "{{% set t = {{ {} }} %}}{{{{ t['k7'] }}}}",
        (0..1000).map(|k| format!("'k{k}': {k} + 1, ")).collect::<String>()
    );
    assert_eq!(prompt(&templates(&table).unwrap().apply(hello().to_string()).unwrap()), "8");
}

#[test]
fn macros_that_call_themselves_are_an_error() {
    let links = " + 1".repeat(30);
    let source = format!("{{% macro f() %}}{{{{ f(){links} }}}}{{% endmacro %}}{{{{ f() }}}}");
    let error = templates(&source).map(drop).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::TemplateLimit { limit: TemplateLimit::Depth, value: 2_000, .. }),
        "{error}"
    );
    let limits = TemplateLimits::default().depth(10_000);
    let options = json!({ "template": source }).to_string();
    let templates = ChatTemplates::new_within(None, options, &limits, || false).unwrap();
    let reason = reason(templates.apply_within(hello().to_string(), &limits, || false));
    assert!(reason.contains("macro calls are nested more than 128"), "{reason}");
}

/// Returns a turn with a tool, whose answers contain JSON.
fn turn_with_tool() -> ChatTurn {
    let source = "{% if tools %}<tools>{{ tools | tojson }}</tools>{% endif %}{% for m in messages %}\
                  {{ '<|' + m.role + '|>' + (m.content or '') }}{% for c in m.tool_calls %}\
                  {{ '<tool_call>' + (c.function | tojson) + '</tool_call>' }}{% endfor %}{{ '<|end|>' }}{% endfor %}\
                  {% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";
    let mut request = hello();
    request["tools"] = json!([{ "type": "function", "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": { "type": "object", "properties": { "a": {} }, "required": ["a"] },
    } }]);
    templates(source).unwrap().apply(request.to_string()).unwrap()
}

#[test]
fn a_tool_call_is_read() {
    let turn = turn_with_tool();
    let description = described(&turn);
    assert_eq!(description["grammar_lazy"], true);
    assert_eq!(description["grammar_triggers"], json!([{ "type": "word", "value": "<tool_call>" }]));
    let answer = "Sure.<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": [1, 2]}}</tool_call>";
    let message: Value = serde_json::from_str(&turn.parse(answer, false).unwrap()).unwrap();
    assert_eq!(message["content"], "Sure.");
    assert_eq!(message["tool_calls"][0]["name"], "add");
    assert_eq!(message["tool_calls"][0]["arguments"], "{\"a\": [1, 2]}");
    for (end, _) in answer.char_indices() {
        turn.parse(&answer[..end], true).unwrap();
    }
}

#[test]
fn hostile_answers_are_errors_or_text() {
    let turn = turn_with_tool();
    let deep = 1_000_000;
    let call = "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": ";
    let hostile = [
        call.to_owned() + &"[".repeat(deep),
        call.to_owned() + &"[".repeat(deep) + &"]".repeat(deep) + "}}</tool_call>",
        call.to_owned() + &"{\"a\":".repeat(deep),
        call.to_owned() + "\"" + &"\\".repeat(deep),
        call.to_owned() + "\"\\ud800",
        call.to_owned() + &"9".repeat(deep) + "}}</tool_call>",
        call.to_owned() + "1}}</tool_call>" + &"<tool_call>".repeat(1000),
        call.to_owned(),
        "<tool_call>".repeat(1000),
        "</tool_call>".to_owned(),
        "\u{0}<tool_call>\u{0}".to_owned(),
        "<tool_call>".to_owned() + &" ".repeat(deep),
    ];
    for answer in &hostile {
        for is_partial in [false, true] {
            if let Ok(message) = turn.parse(answer, is_partial) {
                serde_json::from_str::<Value>(&message).unwrap();
            }
        }
    }
    let reason = reason(turn.parse(&hostile[1], false));
    assert!(reason.contains("64 levels"), "{reason}");
}
