//! A `null` in JSON equals an absent field, in every optional field.

use llama_gen::chat::{Message, Tool, ToolCall};
use llama_gen::{GenerationParams, GrammarParams, GrammarTriggers, RepetitionGuard, ResolvedSampling};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Reads `object` with each of the fields absent and `null`, and asserts equal results.
fn each_null<T: Serialize + DeserializeOwned>(object: &Value, path: &[&str], fields: &[&str]) {
    let read = |value: Value| -> Value {
        let read: T =
            serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{value}: {error}"));
        serde_json::to_value(read).unwrap()
    };
    for field in fields {
        let inside = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
            let mut whole = object.clone();
            let part = path.iter().fold(&mut whole, |value, name| &mut value[*name]);
            change(part.as_object_mut().unwrap());
            whole
        };
        let absent = inside(&|map| _ = map.shift_remove(*field));
        let null = inside(&|map| _ = map.insert((*field).to_owned(), Value::Null));
        assert_eq!(read(null), read(absent), "{field}");
    }
}

#[test]
fn a_null_in_a_message_is_absent() {
    let message: Message =
        serde_json::from_str(r#"{"role":"assistant","content":"hi","tool_calls":null}"#).unwrap();
    assert_eq!(message, Message::assistant("hi"));
    let whole = json!({
        "role": "assistant", "content": "hi", "name": "a", "reasoning_content": "hm", "tool_calls": [], "tool_call_id": "1",
    });
    each_null::<Message>(
        &whole,
        &[],
        &["content", "name", "reasoning_content", "tool_calls", "tool_call_id"],
    );
    each_null::<Message>(&json!({ "role": "assistant" }), &[], &["reasoning"]);
}

#[test]
fn a_null_in_a_call_is_absent() {
    let call = json!({ "type": "function", "id": "1", "function": { "name": "f", "arguments": "{}" } });
    each_null::<ToolCall>(&call, &[], &["type", "id"]);
    each_null::<ToolCall>(&call, &["function"], &["arguments"]);
}

#[test]
fn a_null_in_a_tool_is_absent() {
    let tool = json!({ "type": "function", "function": { "name": "f", "description": "d", "parameters": { "type": "object" } } });
    each_null::<Tool>(&tool, &[], &["type"]);
    each_null::<Tool>(&tool, &["function"], &["description", "parameters"]);
    let tool: Tool =
        serde_json::from_value(json!({ "function": { "name": "f", "parameters": null, "strict": null } }))
            .unwrap();
    assert_eq!(tool, Tool::new("f", "", json!({ "type": "object", "properties": {} })));
}

#[test]
fn a_null_in_parameters_is_absent() {
    let params = json!({
        "max_tokens": 7, "max_time_ms": 5, "stop": ["a"], "stop_tokens": [1], "repetition_guard": {}, "parse_special": true,
        "ignore_eos": true, "seed": 3, "grammar": "root ::= \"a\"", "logit_bias": {}, "samplers": ["top_k"], "temperature": 1.0,
    });
    let Value::Object(open) = serde_json::to_value(ResolvedSampling::default()).unwrap() else {
        panic!("an object")
    };
    let names: Vec<&str> =
        params.as_object().unwrap().keys().chain(open.keys()).map(String::as_str).collect();
    each_null::<GenerationParams>(&params, &[], &names);
    each_null::<RepetitionGuard>(&json!({ "repeats": 9 }), &[], &["max_period", "repeats", "min_tokens"]);
    each_null::<GrammarTriggers>(&json!({ "words": ["a"] }), &[], &["words", "patterns", "tokens"]);
    each_null::<GrammarParams>(
        &json!({ "text": "root ::= \"a\"", "root": "root" }),
        &[],
        &["root", "triggers"],
    );
}
