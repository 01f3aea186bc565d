//! Any answer is read without a crash, in pieces of any size, and what is shown on the way is what there is in the end.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use llama_gen::chat::{Answer, ChatPrompt, ChatRequest, ChatTemplate, Delta, Message};

/// One of each way to mark thoughts and calls.
const TEMPLATES: [&str; 4] = [
    include_str!("../../crates/llama-gen/tests/chat/templates/chatml.jinja"),
    include_str!("../../crates/llama-gen/tests/chat/templates/qwen3.jinja"),
    include_str!("../../crates/llama-gen/tests/chat/templates/gpt-oss.jinja"),
    include_str!("../../crates/llama-gen/tests/chat/templates/command-a.jinja"),
];

static PROMPTS: LazyLock<Vec<ChatPrompt>> = LazyLock::new(|| {
    let request = ChatRequest::new([Message::user("x")]);
    let render = |text| ChatTemplate::from_text(text, "<s>", "</s>").and_then(|it| it.render(&request));
    TEMPLATES.into_iter().map(|text| render(text).expect("the template is one of the tests")).collect()
});

/// The text of the deltas.
fn content(deltas: &[Delta]) -> String {
    deltas
        .iter()
        .filter_map(|delta| if let Delta::Content(text) = delta { Some(text.as_str()) } else { None })
        .collect()
}

fuzz_target!(|input: (u8, u8, String)| {
    let (which, size, text) = input;
    let prompt = &PROMPTS[usize::from(which) % PROMPTS.len()];
    let mut parser = prompt.parser();
    let mut shown = String::new();
    let characters: Vec<char> = text.chars().collect();
    for piece in characters.chunks(usize::from(size % 16) + 1) {
        shown += &content(&parser.push(&piece.iter().collect::<String>()));
    }
    let (answer, rest) = parser.finish();
    shown += &content(&rest);
    if let Ok(Answer { content, .. }) = answer {
        assert_eq!(shown, content);
    }
});
