//! The span of a generation, in a child process: subscribers in one process change what the others are asked.

use std::io::Write;
use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use llama_gen::{GenerationBuilder, Llama};
use test_models::{Tiny, child};
use tracing_subscriber::fmt::format::FmtSpan;

#[test]
fn a_span_has_the_figures_on_whatever_thread() {
    child::alone(module_path!(), "a_span_has_the_figures_on_whatever_thread", close_two_spans);
}

fn eight(llm: &Llama) -> GenerationBuilder {
    llm.generate("hello world").max_tokens(8).temperature(0.0).ignore_eos(true)
}

/// Where spans are written to when they are closed.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn close_two_spans() {
    let llm = Llama::builder(Tiny::Llama.path()).n_ctx(256).n_threads(1).load().unwrap();
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info_span!("request", id = 7).in_scope(|| {
            eight(&llm).complete().unwrap();
            block_on(eight(&llm).complete_async()).unwrap();
            eight(&llm).temperature(1.0).seed(1).completions(2).unwrap().complete().unwrap();
        });
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let closed: Vec<&str> = text.lines().filter(|line| line.contains("}:generation{")).collect();
    assert_eq!(closed.len(), 4, "{text}");
    // The second generation reuses the prompt of the first but for its last token; the second completion all of the first's.
    for (line, reused) in closed.iter().zip([0, 2, 0, 3]) {
        for part in [
            "request{id=7}:generation{prompt_tokens=",
            &format!(" reused_tokens={reused} "),
            " completion_tokens=8 ",
            " reason=MaxTokens ",
            " first_token_ms=",
            " prompt_tokens_per_second=",
            " generation_tokens_per_second=",
        ] {
            assert!(line.contains(part), "{part:?} is not in {line}");
        }
    }
}
