//! Properties of every answer: calls are complete or left out, unknown tools are named, no text is lost.

use llama_gen::chat::{Answer, ChatPrompt, ChatRequest, ChatTemplate, Message, Tool, ToolCall, ToolChoice};
use serde_json::{Value, json};

use super::templates::{join, load, names};

fn weather() -> Tool {
    let schema =
        json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    Tool::new("weather", "The weather in a city.", schema)
}

fn asked(template: &ChatTemplate, tools: &[Tool]) -> ChatPrompt {
    let request = ChatRequest::new([Message::user("x")]).tools(tools).parallel_tool_calls(true);
    template.render(&request).unwrap()
}

fn prompt(name: &str) -> ChatPrompt {
    asked(&load(name), &[weather()])
}

/// Parses an answer whole and in pieces of some sizes, and asserts that the results and the joined deltas are equal.
fn read(prompt: &ChatPrompt, text: &str) -> Answer {
    let whole = prompt.parse(text).unwrap();
    for size in [1, 3, 7] {
        let mut parser = prompt.parser();
        let mut joined = Answer::default();
        let characters: Vec<char> = text.chars().collect();
        for piece in characters.chunks(size) {
            parser
                .push(&piece.iter().collect::<String>())
                .into_iter()
                .for_each(|delta| join(&mut joined, delta));
        }
        let (answer, rest) = parser.finish();
        rest.into_iter().for_each(|delta| join(&mut joined, delta));
        assert_eq!(answer.unwrap(), whole, "{text:?} by {size}");
        assert_eq!(
            (&joined.content, &joined.reasoning),
            (&whole.content, &whole.reasoning),
            "{text:?} by {size}"
        );
        let mut seen = joined.tool_calls.iter();
        assert!(
            whole.tool_calls.iter().all(|call| seen.any(|it| it == call)),
            "{text:?} by {size}: {joined:?}"
        );
    }
    whole
}

/// Returns the name and the arguments of the only call.
fn only_call(answer: &Answer) -> (&str, Value) {
    let [call] = answer.tool_calls.as_slice() else { panic!("{answer:?}") };
    (call.name.as_str(), serde_json::from_str(&call.arguments).unwrap())
}

fn hermes(arguments: &str) -> String {
    format!("<tool_call>\n{{\"name\": \"weather\", \"arguments\": {arguments}}}\n</tool_call>")
}

#[test]
fn arguments_in_a_json_string_are_the_object_inside() {
    let object = [
        r#"{"city": "Paris"}"#,
        r#""{\"city\": \"Paris\"}""#,
        r#"" {\"city\":\u0020\"Paris\"} ""#,
        r#""\"{\\\"city\\\": \\\"Paris\\\"}\"""#,
    ];
    for name in ["qwen2.5", "qwen3", "granite-4", "hermes-3"] {
        let prompt = prompt(name);
        for arguments in object {
            let answer = read(&prompt, &hermes(arguments));
            assert_eq!(only_call(&answer), ("weather", json!({ "city": "Paris" })), "{name}: {arguments}");
            assert_eq!(answer.problem, None, "{name}: {arguments}");
        }
    }
}

#[test]
fn arguments_in_a_json_string_are_streamed() {
    let mut parser = prompt("qwen2.5").parser();
    parser.push("<tool_call>\n{\"name\": \"weather\", \"arguments\": \"{\\\"city\\\": \\\"Par");
    assert_eq!(parser.so_far().tool_calls[0].arguments, "{\"city\": \"Par");
    parser.push("i");
    assert_eq!(parser.so_far().tool_calls[0].arguments, "{\"city\": \"Pari");
}

#[test]
fn no_arguments_are_an_empty_object() {
    let prompt = prompt("qwen2.5");
    let absent = "<tool_call>\n{\"name\": \"weather\"}\n</tool_call>".to_owned();
    for text in [hermes("null"), hermes("\"\""), hermes("{}"), absent] {
        let answer = read(&prompt, &text);
        assert_eq!((only_call(&answer), &answer.problem), (("weather", json!({})), &None), "{text}");
    }
}

#[test]
fn arguments_under_other_names_are_arguments() {
    let prompt = prompt("qwen2.5");
    let forms = [
        r#"{"name": "weather", "parameters": {"city": "Paris"}}"#,
        r#"{"arguments": {"city": "Paris"}, "name": "weather"}"#,
        r#"{"name": "weather", "arguments": {"city": "Paris"}, "why": "asked"}"#,
        r#"{"type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Paris\"}"}}"#,
    ];
    for form in forms {
        let answer = read(&prompt, &format!("<tool_call>\n{form}\n</tool_call>"));
        assert_eq!(
            (only_call(&answer), &answer.problem),
            (("weather", json!({ "city": "Paris" })), &None),
            "{form}"
        );
    }
}

#[test]
fn arguments_that_are_no_object_are_a_problem() {
    let prompt = prompt("qwen2.5");
    for arguments in ["[1, 2]", "7", "true", "\"Paris\"", r#""{\"city\": ""#, r#""[1]""#] {
        let answer = read(&prompt, &hermes(arguments));
        assert_eq!(answer.tool_calls, [], "{arguments}");
        let expected = format!(
            "the arguments of a call of the tool \"weather\" are {arguments}, but must be a JSON object"
        );
        assert_eq!(answer.problem, Some(expected));
    }
}

#[test]
fn new_lines_in_strings_are_escaped() {
    let answer = read(&prompt("qwen2.5"), &hermes("{\"city\": \"New\nYork\"}"));
    assert_eq!((only_call(&answer), &answer.problem), (("weather", json!({ "city": "New\nYork" })), &None));
}

#[test]
fn a_call_that_is_cut_off_is_left_out_and_named() {
    let answer = read(
        &prompt("qwen2.5"),
        "Look:\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Pa",
    );
    assert_eq!((answer.content.as_str(), answer.tool_calls.as_slice()), ("Look:\n", [].as_slice()));
    assert_eq!(answer.problem.as_deref(), Some("a call of the tool \"weather\" is incomplete"));
    let answer = read(&prompt("qwen2.5"), "<tool_call>\n{\"na");
    assert_eq!(
        (answer.content.as_str(), answer.problem.as_deref()),
        ("", Some("the answer ends within a tool call"))
    );
}

/// Returns the answers with tool calls of a template, as the template writes them.
fn written(template: &ChatTemplate, tools: &[Tool], answer: Message) -> Option<String> {
    let request = ChatRequest::new([Message::user("x")]).tools(tools);
    let prompt = template.render(&request).ok()?;
    let request = ChatRequest::new([Message::user("x"), answer]).tools(tools).add_generation_prompt(false);
    Some(template.render(&request).ok()?.text().strip_prefix(prompt.text())?.to_owned())
}

#[test]
fn no_truncation_has_a_call_that_is_not_whole() {
    let (mut n, mut cut) = (0, 0);
    for name in names() {
        let template = load(&name);
        let call = |city: &str| ToolCall::new("call00001", "weather", format!("{{\"city\": \"{city}\"}}"));
        let tools = [weather()];
        let answers = [
            Message::assistant("").tool_call(call("Paris")),
            Message::assistant("I look.").reasoning("Hm.").tool_call(call("é🦙 {\\\"x\\\": [")),
            Message::assistant("").tool_call(call("Paris")).tool_call(call("Rome")),
        ];
        for answer in answers {
            let calls: Vec<Value> =
                answer.tool_calls.iter().map(|call| serde_json::from_str(&call.arguments).unwrap()).collect();
            let Some(text) = written(&template, &tools, answer) else { continue };
            let prompt = asked(&template, &tools);
            let mut parser = prompt.parser();
            for (at, character) in text.char_indices() {
                let end = at + character.len_utf8();
                parser.push(&text[at..end]);
                let (answer, _) = parser.clone().finish();
                let answer = answer.unwrap();
                assert_eq!(answer, prompt.parse(&text[..end]).unwrap(), "{name}: {:?}", &text[..end]);
                n += 1;
                for (call, whole) in answer.tool_calls.iter().zip(&calls) {
                    let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
                    assert_eq!(arguments, *whole, "{name}: {:?}", &text[..end]);
                }
                if parser.so_far().tool_calls.len() > answer.tool_calls.len() {
                    cut += 1;
                    let problem = answer.problem.unwrap_or_else(|| panic!("{name}: {:?}", &text[..end]));
                    assert!(problem.contains("\"weather\" is incomplete"), "{name}: {problem}");
                }
            }
        }
    }
    assert!(n > 7_000 && cut > 1_900, "{n} {cut}");
}

#[test]
fn a_call_of_an_unknown_tool_comes_back_and_is_named() {
    let mut read_back = Vec::new();
    for name in names() {
        let template = load(&name);
        if !template.caps().tool_calls || !template.caps().tools || name == "functionary-3.1" {
            continue;
        }
        let call = ToolCall::new("call00001", "lookup", "{\"q\": \"rivers\"}");
        let Some(text) = written(&template, &[weather()], Message::assistant("").tool_call(call)) else {
            continue;
        };
        let answer = read(&asked(&template, &[weather()]), super::templates::without_end(&text));
        assert_eq!(only_call(&answer), ("lookup", json!({ "q": "rivers" })), "{name}: {text:?} {answer:?}");
        let problem = "the called tool is \"lookup\", but must be one of the offered tools: \"weather\"";
        assert_eq!(answer.problem.as_deref(), Some(problem), "{name}");
        read_back.push(name);
    }
    let expected = "command-a functionary-3.2 glm-4.5 gpt-oss granite-3.3 granite-4 hermes-3 kimi-k2 llama-3.1 llama-3.3 \
                    ministral-3 mistral-v3 mistral-v3-tekken qwen2.5 qwen3 qwen3-coder";
    assert_eq!(read_back.join(" "), expected);
}

#[test]
fn an_unknown_tool_may_have_any_arguments_or_none() {
    let (glm, qwen) = (prompt("glm-4.5"), prompt("qwen3-coder"));
    let cases = [
        (&glm, "<tool_call>lookup\n</tool_call>", json!({})),
        (
            &glm,
            "<tool_call>lookup\n<arg_key>q</arg_key>\n<arg_value>two words</arg_value>\n<arg_key>n</arg_key>\n<arg_value>7</arg_value>\n</tool_call>",
            json!({ "q": "two words", "n": 7 }),
        ),
        (&qwen, "<tool_call>\n<function=lookup>\n</function>\n</tool_call>", json!({})),
        (
            &qwen,
            "<tool_call>\n<function=lookup>\n<parameter=q>\n[1, \"x\"]\n</parameter>\n<parameter=z>\na <b>\n</parameter>\n</function>\n</tool_call>",
            json!({ "q": [1, "x"], "z": "a <b>" }),
        ),
    ];
    for (prompt, text, arguments) in cases {
        let answer = read(prompt, text);
        assert_eq!(only_call(&answer), ("lookup", arguments), "{text}");
        assert!(
            answer
                .problem
                .unwrap()
                .starts_with("the called tool is \"lookup\", but must be one of the offered tools"),
            "{text}"
        );
    }
}

#[test]
fn one_of_two_calls_may_be_unknown() {
    let text = "Both:\n<tool_call>\n{\"name\": \"Weather\", \"arguments\": {}}\n</tool_call>\n".to_owned()
        + &hermes(r#"{"city": "Rome"}"#);
    let answer = read(&prompt("qwen2.5"), &text);
    let names: Vec<&str> = answer.tool_calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!((answer.content.as_str(), names.as_slice()), ("Both:\n", ["Weather", "weather"].as_slice()));
    let problem = answer.problem.unwrap();
    assert!(
        problem.contains("the called tool is \"Weather\", but must be one of the offered tools"),
        "{problem}"
    );
}

#[test]
fn calls_are_text_when_there_are_no_tools() {
    let template = load("qwen2.5");
    let none = template
        .render(&ChatRequest::new([Message::user("x")]).tools([weather()]).tool_choice(ToolChoice::None));
    for prompt in [asked(&template, &[]), none.unwrap()] {
        let text = hermes("{\"city\": \"Paris\"}");
        let answer = read(&prompt, &text);
        assert_eq!((answer.content, answer.tool_calls.len(), answer.problem), (text, 0, None));
    }
}

#[test]
fn text_around_calls_is_never_lost() {
    let call = hermes(r#"{"city": "Paris"}"#);
    let prompt = prompt("qwen2.5");
    let answer = read(&prompt, &format!("Before.\n{call}\nAfter."));
    assert_eq!((answer.content.as_str(), answer.tool_calls.len()), ("Before.\nAfter.", 1));
    let problem = answer.problem.unwrap();
    assert!(problem.ends_with("the rest is returned as content"), "{problem}");

    let broken = "<tool_call>\nweather(Paris)\n</tool_call>\nAfter.";
    let answer = read(&prompt, &format!("Before.\n{broken}"));
    assert_eq!((answer.content, answer.tool_calls.len()), (format!("Before.\n{broken}"), 0));
    let problem = "the answer does not fit the format of its template (peg-native) from byte 8 on: the rest is returned as content";
    assert_eq!(answer.problem.as_deref(), Some(problem));
}

#[test]
fn every_answer_is_text_at_least() {
    for name in names() {
        let template = load(&name);
        for tools in [vec![weather()], Vec::new()] {
            let Ok(prompt) = template.render(&ChatRequest::new([Message::user("x")]).tools(tools)) else {
                continue;
            };
            for text in [
                "The Loire.",
                "<|channel|>nonsense 🦙",
                "[TOOL_CALLS]🦙",
                "{\"a\": \"🦙\"}",
                "<tool_call>🦙</tool_call>",
            ] {
                let answer = read(&prompt, text);
                let shown = answer.content + &answer.reasoning;
                assert!(
                    shown.contains(if text.contains('🦙') { "🦙" } else { text }),
                    "{name}: {text:?} {shown:?}"
                );
            }
        }
    }
}
