//! Answers of any kind in pieces of any size: nothing panics, and the joined pieces equal the final answer.

use std::sync::LazyLock;

use llama_gen::chat::{Answer, ChatPrompt, ChatRequest, Message, Tool};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::templates::{join, load};

/// One template for each way of marking reasoning and calls.
const NAMES: [&str; 12] = [
    "chatml",
    "qwen3",
    "qwen3-coder",
    "gpt-oss",
    "command-a",
    "llama-3.1",
    "mistral-v3",
    "ministral-3",
    "deepseek-r1",
    "kimi-k2",
    "functionary-3.2",
    "glm-4.5",
];

static PROMPTS: LazyLock<Vec<ChatPrompt>> = LazyLock::new(|| {
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" }, "n": { "type": "integer" } } });
    let tool = Tool::new("weather", "The weather.", schema);
    let request = ChatRequest::new([Message::user("x")]).tools([tool]).parallel_tool_calls(true);
    NAMES.iter().map(|name| load(name).render(&request).unwrap()).collect()
});

/// The parts that answers are made of.
const PIECES: [&str; 44] = [
    "<think>",
    "</think>",
    "<think",
    "/think>",
    "\n",
    "\n\n",
    " ",
    "The Loire.",
    "é",
    "🦙",
    "<tool_call>",
    "</tool_call>",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    ":",
    ",",
    "\"name\": \"weather\"",
    "\"arguments\": {\"city\": \"Paris\"}",
    "\"parameters\": {}",
    "weather",
    "<function=weather>",
    "<parameter=city>",
    "</parameter>",
    "</function>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "[THINK]",
    "[/THINK]",
    "<|channel|>",
    "<|message|>",
    "analysis",
    "final",
    "<|end|>",
    "<|START_ACTION|>",
    "<|END_ACTION|>",
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>",
    "<arg_key>",
    "7",
    ">>>all\n",
    "<|im_end|>",
];

/// Parses an answer in pieces of `size` characters. Returns the joined deltas and the final answer.
fn read(prompt: &ChatPrompt, text: &str, size: usize) -> (Answer, llama_gen::Result<Answer>) {
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
    assert_eq!((joined.clone(), parser.text()), (parser.so_far().clone(), text));
    (joined, answer)
}

/// Checks the properties that hold for every answer.
fn check(prompt: &ChatPrompt, text: &str, joined: Answer, answer: Answer) {
    assert_eq!(answer, prompt.parse(text).unwrap(), "{text:?}");
    assert_eq!(
        (joined.content, joined.reasoning),
        (answer.content.clone(), answer.reasoning.clone()),
        "{text:?}"
    );
    // The deltas may have more calls than the answer, because a model may not finish a call.
    let mut seen = joined.tool_calls.iter();
    assert!(
        answer.tool_calls.iter().all(|call| seen.any(|it| it == call)),
        "{text:?}: {:?}",
        joined.tool_calls
    );
    let seen = joined.tool_calls.len();
    assert!(seen == answer.tool_calls.len() || answer.problem.is_some(), "{text:?}: {answer:?}");
    for call in &answer.tool_calls {
        let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
        assert!(arguments.is_object(), "{text:?}: {call:?}");
    }
    // No format uses this picture in a mark, so it is never lost.
    let shown = [
        answer.content,
        answer.reasoning,
        answer.tool_calls.iter().map(|it| it.arguments.as_str()).collect(),
    ];
    let count = |text: &str| text.matches('🦙').count();
    let kept: usize = shown.iter().map(|text| count(text)).sum();
    assert!(kept >= count(text) || answer.problem.is_some(), "{text:?}: {shown:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_answer_is_read_in_any_pieces(
        which in 0..NAMES.len(),
        pieces in proptest::collection::vec(proptest::sample::select(PIECES.as_slice()), 0..12),
        size in 1_usize..9,
    ) {
        let text = pieces.concat();
        let prompt = &PROMPTS[which];
        let (joined, answer) = read(prompt, &text, size);
        check(prompt, &text, joined, answer.unwrap());
    }

    #[test]
    fn any_text_is_read(which in 0..NAMES.len(), text in any::<String>(), size in 1_usize..9) {
        let (joined, answer) = read(&PROMPTS[which], &text, size);
        check(&PROMPTS[which], &text, joined, answer.unwrap());
    }
}
