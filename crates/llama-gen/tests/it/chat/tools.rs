//! Tools in conversations: calls, results, calls that are cut off, and tokens that mark them.

use llama_core::{Token, TokenizeOptions};
use llama_gen::chat::{Chat, ChatEvent, ChatTemplate, Message, Role, Tool, ToolCall};
use llama_gen::{BiasTarget, FinishReason, GenerationParams, GrammarParams, Llama, LogitBias};
use serde_json::json;
use test_models::smollm2;

fn llama() -> Llama {
    Llama::builder(smollm2()).n_ctx(1024).n_threads(1).load().unwrap()
}

fn weather() -> Tool {
    let schema =
        json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    Tool::new("weather", "The weather in a city.", schema)
}

fn chat(llm: &Llama) -> Chat {
    let template = ChatTemplate::from_jinja(llm.model(), include_str!("templates/qwen2.5.jinja")).unwrap();
    llm.chat().template(&template).tools([weather()]).temperature(0.0).max_tokens(64).start().unwrap()
}

const CALL: &str = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>";

/// Returns parameters with which the model writes exactly this text.
fn only(text: &str) -> GenerationParams {
    let mut params = GenerationParams::default();
    params.sampling.temperature = Some(0.0);
    let literal = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    params.sampling.grammar = Some(GrammarParams::new(format!("root ::= \"{literal}\"")));
    params
}

#[test]
fn a_call_and_its_result_are_turns() {
    let llm = llama();
    let mut chat = chat(&llm);
    let events: Vec<_> = chat
        .turn("What is the weather in Paris?")
        .params(only(CALL))
        .stream()
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let Some(ChatEvent::Finish(reply)) = events.last() else { panic!("{events:?}") };
    assert_eq!((reply.text(), reply.raw.as_str(), &reply.problem), ("", CALL, &None));
    let [call] = reply.tool_calls() else { panic!("{reply:?}") };
    assert_eq!((call.name.as_str(), call.arguments.as_str()), ("weather", "{\"city\": \"Paris\"}"));
    let arguments: String = events
        .iter()
        .filter_map(
            |event| if let ChatEvent::ToolCall(call) = event { Some(call.arguments.as_str()) } else { None },
        )
        .collect();
    assert_eq!(arguments, call.arguments);

    let reply =
        chat.turn_of([Message::tool(&call.id, "{\"sky\": \"blue\"}").name("weather")]).complete().unwrap();
    assert!(!reply.text().is_empty());
    let usage = reply.finish.usage;
    assert!(usage.evaluated_tokens < usage.prompt_tokens / 4, "the call is in memory: {usage:?}");
    let roles: Vec<_> = chat.messages().map(|message| message.role.clone()).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool, Role::Assistant]);
    assert!(chat.undo());
    assert_eq!(
        chat.messages().last().unwrap().tool_calls,
        [ToolCall::new("", "weather", "{\"city\": \"Paris\"}")]
    );
}

#[test]
fn a_call_that_is_cut_short_is_a_problem() {
    let llm = llama();
    let mut chat = chat(&llm);
    let mut params = only(CALL);
    params.max_tokens = Some(20);
    let reply = chat.turn("What is the weather in Paris?").params(params).complete().unwrap();
    assert_eq!(reply.finish.reason, FinishReason::MaxTokens);
    assert!(CALL.starts_with(&reply.raw) && reply.raw.len() > 20, "{:?}", reply.raw);
    assert_eq!(reply.problem.as_deref(), Some("a call of the tool \"weather\" is incomplete"));
    assert!(reply.tool_calls().is_empty());
    // The conversation can be continued.
    assert!(chat.send("Go on.").unwrap().problem.is_none());
    assert_eq!(chat.n_turns(), 2);
}

/// A template that marks calls by special tokens of the model.
const MARKED: &str = "{% if tools %}{{ '<|im_start|>system\n' + (tools | tojson) + '<|im_end|>\n' }}{% endif %}\
    {% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + (m.content or '') }}\
    {% for c in m.tool_calls or [] %}{{ '<repo_name>' + (c.function | tojson) + '<reponame>' }}{% endfor %}\
    {{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

#[test]
fn special_tokens_that_mark_a_call_are_part_of_the_text() {
    let llm = llama();
    let vocab = llm.model().vocab();
    let options = TokenizeOptions::default().add_special(false).parse_special(true);
    let [mark] = vocab.tokenize("<repo_name>", options).unwrap()[..] else { panic!("it is a token") };
    assert!(vocab.is_control(mark).unwrap());
    let raw = |template: &str| {
        let template = ChatTemplate::from_jinja(llm.model(), template).unwrap();
        let mut chat = llm.chat().template(&template).tools([weather()]).start().unwrap();
        chat.turn("Hello").params(biased(mark)).complete().unwrap().raw
    };
    assert_eq!(raw(MARKED), "<repo_name><repo_name>");
    assert_eq!(raw(&MARKED.replace("<repo_name>", "<call>")), "");
}

/// Returns parameters with which the model writes this token twice.
fn biased(token: Token) -> GenerationParams {
    let mut params = GenerationParams::default();
    params.sampling.temperature = Some(0.0);
    params.sampling.logit_bias = Some(vec![LogitBias::new(BiasTarget::Token(token), 1000.0)]);
    params.max_tokens = Some(2);
    params
}
