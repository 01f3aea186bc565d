//! Measures parsing answers while they stream, in microseconds per token, beside llama.cpp's own parser, which parses
//! the whole text again for each token. `cargo bench -p llama-benches --bench answer`.

#![allow(clippy::print_stdout, reason = "the result is what the program is for")]

use std::time::{Duration, Instant};

use anyhow::Result;
use llama_core::chat::ChatTemplates;
use llama_gen::chat::{ChatRequest, ChatTemplate, Message, Tool};
use serde_json::json;

const TEMPLATE: &str = include_str!("../crates/llama-gen/tests/it/chat/templates/qwen3.jinja");
/// The lengths of answers in tokens.
const LENGTHS: [usize; 4] = [1_000, 4_000, 16_000, 64_000];
/// The number of tokens measured with llama.cpp's parser; more would take longer than seconds.
const SAMPLES: usize = 200;

/// The name of a kind of answer, and the function that makes its tokens.
type Form = (&'static str, fn(usize) -> Vec<String>);

fn main() -> Result<()> {
    println!("| answer | tokens | llama.cpp's parser (us a token) | `AnswerParser` (us a token) | ratio |");
    println!("|---|---:|---:|---:|---:|");
    let forms: [Form; 3] =
        [("thoughts, then text", thoughts), ("one long argument", argument), ("many calls", calls)];
    for (name, form) in forms {
        for length in LENGTHS {
            let tokens = form(length);
            let theirs = theirs(&tokens)?;
            let ours = ours(&tokens)?;
            let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
            println!("| {name} | {length} | {} | {} | {ratio:.0} |", micros(theirs), micros(ours));
        }
    }
    Ok(())
}

fn micros(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e6)
}

fn tool() -> serde_json::Value {
    let schema = json!({ "type": "object", "properties": { "text": { "type": "string" } } });
    json!({ "type": "function", "function": { "name": "write", "description": "Writes.", "parameters": schema } })
}

/// Returns an answer of half reasoning, half text, with characters that marks begin with.
fn thoughts(length: usize) -> Vec<String> {
    let words = [" word", " a < b", ",", "\n", " {x}"];
    let some = |n: usize| (0..n).map(move |i| words[i % words.len()].to_owned());
    let marks = |text: &str| [text.to_owned()];
    marks("<think>")
        .into_iter()
        .chain(some(length / 2))
        .chain(marks("</think>\n\n"))
        .chain(some(length - length / 2 - 2))
        .collect()
}

fn argument(length: usize) -> Vec<String> {
    let words = [" word", "\\n", " a < b", " \\\"x\\\"", " {"];
    let some = (0..length - 2).map(|i| words[i % words.len()].to_owned());
    let begin = "<tool_call>\n{\"name\": \"write\", \"arguments\": {\"text\": \"".to_owned();
    core::iter::once(begin).chain(some).chain(["\"}}\n</tool_call>".to_owned()]).collect()
}

/// Returns calls of 16 tokens each.
fn calls(length: usize) -> Vec<String> {
    let call = [
        "<tool_call>",
        "\n",
        "{\"",
        "name",
        "\":",
        " \"",
        "write",
        "\",",
        " \"",
        "arguments",
        "\":",
        " {\"",
        "text\": \"x",
        "\"}",
        "}\n",
        "</tool_call>\n",
    ];
    (0..length).map(|i| call[i % call.len()].to_owned()).collect()
}

fn ours(tokens: &[String]) -> Result<Duration> {
    let tool: Tool = serde_json::from_value(tool())?;
    let request = ChatRequest::new([Message::user("x")]).tools([tool]).parallel_tool_calls(true);
    let prompt = ChatTemplate::from_jinja_without_model(TEMPLATE, "", "")?.render(&request)?;
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let mut parser = prompt.parser();
        let started = Instant::now();
        for token in tokens {
            std::hint::black_box(parser.push(token));
        }
        let (answer, _) = parser.finish();
        best = best.min(started.elapsed());
        assert!(!answer?.content.is_empty() || !parser.so_far().tool_calls.is_empty());
    }
    Ok(best / u32::try_from(tokens.len())?)
}

/// Measures llama.cpp's parser at tokens spread evenly over the answer.
fn theirs(tokens: &[String]) -> Result<Duration> {
    let templates = ChatTemplates::new(None, json!({ "template": TEMPLATE }).to_string())?;
    let request = json!({
        "messages": [{ "role": "user", "content": "x" }], "tools": [tool()], "parallel_tool_calls": true,
    });
    let turn = templates.apply(request.to_string())?;
    let step = (tokens.len() / SAMPLES).max(1);
    let (mut text, mut time, mut n) = (String::new(), Duration::ZERO, 0);
    for (index, token) in tokens.iter().enumerate() {
        text.push_str(token);
        if index % step == 0 {
            let started = Instant::now();
            std::hint::black_box(turn.parse(&text, true)?);
            time += started.elapsed();
            n += 1;
        }
    }
    Ok(time / n)
}
