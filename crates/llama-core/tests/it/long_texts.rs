//! Texts of any length with every pre-tokenizer of the tree, on a thread with Rust's default stack.

use core::ops::ControlFlow;
use std::thread;

use llama_core::{ErrorKind, Model, ModelParams, TokenizeOptions};
use test_models::{Tiny, TinyVocab};

/// Runs of one character, and mixtures.
const RUNS: &[&str] = &[
    "a",
    "A",
    " ",
    "\n",
    "=",
    "中",
    "7",
    "😀",
    "\u{301}",
    "!?",
    "é",
    "\t",
    "\u{3000}",
    "٣",
    "ab ",
    "ab,cd\n\n",
    "中a ",
    "<user>",
    "한국어 ",
    "e\u{301}",
    "'s",
];
/// The number of runs that are single characters of different classes.
const SINGLE: usize = 12;
const MILLION: usize = 1_000_000;

fn plain() -> TokenizeOptions {
    TokenizeOptions::default().add_special(false)
}

/// Loads a vocabulary with that pre-tokenizer.
fn load(pre_tokenizer: &str) -> Model {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vocab.gguf");
    std::fs::write(&path, test_models::bpe_vocabulary(pre_tokenizer)).unwrap();
    Model::load(path, &ModelParams::default().vocab_only(true)).unwrap()
}

/// Returns the bytes of the tokens of a text.
fn spelled(model: &Model, text: &str) -> Result<Vec<u8>, llama_core::Error> {
    let vocab = model.vocab();
    let mut bytes = Vec::new();
    for token in vocab.tokenize(text, plain())? {
        vocab.append_token_bytes(token, true, &mut bytes)?;
    }
    Ok(bytes)
}

/// Whether a refusal is one that the docs name.
fn is_documented(error: &llama_core::Error) -> bool {
    matches!(error.kind(), ErrorKind::Tokenize { reason, .. }
        if reason.contains("by the square") || reason.contains("with the square") || reason.contains("put line breaks"))
}

/// Tokenises repetitions of `run`, up to this many characters, on a new thread. Returns whether it was possible.
fn walk(model: &Model, name: &str, run: &str, characters: usize) -> bool {
    let text = run.repeat(characters / run.chars().count());
    let here = thread::scope(|scope| {
        let spawned =
            thread::Builder::new().stack_size(2 << 20).spawn_scoped(scope, || spelled(model, &text));
        spawned.unwrap().join().unwrap()
    });
    match here {
        // These change what they read: the one drops white space, the other writes it as one space and is all lower case.
        Ok(_) if ["whitespace", "soprano"].contains(&name) => true,
        Ok(spelled) => {
            // Those that do not write bytes as characters find the character that the vocabulary writes a byte as.
            let spelled = String::from_utf8(spelled)
                .unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect());
            let expected = text.replace('\u{2581}', " ");
            let spelled = spelled.replace('\u{2581}', " ");
            // Some put a mark for a space in front of a line.
            let is_same = spelled == expected
                || name == "mmbert" && spelled.replace(' ', "") == expected.replace(' ', "");
            assert!(is_same, "{name} {run:?}: {} and {} bytes", spelled.len(), expected.len());
            true
        }
        Err(error) => {
            assert!(is_documented(&error), "{name} {run:?}: {error}");
            false
        }
    }
}

#[test]
fn every_pre_tokenizer_takes_every_run() {
    let names = test_models::pre_tokenizers();
    assert_eq!(names.len(), 98);
    let mut refused = Vec::new();
    for name in names {
        let model = load(&name);
        for run in &RUNS[..SINGLE] {
            if !walk(&model, &name, run, 6_500) {
                refused.push(format!("{name} {run:?}"));
            }
        }
    }
    assert!(refused.is_empty(), "{refused:?}");
}

/// Tries some combinations for each way of dividing a text and each kind of expression. With `LLAMA_LONG_TEXTS` set,
/// tries every run with every pre-tokenizer.
#[test]
fn a_million_characters() {
    const SOME: [(&str, &str); 10] = [
        ("exaone-moe", "a"),
        ("superbpe", "7"),
        ("jais-2", " "),
        ("tekken-num3", "7"),
        ("gpt-4o", "A"),
        ("bloom", "中"),
        ("falcon", "="),
        ("deepseek-llm", " "),
        ("smollm", "<user>"),
        ("tekken-num3", "٣"),
    ];
    let all = std::env::var_os("LLAMA_LONG_TEXTS").is_some();
    let names = if all { test_models::pre_tokenizers() } else { Vec::new() };
    let every = names.iter().flat_map(|name| RUNS.iter().map(move |run| (name.as_str(), *run)));
    for (name, run) in SOME.into_iter().chain(every) {
        let is_possible = walk(&load(name), name, run, MILLION);
        // Digits that are not ASCII's, whose groups of three cannot be told from here.
        assert_eq!(is_possible, (name, run) != ("tekken-num3", "٣"), "{name} {run:?}");
    }
}

#[test]
fn a_million_letters_with_the_vocabulary_that_ended_the_process() {
    let model = load("deepseek-llm");
    let tokens = model.vocab().tokenize(&"a".repeat(MILLION), plain()).unwrap();
    // Merged to eight letters each.
    assert_eq!(tokens.len(), MILLION / 8);
    assert!(tokens.iter().all(|token| *token == tokens[0]));
}

#[test]
fn every_kind_of_vocabulary_takes_every_run() {
    let tiny = [Tiny::Llama, Tiny::Gemma3, Tiny::Qwen2, Tiny::Bert, Tiny::T5].map(Tiny::path);
    let others = [TinyVocab::Rwkv, TinyVocab::Plamo2, TinyVocab::Plamo3].map(TinyVocab::path);
    for path in tiny.into_iter().chain(others) {
        let model = Model::load(&path, &ModelParams::default().vocab_only(true)).unwrap();
        for run in RUNS {
            let text = run.repeat(100_000 / run.len());
            let tokens = model.vocab().tokenize(&text, plain()).unwrap();
            // BERT's takes white space and accents away.
            let is_dropped = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{301}').is_empty();
            assert!(is_dropped || !tokens.is_empty(), "{} {run:?}", path.display());
        }
    }
}

#[test]
fn what_cannot_be_worked_through_says_why_and_what_to_do() {
    let refusal = |name: &str, text: &str| {
        let error = load(name).vocab().tokenize(text, plain()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Tokenize { .. }), "{error:?}");
        error.to_string()
    };
    assert_eq!(
        refusal("bloom", &"a".repeat(2_100_000)),
        "tokenising a text failed: this model's pre-tokenizer cannot divide a run of 2100000 characters, but the run must have at \
         most 2088960: put line breaks into the text"
    );
    assert_eq!(
        refusal("deepseek-llm", &format!("{}😀", " ".repeat(5000))),
        "tokenising a text failed: 5000 spaces in a row take this model's pre-tokenizer time that grows with the square of \
         their number: shorten such runs to 1000 characters, or put a line break into them"
    );
}

#[test]
fn a_long_text_is_cancelled_between_its_pieces() {
    for name in ["gpt-2", "deepseek-llm", "superbpe"] {
        let model = load(name);
        let text = "one two 3 three\nfour 44 five ".repeat(20_000);
        let mut asked = 0;
        let mut go_on = || {
            asked += 1;
            if asked > 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let error = model.vocab().tokenize_with(&text, plain(), &mut go_on).unwrap_err();
        let ErrorKind::TokenizeCancelled { done, total, .. } = *error.kind() else { panic!("{error:?}") };
        assert_eq!((asked, total), (4, text.len()), "{name}");
        assert!((100_000..200_000).contains(&done), "{name}: {done}");
        assert_eq!(
            error.to_string(),
            format!("tokenising a text was cancelled after {done} of {total} bytes")
        );
    }
    // A short text is asked about once.
    let error =
        load("gpt-2").vocab().tokenize_with("a", plain(), &mut || ControlFlow::Break(())).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TokenizeCancelled { done: 0, total: 1, .. }), "{error:?}");
}

#[test]
fn a_panic_of_the_caller_is_passed_on() {
    let model = load("deepseek-llm");
    let text = "a b ".repeat(50_000);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        model.vocab().tokenize_with(&text, plain(), &mut || panic!("not now"))
    }));
    assert_eq!(result.unwrap_err().downcast_ref::<&str>(), Some(&"not now"));
}
