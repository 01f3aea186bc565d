//! Compares this interpreter with llama.cpp's own parser, over answers for all templates of the tests.

#![allow(clippy::print_stdout, reason = "prints figures for the reader of a test run")]

use core::cell::Cell;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::Answer;
use crate::chat::{ChatPrompt, ChatRequest, ChatTemplate, Message, Tool, ToolCall};

fn templates() -> Vec<(String, ChatTemplate)> {
    let folder = std::env::var_os("LLAMA_TEST_TEMPLATES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/chat/templates"),
        PathBuf::from,
    );
    let mut templates = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jinja") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            if let Ok(template) = ChatTemplate::from_jinja_without_model(
                &std::fs::read_to_string(&path).unwrap(),
                "<s>",
                "</s>",
            ) {
                templates.push((name, template));
            }
        }
    }
    templates.sort_by(|a, b| a.0.cmp(&b.0));
    templates
}

fn tools() -> Vec<Tool> {
    let weather = json!({
        "type": "object",
        "properties": { "city": { "type": "string" }, "days": { "type": "integer" } },
        "required": ["city"],
    });
    let find = json!({
        "type": "object",
        "properties": { "where": { "type": "object", "properties": { "x": { "type": "array", "items": { "type": "integer" } } } }, "all": { "type": "boolean" } },
    });
    vec![Tool::new("weather", "The weather in a city.", weather), Tool::new("find", "Finds things.", find)]
}

fn question() -> Message {
    Message::user("Name a river.")
}

/// Returns answers as the template itself writes them.
fn written(template: &ChatTemplate, tools: &[Tool]) -> Vec<String> {
    let weather =
        ToolCall::new("call00001", "weather", "{\"city\": \"Paris é🦙 \\\"x\\\" {\", \"days\": 12}");
    let find = ToolCall::new("call00002", "find", "{\"where\": {\"x\": [1, 2]}, \"all\": true}");
    let answers = [
        Message::assistant("The Loire < 7 & é🦙.\n\nYes."),
        Message::assistant("The Loire.").reasoning("France has many."),
        Message::assistant("").tool_call(weather.clone()),
        Message::assistant("I look.").reasoning("Hm.").tool_call(weather.clone()),
        Message::assistant("").tool_call(weather).tool_call(find),
    ];
    let asked = ChatRequest::new([question()]).tools(tools);
    let Ok(prompt) = template.render(&asked) else { return Vec::new() };
    let write = |answer: Message| {
        let request = ChatRequest::new([question(), answer]).tools(tools).add_generation_prompt(false);
        let whole = template.render(&request).ok()?;
        Some(whole.text().strip_prefix(prompt.text())?.to_owned())
    };
    answers.into_iter().filter_map(write).collect()
}

/// Returns answers with every kind of mark.
fn corpus(template: &ChatTemplate, tools: &[Tool]) -> Vec<String> {
    let mut corpus = written(template, tools);
    for end in ["<|im_end|>", "</s>", "<|eot_id|>", "<|end|>", "<|call|>", "<|return|>", "\n"] {
        let cut: Vec<String> =
            corpus.iter().filter_map(|text| Some(text[..text.find(end)?].to_owned())).collect();
        corpus.extend(cut);
    }
    corpus.extend(
        [
            "",
            "The Loire.",
            "<think>Hm.</think>\n\nThe Loire.",
            "Hm.\n</think>\n\nThe Loire.",
            "Look: <tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Pa\\n\", \"days\": -1.5e3}}\n</tool_call>",
            "<tool_call>\n{\"name\": \"find\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"x\"}}\n</tool_call>",
            "<tool_call>\n<function=weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>",
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{\"city\": \"Paris\"}",
            "[TOOL_CALLS][{\"name\": \"weather\", \"arguments\": {\"city\": \"Paris\"}, \"id\": \"call00001\"}]",
            "{\"name\": \"weather\", \"parameters\": {\"city\": \"Paris\"}}",
        ]
        .map(ToOwned::to_owned),
    );
    corpus.sort();
    corpus.dedup();
    corpus
}

/// Parses an answer with llama.cpp's own parser.
fn oracle(prompt: &ChatPrompt, text: &str, is_partial: bool) -> Option<Answer> {
    let json: Value = serde_json::from_str(&prompt.turn.parse(text, is_partial).ok()?).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let calls = json["tool_calls"].as_array().unwrap().iter();
    Some(Answer {
        content: text(&json["content"]),
        reasoning: text(&json["reasoning_content"]),
        tool_calls: calls
            .map(|it| ToolCall::new(text(&it["id"]), text(&it["name"]), text(&it["arguments"])))
            .collect(),
        problem: None,
    })
}

/// Returns whether one of the two texts is the beginning of the other.
fn begins(streamed: &str, arguments: &str) -> bool {
    arguments.starts_with(streamed) || streamed.starts_with(arguments)
}

#[test]
fn every_truncation_is_read_as_llama_cpp_reads_it() {
    let (mut n, mut mismatches) = (0, Vec::new());
    for (name, template) in templates() {
        for tools in [tools(), Vec::new()] {
            let request = ChatRequest::new([question()]).tools(tools.clone()).parallel_tool_calls(true);
            let Ok(prompt) = template.render(&request) else { continue };
            for text in corpus(&template, &tools) {
                let mut parser = prompt.parser();
                for (at, character) in text.char_indices() {
                    let end = at + character.len_utf8();
                    parser.push(&text[at..end]);
                    n += 1;
                    if parser.tail.is_some() {
                        break;
                    }
                    let Some(theirs) = oracle(&prompt, &text[..end], true) else { continue };
                    // llama.cpp's parser returns nothing of text that does not match.
                    if theirs == Answer::default() && oracle(&prompt, &text[..end], false).is_none() {
                        continue;
                    }
                    let ours = parser.so_far();
                    let calls_agree = ours.tool_calls.iter().zip(&theirs.tool_calls).all(|(ours, theirs)| {
                        ours.name == theirs.name && begins(&ours.arguments, &theirs.arguments)
                    });
                    if (&ours.content, &ours.reasoning) != (&theirs.content, &theirs.reasoning)
                        || !calls_agree
                    {
                        mismatches.push(format!(
                            "{name} ({} tools): {:?}\n  ours   {ours:?}\n  theirs {theirs:?}",
                            tools.len(),
                            &text[..end]
                        ));
                        break;
                    }
                }
                let ours = prompt.parse(&text).unwrap();
                let Some(theirs) = oracle(&prompt, &text, false) else { continue };
                if ours.problem.is_none()
                    && (&ours.content, &ours.reasoning, &ours.tool_calls)
                        != (&theirs.content, &theirs.reasoning, &theirs.tool_calls)
                {
                    mismatches.push(format!(
                        "{name} ({} tools) whole: {text:?}\n  ours   {ours:?}\n  theirs {theirs:?}",
                        tools.len()
                    ));
                }
            }
        }
    }
    println!("{n} prefixes");
    assert!(mismatches.is_empty(), "{} mismatches:\n{}", mismatches.len(), mismatches.join("\n"));
}

thread_local! {
    /// The number of grammar nodes that this thread has visited, plus the bytes that it has read or compared.
    static WORK: Cell<usize> = const { Cell::new(0) };
}

pub(super) fn add_work(n: usize) {
    WORK.set(WORK.get() + n);
}

/// Measures the work for `begin` and `n` more tokens, taken from `tokens` in turn.
fn work(prompt: &ChatPrompt, begin: &str, tokens: &[&str], n: usize) -> usize {
    let mut parser = prompt.parser();
    let before = WORK.get();
    parser.push(begin);
    tokens.iter().cycle().take(n).for_each(|token| drop(parser.push(token)));
    WORK.get() - before
}

#[test]
fn a_token_takes_the_same_work_however_long_the_answer_is() {
    let template = include_str!("../../../tests/it/chat/templates/qwen3.jinja");
    let template = ChatTemplate::from_jinja_without_model(template, "", "").unwrap();
    let request = ChatRequest::new([question()]).tools(tools()).parallel_tool_calls(true);
    let prompt = template.render(&request).unwrap();
    let call = "<tool_call>\n{\"name\": \"weather\", \"arguments\": ";
    let forms: [(&str, &[&str]); 9] = [
        ("<think>", &[" word", " a < b", "\n"]),
        ("", &[" word", " a < b", " <tool", " {"]),
        ("", &[" "]),
        (&format!("{call}{{\"city\": \""), &[" word", "\\n", " \\\"x\\\""]),
        (&format!("{call}\"{{\\\"city\\\": \\\""), &[" word", "\\\\n"]),
        (&format!("{call}{{\"city\": [1"), &[", 2", ", {\"a\": ", "[]}", ", \"x\""]),
        (
            "",
            &[
                "<tool_call>",
                "\n{\"name\": ",
                "\"weather\",",
                " \"arguments\": ",
                "{\"city\": ",
                "\"x\"}}\n",
                "</tool_call>\n",
            ],
        ),
        (
            "",
            &[
                "<tool_call>",
                "\n{\"name\": ",
                "\"lookup\",",
                " \"arguments\": ",
                "{\"city\": ",
                "\"x\"}}\n",
                "</tool_call>\n",
            ],
        ),
        ("<tool_call>no call</tool_call>", &[" word", "<tool_call>"]),
    ];
    for (begin, tokens) in forms {
        let [short, long] = [1_000, 32_000].map(|n| work(&prompt, begin, tokens, n));
        println!("{begin:?} {tokens:?}: {short} for 1,000 tokens, {long} for 32,000");
        // Reading everything again for each token would be a thousand times as much work.
        assert!(long <= 33 * short, "{begin:?} {tokens:?}: {short}, then {long}");
    }
}
