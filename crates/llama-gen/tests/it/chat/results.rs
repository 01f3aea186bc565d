//! A reply contains everything that a turn requested, and requests can be read from JSON.

use llama_core::TokenizeOptions;
use llama_gen::chat::{ChatEvent, ChatRequest, Delta, Message, Tool, ToolCallDelta, ToolChoice};
use llama_gen::{ErrorKind, GenerationParams, Llama, SamplingParams};
use serde_json::json;
use test_models::smollm2;

#[test]
fn a_reply_has_its_prompt_its_tokens_and_their_probabilities() {
    let llm = Llama::builder(smollm2()).n_ctx(512).n_threads(1).load().unwrap();
    let mut chat = llm.chat().temperature(0.0).max_tokens(12).start().unwrap();
    let prompt = chat.turn("Name a river.").prompt_tokens().unwrap();
    let reply = chat.turn("Name a river.").log_probabilities(2).complete().unwrap();
    assert_eq!(reply.prompt, prompt);
    let vocab = llm.model().vocab();
    let special = TokenizeOptions::default().add_special(false).parse_special(true);
    assert_eq!(prompt[..1], vocab.tokenize("<|im_start|>", special).unwrap());
    assert_eq!(reply.tokens.len(), reply.finish.usage.completion_tokens);
    let bytes: Vec<u8> = reply.tokens.iter().flat_map(|token| token.token.bytes.clone()).collect();
    assert_eq!(String::from_utf8(bytes).unwrap(), reply.text());
    for chosen in &reply.tokens {
        let [first, _] = chosen.alternatives.as_slice() else { panic!("{chosen:?}") };
        assert_eq!((first.id, first.log_probability), (chosen.token.id, chosen.token.log_probability));
    }
    // The next prompt continues it.
    let next = chat.turn("And another.").prompt_tokens().unwrap();
    assert_eq!(next[..prompt.len()], prompt);
    let plain = chat.send("And another.").unwrap();
    assert_eq!(plain.prompt, next);
    assert!(plain.tokens.iter().all(|it| it.token.log_probability.is_none() && it.alternatives.is_empty()));
    chat.undo();
    let mut stream = chat.stream("And another.").unwrap();
    assert_eq!(stream.prompt(), next);
    let last = stream.find_map(|event| match event.unwrap() {
        ChatEvent::Finish(reply) => Some(reply),
        _ => None,
    });
    assert_eq!(last.unwrap().tokens, plain.tokens);
}

#[test]
fn parameters_that_were_set_before_stay_set() {
    let llm = Llama::builder(smollm2()).n_ctx(512).n_threads(1).load().unwrap();
    let more = GenerationParams::default().stop(["x"]);
    let sampling = SamplingParams::default().top_k(3);
    let chat = llm.chat().temperature(0.0).max_tokens(2).params(more.clone()).sampling(sampling.clone());
    let mut chat = chat.start().unwrap();
    let expected = more.sampling(sampling.temperature(0.0)).max_tokens(2);
    assert_eq!(chat.params(), &expected);
    // A turn has parameters of its own, from all calls.
    let (first, second) = (expected.clone().max_tokens(4), GenerationParams::default().max_tokens(1));
    let reply = chat.turn("Hi").params(first).params(second).complete().unwrap();
    assert_eq!(reply.finish.usage.completion_tokens, 1);
    assert_eq!(chat.params(), &expected);
}

#[test]
fn parts_of_answers_survive_json() {
    let mut call = ToolCallDelta::default();
    call.name = Some("f".to_owned());
    for (delta, json) in [
        (Delta::Content("a".to_owned()), json!({ "content": "a" })),
        (Delta::Reasoning("b".to_owned()), json!({ "reasoning_content": "b" })),
        (Delta::ToolCall(call), json!({ "tool_call": { "index": 0, "name": "f", "arguments": "" } })),
    ] {
        assert_eq!(serde_json::to_value(&delta).unwrap(), json);
        assert_eq!(serde_json::from_value::<Delta>(json).unwrap(), delta);
    }
}

#[test]
fn a_reply_is_written_as_json() {
    let llm = Llama::builder(smollm2()).n_ctx(512).n_threads(1).load().unwrap();
    let mut chat = llm.chat().temperature(0.0).max_tokens(2).start().unwrap();
    let events: Vec<ChatEvent> = chat.stream("Name a river.").unwrap().map(Result::unwrap).collect();
    let Some(ChatEvent::Finish(reply)) = events.last() else { panic!("{events:?}") };
    let json = serde_json::to_value(reply).unwrap();
    assert_eq!(json["message"], serde_json::to_value(&reply.message).unwrap());
    assert_eq!(json["prompt"].as_array().unwrap().len(), reply.prompt.len());
    assert_eq!(json["tokens"][0]["token"]["id"], json!(reply.tokens[0].token.id.get()));
    assert!(json["finish"].is_object() && json.get("text").is_none(), "{json}");
    assert_eq!(serde_json::to_value(&events[0]).unwrap(), json!({ "text": events[0].text() }));
}

#[test]
fn what_a_turn_cannot_do_is_refused() {
    let llm = Llama::builder(smollm2()).n_ctx(512).n_threads(1).load().unwrap();
    let mut chat = llm.chat().max_tokens(2).start().unwrap();
    let error = chat.turn("Hi").progress(true).complete().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the parameters are not valid: progress is true, but must be false for `complete`, which returns no events: \
         use `stream` or `stream_async`"
    );
    let mut params = GenerationParams::default();
    params.parse_special = true;
    let error = chat.turn("Hi").params(params).complete().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidPrompt { .. }), "{error}");
    assert_eq!(chat.n_turns(), 0);
}

#[test]
fn requests_are_read_as_they_are_written() {
    let schema = json!({ "type": "object", "properties": { "x": { "type": "integer" } } });
    let all = ChatRequest::new([Message::system("Be terse."), Message::user("Hi")])
        .tools([Tool::new("f", "Does f.", schema.clone())])
        .tool_choice(ToolChoice::Required)
        .parallel_tool_calls(true)
        .add_generation_prompt(false)
        .continue_answer(true)
        .thinking(false)
        .extract_reasoning(false)
        .response_schema(schema)
        .template_arg("reasoning_effort", "low");
    for request in [all, ChatRequest::new([Message::user("Hi")])] {
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<ChatRequest>(&text).unwrap(), request, "{text}");
    }
}

#[test]
fn requests_may_leave_out_all_but_the_messages() {
    let messages = json!([{ "role": "user", "content": "Hi" }]);
    let default = ChatRequest::new([Message::user("Hi")]);
    let read = |value| serde_json::from_value::<ChatRequest>(value);
    assert_eq!(read(json!({ "messages": messages })).unwrap(), default);
    let nulls = json!({
        "messages": messages, "tools": null, "tool_choice": null, "parallel_tool_calls": null,
        "add_generation_prompt": null, "continue_final_message": null, "enable_thinking": null,
        "extract_reasoning": null, "json_schema": null, "template_kwargs": null,
    });
    assert_eq!(read(nulls).unwrap(), default);
    let others = json!({
        "messages": messages, "thinking": false, "response_schema": { "type": "string" },
        "chat_template_kwargs": { "a": 1 },
    });
    let expected = default.thinking(false).response_schema(json!({ "type": "string" })).template_arg("a", 1);
    assert_eq!(read(others).unwrap(), expected);
    for (value, said) in [
        (json!({}), "missing field `messages`"),
        (json!({ "messages": messages, "tool": [] }), "unknown field `tool`"),
        (json!({ "messages": messages, "tool_choice": "always" }), "unknown variant `always`"),
        (json!({ "messages": messages, "thinking": 1 }), "invalid type: integer `1`, expected a boolean"),
    ] {
        let error = read(value).unwrap_err().to_string();
        assert!(error.starts_with(said), "{error}");
    }
}

#[test]
fn a_request_can_be_a_part_of_a_larger_one() {
    #[derive(serde::Deserialize)]
    struct Body {
        model: String,
        #[serde(flatten)]
        request: ChatRequest,
        #[serde(flatten)]
        params: GenerationParams,
    }
    let body = json!({
        "model": "m", "messages": [{ "role": "user", "content": "Hi" }], "enable_thinking": false,
        "temperature": 0.5, "max_tokens": 8,
    });
    let body: Body = serde_json::from_value(body).unwrap();
    assert_eq!(body.model, "m");
    assert_eq!(body.request, ChatRequest::new([Message::user("Hi")]).thinking(false));
    assert_eq!((body.params.sampling.temperature, body.params.max_tokens), (Some(0.5), Some(8)));
}
