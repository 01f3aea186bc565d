//! Templates of many families: their rendered conversations, and the answers parsed back from these.
//!
//! The templates were written for this test, after the public descriptions of each family's format. Beside each is a snapshot
//! of its rendered conversations, `NAME.snap`. After an intended change, run with `INSTA_UPDATE=always` and review the
//! difference.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use llama_gen::chat::{
    Answer, AnswerParser, ChatPrompt, ChatRequest, ChatTemplate, Delta, Message, Tool, ToolCall,
};
use serde_json::json;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/chat/templates")
}

/// Returns the names of all templates, sorted.
pub(crate) fn names() -> Vec<String> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let templates = files.filter(|path| path.extension().is_some_and(|extension| extension == "jinja"));
    let mut names: Vec<_> =
        templates.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Returns a family's tokens for the beginning and the end.
fn tokens(name: &str) -> (&'static str, &'static str) {
    let families = [
        ("llama-3", "<|begin_of_text|>", "<|eot_id|>"),
        ("llama-4", "<|begin_of_text|>", "<|eot|>"),
        ("functionary", "<|begin_of_text|>", "<|eot_id|>"),
        ("deepseek", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
        ("gemma", "<bos>", "<eos>"),
        ("command", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"),
        ("phi", "", "<|endoftext|>"),
        ("falcon", "", "<|endoftext|>"),
        ("olmo", "<|endoftext|>", "<|endoftext|>"),
        ("tulu", "<|begin_of_text|>", "<|end_of_text|>"),
        ("lfm2", "<|startoftext|>", "<|im_end|>"),
        ("seed-oss", "<seed:bos>", "<seed:eos>"),
        ("hermes", "<|begin_of_text|>", "<|im_end|>"),
    ];
    let family = families.into_iter().find(|(family, ..)| name.starts_with(family));
    family.map_or(("<s>", "</s>"), |(_, bos, eos)| (bos, eos))
}

pub(crate) fn load(name: &str) -> ChatTemplate {
    let text = fs::read_to_string(folder().join(format!("{name}.jinja"))).unwrap();
    let (bos, eos) = tokens(name);
    ChatTemplate::from_jinja_without_model(&text, bos, eos).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn weather() -> Tool {
    let schema = json!({
        "type": "object",
        "properties": { "city": { "type": "string" }, "days": { "type": "integer" } },
        "required": ["city"],
    });
    Tool::new("weather", "The weather in a city.", schema)
}

fn call() -> ToolCall {
    ToolCall::new("call00001", "weather", "{\"city\": \"Paris\", \"days\": 2}")
}

fn question() -> Message {
    Message::user("Name a river.")
}

/// Returns the requests for a template, each with a name.
fn requests() -> Vec<(&'static str, ChatRequest)> {
    let system = || Message::system("Be brief.");
    let calling = Message::assistant("").tool_call(call());
    let result = Message::tool("call00001", "{\"sky\": \"blue\"}").name("weather");
    vec![
        ("question", ChatRequest::new([question()])),
        ("system", ChatRequest::new([system(), question()])),
        (
            "turns",
            ChatRequest::new([
                system(),
                question(),
                Message::assistant("The Loire.").reasoning("France has many."),
                Message::user("Another?"),
            ]),
        ),
        ("thinking off", ChatRequest::new([question()]).thinking(false)),
        ("thinking on", ChatRequest::new([question()]).thinking(true)),
        (
            "answer",
            ChatRequest::new([question(), Message::assistant("The Loire.")]).add_generation_prompt(false),
        ),
        ("tools", ChatRequest::new([system(), question()]).tools([weather()])),
        ("result", ChatRequest::new([question(), calling, result]).tools([weather()])),
    ]
}

/// Replaces today's date, which some templates render.
fn without_dates(text: &str) -> String {
    let formats = ["%d %B %Y", "%Y-%m-%d", "%B %d, %Y", "%d %b %Y"];
    formats.into_iter().fold(text.to_owned(), |text, format| {
        let source = format!("{{{{ strftime_now('{format}') }}}}|{{{{ messages[0].content }}}}");
        let today = ChatTemplate::from_jinja_without_model(&source, "", "")
            .unwrap()
            .render(&ChatRequest::new([question()]))
            .unwrap();
        let (today, _) = today.text().split_once('|').unwrap();
        text.replace(today, "<today>")
    })
}

/// Describes a template completely, for review.
fn describe(template: &ChatTemplate) -> String {
    let mut all = String::new();
    let caps = template.caps();
    let can = [
        (caps.system_role, "system"),
        (caps.tools, "tools"),
        (caps.tool_calls, "tool calls"),
        (caps.parallel_tool_calls, "parallel tool calls"),
        (caps.keeps_reasoning, "keeps reasoning"),
    ];
    let can: Vec<_> = can.into_iter().filter(|(can, _)| *can).map(|(_, name)| name).collect();
    writeln!(all, "can: {}", can.join(", ")).unwrap();
    let mut seen: Vec<(&str, String)> = Vec::new();
    for (name, request) in requests() {
        let rendered = match template.render(&request) {
            Ok(prompt) => {
                if name == "question" {
                    describe_answers(&prompt, &mut all);
                }
                format!("{}\u{25c0}", prompt.text())
            }
            Err(error) => {
                let text = error.to_string();
                let reason = text.lines().find(|line| line.contains("Exception:") || line.contains("Error:"));
                format!("refused: {}", reason.unwrap_or(&text).trim())
            }
        };
        let same = seen.iter().find(|(_, text)| *text == rendered).map(|(name, _)| *name);
        match same {
            Some(other) => writeln!(all, "\n=== {name}: as {other}").unwrap(),
            None => writeln!(all, "\n=== {name}\n{rendered}").unwrap(),
        }
        seen.push((name, rendered));
    }
    without_dates(&all)
}

fn describe_answers(prompt: &ChatPrompt, all: &mut String) {
    writeln!(all, "generation prompt: {:?}", prompt.generation_prompt()).unwrap();
    writeln!(all, "stops: {:?}", prompt.stops()).unwrap();
    if prompt.supports_thinking() {
        writeln!(all, "thinks between: {:?}", prompt.thinking_tags()).unwrap();
    }
}

#[test]
fn every_template_renders_what_it_did() {
    let names = names();
    assert!(names.len() >= 40, "{}", names.len());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("templates");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for name in names {
        let described = describe(&load(&name));
        settings.bind(|| insta::assert_snapshot!(name.as_str(), described));
    }
}

/// Returns the text that a model would have written for the last message: what the template adds for it, without the
/// end.
fn as_written(
    template: &ChatTemplate,
    question: &[Message],
    answer: &Message,
    tools: &[Tool],
) -> Option<String> {
    let asked = ChatRequest::new(question).tools(tools);
    let mut all = question.to_vec();
    all.push(answer.clone());
    let answered = ChatRequest::new(all).tools(tools).add_generation_prompt(false);
    let prompt = template.render(&asked).ok()?;
    let whole = template.render(&answered).ok()?;
    Some(whole.text().strip_prefix(prompt.text())?.to_owned())
}

/// The endings of turns, which are tokens that end a generation.
const ENDS: [&str; 22] = [
    "<|im_end|>",
    "</s>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|eot|>",
    "<end_of_turn>",
    "<|end|>",
    "<|endoftext|>",
    "<|call|>",
    "<|return|>",
    "<｜end▁of▁sentence｜>",
    "<|END_OF_TURN_TOKEN|>",
    "<|end_of_text|>",
    "<|end_of_turn|>",
    "[|endofturn|]",
    "<|turn_end|>",
    "<|eos|>",
    "<seed:eos>",
    "<|end_of_sentence|>",
    "<eos>",
    "<extra_id_1>",
    "<|end_of_role|>",
];

/// Returns the answer without the token that ends it and what the template writes after that.
pub(crate) fn without_end(written: &str) -> &str {
    let end = ENDS.into_iter().filter_map(|end| written.find(end)).min();
    written[..end.unwrap_or(written.len())].trim_end_matches('\n')
}

fn parse(prompt: &ChatPrompt, written: &str) -> Answer {
    let answer = prompt.parse(written).unwrap_or_else(|error| panic!("{written:?}: {error}"));
    let (streamed, parser) = stream(prompt.parser(), written);
    assert_eq!(*parser.so_far(), answer, "{written:?} in pieces");
    assert_eq!(streamed, answer, "{written:?} in deltas");
    answer
}

/// Parses an answer character by character, and joins the deltas.
fn stream(mut parser: AnswerParser, written: &str) -> (Answer, AnswerParser) {
    let mut joined = Answer::default();
    let mut buffer = [0; 4];
    for character in written.chars() {
        parser
            .push(character.encode_utf8(&mut buffer))
            .into_iter()
            .for_each(|delta| join(&mut joined, delta));
    }
    let (answer, rest) = parser.finish();
    rest.into_iter().for_each(|delta| join(&mut joined, delta));
    answer.unwrap_or_else(|error| panic!("{written:?}: {error}"));
    (joined, parser)
}

pub(crate) fn join(answer: &mut Answer, delta: Delta) {
    match delta {
        Delta::Reasoning(text) => answer.reasoning.push_str(&text),
        Delta::Content(text) => answer.content.push_str(&text),
        Delta::ToolCall(delta) => {
            if answer.tool_calls.len() == delta.index {
                answer.tool_calls.push(ToolCall::default());
            }
            let call = &mut answer.tool_calls[delta.index];
            call.id = delta.id.unwrap_or_else(|| call.id.clone());
            call.name = delta.name.unwrap_or_else(|| call.name.clone());
            call.arguments.push_str(&delta.arguments);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_are_read_back() {
    let (mut read, mut marked) = (0, Vec::new());
    for name in names() {
        let template = load(&name);
        let prompt = template.render(&ChatRequest::new([question()])).unwrap();
        let thinks_at_once = prompt.supports_thinking() && prompt.generation_prompt().contains("<think>");
        if thinks_at_once {
            assert_eq!(parse(&prompt, "The Loire.").reasoning.trim(), "The Loire.", "{name}");
            let answer = parse(&prompt, "Hm.\n</think>\n\nThe Loire.");
            assert_eq!((answer.reasoning.trim(), answer.content.trim()), ("Hm.", "The Loire."), "{name}");
        } else if prompt.parse("The Loire.").unwrap().problem.is_none() {
            assert_eq!(parse(&prompt, "The Loire.").content, "The Loire.", "{name}");
        } else {
            marked.push(name.clone());
        }
        let message = Message::assistant("The Loire.");
        if let Some(written) = as_written(&template, &[question()], &message, &[]) {
            let answer = parse(&prompt, without_end(&written));
            assert_eq!(answer.content.trim(), "The Loire.", "{name}: {written:?}");
            read += 1;
        }
    }
    // These templates write a mark before every answer.
    assert_eq!(marked, ["functionary-3.2", "gpt-oss"]);
    assert_eq!(read, 56);
}

#[test]
fn thoughts_are_told_apart() {
    let mut read = Vec::new();
    for name in names() {
        let template = load(&name);
        let prompt = template.render(&ChatRequest::new([question()])).unwrap();
        let (start, ends) = prompt.thinking_tags();
        // llama.cpp detects some families by other marks, and reports that they reason even without tags in the template.
        let thinks = prompt.supports_thinking() && !start.is_empty() && template.source().contains(start);
        let Some(end) = ends.first().filter(|_| thinks) else { continue };
        let begun = prompt.generation_prompt().contains(start);
        let written = format!("{}France has many.{end}\n\nThe Loire.", if begun { "" } else { start });
        let answer = if name == "gpt-oss" {
            let written = "<|channel|>analysis<|message|>France has many.<|end|><|start|>assistant<|channel|>final<|message|>The Loire.";
            parse(&prompt, written)
        } else {
            parse(&prompt, &written)
        };
        assert_eq!(
            (answer.reasoning.trim(), answer.content.trim()),
            ("France has many.", "The Loire."),
            "{name}"
        );
        let off = template.render(&ChatRequest::new([question()]).thinking(false)).unwrap();
        if off.text() != prompt.text() && off.generation_prompt().contains(end.as_str()) {
            assert_eq!(parse(&off, "The Loire.").content.trim(), "The Loire.", "{name}");
        }
        read.push(name);
    }
    let expected = "deepseek-r1 glm-4.5 gpt-oss granite-3.3 ministral-3 qwen3 qwq seed-oss smollm3";
    assert_eq!(read.join(" "), expected);
}

#[test]
fn tool_calls_are_read_back() {
    let mut read = Vec::new();
    for name in names() {
        let template = load(&name);
        if !template.caps().tool_calls || !template.caps().tools {
            continue;
        }
        let tools = [weather()];
        let prompt = template.render(&ChatRequest::new([question()]).tools(tools.clone())).unwrap();
        let message = Message::assistant("").tool_call(call());
        let Some(written) = as_written(&template, &[question()], &message, &tools) else { continue };
        // llama.cpp's analysis of this template does not recognise its calls.
        if name == "functionary-3.1" {
            continue;
        }
        let answer = parse(&prompt, without_end(&written));
        assert_eq!(answer.tool_calls.len(), 1, "{name}: {written:?} {answer:?}");
        let read_call = &answer.tool_calls[0];
        assert_eq!(read_call.name, "weather", "{name}");
        let arguments: serde_json::Value = serde_json::from_str(&read_call.arguments).unwrap();
        assert_eq!(arguments, json!({ "city": "Paris", "days": 2 }), "{name}");
        read.push(name);
    }
    let expected = "command-a functionary-3.2 glm-4.5 gpt-oss granite-3.3 granite-4 hermes-3 kimi-k2 llama-3.1 llama-3.3 \
                    ministral-3 mistral-v3 mistral-v3-tekken qwen2.5 qwen3 qwen3-coder";
    assert_eq!(read.join(" "), expected);
}
