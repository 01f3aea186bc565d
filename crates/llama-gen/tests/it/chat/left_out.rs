//! Parts that a template does not show are reported, and refused when a user or tool has said them.

use llama_gen::ErrorKind;
use llama_gen::chat::{ChatPrompt, ChatRequest, ChatTemplate, LeftOut, Message, Tool, ToolCall, ToolChoice};
use serde_json::json;

use super::templates::load;

/// A template with roles and contents only, as in Phi-3.5.
const PLAIN: &str = "{% for m in messages %}{% if m.role in ['system', 'user', 'assistant'] %}\
                     {{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endif %}{% endfor %}\
                     {% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}";

fn template(text: &str) -> ChatTemplate {
    ChatTemplate::from_jinja_without_model(text, "<s>", "</s>").unwrap()
}

fn weather() -> Tool {
    Tool::new(
        "weather",
        "The weather in a city.",
        json!({ "type": "object", "properties": { "city": { "type": "string" } } }),
    )
}

fn call() -> ToolCall {
    ToolCall::new("call00001", "weather", "{\"city\": \"Rome\"}")
}

#[track_caller]
fn lost(result: llama_gen::Result<ChatPrompt>) -> Vec<LeftOut> {
    match result.map(|prompt| prompt.text().to_owned()).unwrap_err().kind() {
        ErrorKind::LostByTemplate { lost, .. } => lost.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn tools_that_a_template_does_not_show_are_told() {
    let request = ChatRequest::new([Message::user("Hi")]).tools([weather()]);
    for template in [template(PLAIN), load("phi-3")] {
        let prompt = template.render(&request).unwrap();
        let [LeftOut::Tool { name, .. }] = prompt.left_out() else { panic!("{:?}", prompt.left_out()) };
        assert_eq!(name, "weather");
        let required = request.clone().tool_choice(ToolChoice::Required);
        assert_eq!(lost(template.render(&required)).len(), 1);
        assert!(
            template
                .render(&required)
                .unwrap_err()
                .to_string()
                .contains("does not show the tool \"weather\"")
        );
    }
    let shown = load("qwen2.5").render(&request.tool_choice(ToolChoice::Required)).unwrap();
    assert!(shown.left_out().is_empty(), "{:?}", shown.left_out());
}

#[test]
fn a_tools_result_is_not_lost() {
    let request = ChatRequest::new([
        Message::user("4?"),
        Message::assistant("").tool_call(call()),
        Message::tool("call00001", "4"),
    ]);
    let lost = lost(template(PLAIN).render(&request));
    assert!(matches!(lost.as_slice(), [LeftOut::Content { message: 2, .. }]), "{lost:?}");
    let prompt = load("qwen2.5").render(&request.clone().tools([weather()])).unwrap();
    assert!(prompt.left_out().is_empty(), "{:?}", prompt.left_out());
}

#[test]
fn calls_and_reasoning_of_earlier_turns_are_told() {
    let request = ChatRequest::new([
        Message::user("Hi"),
        Message::assistant("Yes.").reasoning("Hm.").tool_call(call()),
        Message::user("And?"),
    ]);
    let prompt = template(PLAIN).render(&request).unwrap();
    assert_eq!(
        prompt.text(),
        "<|user|>\nHi<|end|>\n<|assistant|>\nYes.<|end|>\n<|user|>\nAnd?<|end|>\n<|assistant|>\n"
    );
    let left_out: Vec<String> = prompt.left_out().iter().map(ToString::to_string).collect();
    assert_eq!(left_out, ["the reasoning of message 1", "call 0 of message 1"]);
}

#[test]
fn what_a_template_shows_in_another_form_is_there() {
    for expression in [
        "{{ m.content | tojson }}",
        "{{ m.content | upper }}",
        "{{ [m.content] }}",
        "{{ m.content.split(' ')|join('_') }}",
    ] {
        let text = format!("{{% for m in messages %}}{{{{ m.role }}}}: {expression}\n{{% endfor %}}");
        let prompt = template(&text).render(&ChatRequest::new([Message::user("a \"b\" c ")])).unwrap();
        assert!(prompt.left_out().is_empty(), "{expression}");
    }
}

#[test]
fn words_of_people_are_not_lost() {
    let only_last = template("{{ messages[-1].content }}");
    let request = ChatRequest::new([
        Message::system("Be brief."),
        Message::user("a"),
        Message::assistant("a"),
        Message::user("a"),
    ]);
    let lost = lost(only_last.render(&request));
    let messages: Vec<usize> = lost
        .iter()
        .map(|item| if let LeftOut::Content { message, .. } = item { *message } else { panic!("{item:?}") })
        .collect();
    assert_eq!(messages, [0, 1, 2]);
}

#[test]
fn an_answer_that_is_lost_with_its_reasoning_is_shown_without() {
    // The template supports only texts, but with reasoning llama.cpp passes lists of parts to templates of this family.
    let source = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST]' + (m.content if m.content is string else m.content[0].text) + '[/INST]' }}\
                  {% elif m.role == 'system' %}{{ '[SYSTEM_PROMPT]' + (m.content if m.content is string else m.content[0].text) + '[/SYSTEM_PROMPT]' }}\
                  {% elif m.role == 'assistant' and not m.reasoning_content %}{{ m.content + eos_token }}{% endif %}{% endfor %}";
    let request = ChatRequest::new([
        Message::user("Hi"),
        Message::assistant("Yes.").reasoning("Hm."),
        Message::user("And?"),
    ]);
    let prompt = template(source).render(&request).unwrap();
    assert_eq!(prompt.text(), "<s>[INST]Hi[/INST]Yes.</s>[INST]And?[/INST]");
    assert!(matches!(prompt.left_out(), [LeftOut::Reasoning { message: 1, .. }]), "{:?}", prompt.left_out());
}
