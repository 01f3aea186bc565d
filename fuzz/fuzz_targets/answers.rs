//! Parses any answer, whole, cut off and in pieces of any size, without a crash or a hang. The joined deltas equal
//! the final answer, no text is lost, and the arguments of every call are a JSON object.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use llama_gen::chat::{Answer, ChatPrompt, ChatRequest, ChatTemplate, Delta, Message, Tool, ToolCall};
use serde_json::{Value, json};

macro_rules! templates {
    ($($name:literal)*) => {
        [$(include_str!(concat!("../../crates/llama-gen/tests/it/chat/templates/", $name, ".jinja"))),*]
    };
}

/// One template for each way of marking reasoning and calls.
const TEMPLATES: [&str; 18] = templates![
    "chatml" "qwen2.5" "qwen3" "qwen3-coder" "gpt-oss" "command-a" "llama-3.1" "mistral-v3" "ministral-3" "deepseek-r1"
    "kimi-k2" "functionary-3.1" "functionary-3.2" "glm-4.5" "granite-3.3" "hermes-3" "lfm2" "seed-oss"
];

/// The parts that answers are made of.
const PIECES: [&str; 64] = [
    "<think>", "</think>", "<think", "/think>", "\n", "\n\n", " ", "The Loire.", "é", "🦙", "<tool_call>", "</tool_call>",
    "{", "}", "[", "]", "\"", "\\", ":", ",", "\"name\": \"weather\"", "\"arguments\": {\"city\": \"🦙\"}",
    "\"arguments\": \"{\\\"city\\\": 1}\"", "\"arguments\": null", "\"parameters\": {}", "weather", "lookup", "Weather",
    "<function=weather>", "<function=lookup>", "<parameter=city>", "</parameter>", "</function>", "[TOOL_CALLS]", "[ARGS]",
    "[THINK]", "[/THINK]", "<|channel|>", "<|message|>", "analysis", "commentary to=functions.weather", "final", "<|end|>",
    "<|start|>assistant", "<|START_ACTION|>", "<|END_ACTION|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>",
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>", "<|tool_call_end|>",
    "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "7", "-1.5e3", "true", ">>>all\n", ">>>", "<|im_end|>",
    "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>",
    "<|tool_call_start|>[weather(city='🦙')]<|tool_call_end|>", "<seed:think>", "</seed:think>",
];

static PROMPTS: LazyLock<Vec<ChatPrompt>> = LazyLock::new(|| {
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" }, "n": { "type": "integer" } } });
    let tool = Tool::new("weather", "The weather.", schema);
    let with = ChatRequest::new([Message::user("x")]).tools([tool]).parallel_tool_calls(true);
    let requests = [with.clone(), with.parallel_tool_calls(false), ChatRequest::new([Message::user("x")])];
    let render = |text| {
        let template = ChatTemplate::from_jinja_without_model(text, "<s>", "</s>").expect("the template is one of the tests");
        requests.iter().filter_map(|request| template.render(request).ok()).collect::<Vec<_>>()
    };
    TEMPLATES.into_iter().flat_map(render).collect()
});

#[derive(Arbitrary, Debug)]
struct Input {
    which: u8,
    size: u8,
    parts: Vec<Part>,
    /// The length that is kept, in 256ths.
    cut: Option<u8>,
}

#[derive(Arbitrary, Debug)]
enum Part {
    Piece(u8),
    Text(String),
}

impl Input {
    fn text(&self) -> String {
        let part = |part: &Part| match part {
            Part::Piece(n) => PIECES[usize::from(*n) % PIECES.len()].to_owned(),
            Part::Text(text) => text.clone(),
        };
        let text: Vec<char> = self.parts.iter().map(part).collect::<String>().chars().collect();
        let length = self.cut.map_or(text.len(), |cut| text.len() * usize::from(cut) / 256);
        text.into_iter().take(length).collect()
    }
}

fn join(answer: &mut Answer, delta: Delta) {
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
        _ => unreachable!("there are three kinds"),
    }
}

/// Parses an answer in pieces of `size` characters, and returns the joined deltas and the answer.
fn streamed(prompt: &ChatPrompt, text: &str, size: usize) -> (Answer, Answer) {
    let mut parser = prompt.parser();
    let mut joined = Answer::default();
    let characters: Vec<char> = text.chars().collect();
    for piece in characters.chunks(size) {
        let piece: String = piece.iter().collect();
        parser.push(&piece).into_iter().for_each(|delta| join(&mut joined, delta));
        assert_eq!(joined, *parser.so_far());
    }
    let (answer, rest) = parser.finish();
    rest.into_iter().for_each(|delta| join(&mut joined, delta));
    (joined, answer.expect("every answer is read"))
}

fn llamas(text: &str) -> usize {
    text.matches('🦙').count()
}

fuzz_target!(|input: Input| {
    let text = input.text();
    let prompt = &PROMPTS[usize::from(input.which) % PROMPTS.len()];
    let whole = prompt.parse(&text).expect("every answer is read");
    let (joined, answer) = streamed(prompt, &text, usize::from(input.size % 16) + 1);
    assert_eq!(answer, whole);
    assert_eq!((joined.content, joined.reasoning), (answer.content.clone(), answer.reasoning.clone()));
    let mut seen = joined.tool_calls.iter();
    assert!(answer.tool_calls.iter().all(|call| seen.any(|it| it == call)));
    assert!(joined.tool_calls.len() == answer.tool_calls.len() || answer.problem.is_some());
    for call in &answer.tool_calls {
        assert!(serde_json::from_str::<Value>(&call.arguments).is_ok_and(|it| it.is_object()), "{call:?}");
    }
    let kept = answer.tool_calls.iter().map(|call| llamas(&call.arguments) + llamas(&call.name) + llamas(&call.id));
    let kept: usize = kept.sum::<usize>() + llamas(&answer.content) + llamas(&answer.reasoning);
    assert!(kept >= llamas(&text) || answer.problem.is_some(), "{text:?}: {answer:?}");
});
