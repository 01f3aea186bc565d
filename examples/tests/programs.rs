//! Runs the programs on tiny models.

use std::env;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use test_models::{Tiny, Tuned, minilm_dir, smollm2};

/// Returns the path of an example, which cargo builds with the tests of this package.
fn program(name: &str) -> PathBuf {
    // target/debug/deps/programs-0123 -> target/debug/examples/name
    let test = env::current_exe().unwrap();
    let folder = test.parent().and_then(|deps| deps.parent()).unwrap().join("examples");
    let program = folder.join(name).with_extension(env::consts::EXE_EXTENSION);
    assert!(
        program.exists(),
        "{} is not there: run `cargo build -p llama-examples --examples`",
        program.display()
    );
    program
}

/// Returns the standard output and the standard error of a program.
#[track_caller]
fn run(name: &str, args: &[&str]) -> (String, String) {
    let output = Command::new(program(name)).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{name}: {}\n{out}\n{error}", output.status);
    (out, error)
}

fn path(tiny: Tiny) -> String {
    tiny.path().display().to_string()
}

#[test]
fn simple_goes_on_from_its_prompt() {
    let (out, _) = run("simple", &[&path(Tiny::Llama), "Once upon a time"]);
    assert!(out.starts_with("Once upon a time") && out.len() > 20, "{out}");
}

#[test]
fn async_stream_shows_both_generations() {
    let (out, _) = run("async_stream", &[&path(Tiny::Llama), "Once upon a time", "hello"]);
    for part in ["[1] read ", "[2] read ", "[1] ended by ", "[2] ended by "] {
        assert!(out.contains(part), "{part:?} is not in {out}");
    }
}

#[test]
fn long_text_goes_on_beyond_the_context() {
    for how in ["shift", "summary"] {
        let (out, _) = run("long_text", &[&path(Tiny::Llama), "Once upon a time", how]);
        assert!(out.contains("[of 257 tokens "), "{out}");
        assert!(out.ends_with("[600 tokens]\n"), "{out}");
    }
}

#[test]
fn batch_answers_in_order_and_computes_the_prefix_once_for_each_worker() {
    let folder = tempfile::tempdir().unwrap();
    let prompts = folder.path().join("prompts.txt");
    std::fs::write(&prompts, "one\ntwo\nthree\nfour\none\n").unwrap();
    let model = path(Tiny::Llama);
    let all = |parallel| {
        let args =
            ["--model", &model, "--prompts", prompts.to_str().unwrap(), "--prefix", "It was the time of "];
        run("batch", &[&args[..], &["--parallel", parallel]].concat())
    };
    let (out, error) = all("1");
    let answers: Vec<&str> = out.lines().collect();
    assert_eq!(answers.len(), 5);
    assert_eq!(answers[0], answers[4]);
    assert_ne!(answers[0], answers[1]);
    assert!(error.starts_with("5 prompts in "), "{error}");
    assert!(!error.contains(": 0 tokens reused"), "{error}");
    assert_eq!(all("3").0, out, "the order is that of the prompts");
}

#[test]
fn parameters_shows_what_a_request_comes_to() {
    let request = r#"{"temp": 0.5, "n_predict": 8, "seed": 1, "logit_bias": {"2": false}}"#;
    let (out, _) = run("parameters", &[&path(Tiny::Llama), "Once upon a time", request]);
    let mut lines = out.lines();
    assert!(lines.next().unwrap().contains(r#""temperature":0.5,"#), "{out}");
    assert_eq!(lines.next(), Some("logit-bias -> top-k -> top-p -> min-p -> temp -> dist"), "{out}");
    assert!(!lines.next().unwrap().is_empty(), "{out}");
}

#[test]
fn stopping_ends_in_every_way() {
    let (out, _) = run("stopping", &[&path(Tiny::Llama), "Once upon a time"]);
    let ends: Vec<&str> =
        out.lines().filter_map(|line| line.rsplit_once(" by ")).map(|(_, end)| end).collect();
    assert_eq!(ends.len(), 6, "{out}");
    for (end, expected) in ends.iter().zip(["MaxTokens", "StopString", "Criterion", "GrammarFinished"]) {
        assert!(end.starts_with(expected), "{out}");
    }
}

#[test]
fn modes_all_run() {
    let llama = path(Tiny::Llama);
    let lines = |args: &[&str]| run("modes", args).0.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&["answers", &llama, "hello world"]).len(), 4);
    assert_eq!(lines(&["beams", &llama, "hello world"]).len(), 4);
    let score = lines(&["score", &llama, "hello world"]);
    assert!(score.last().unwrap().starts_with("perplexity "), "{score:?}");
    let (base, lora) = (Tuned::Base.path(), Tuned::Lora.path());
    let adapted = lines(&["lora", base.to_str().unwrap(), lora.to_str().unwrap(), "hello world"]);
    assert_eq!(adapted.len(), 3);
    assert_ne!(adapted[0][4..], adapted[2][4..]);
    // The tiny model is not trained to fill gaps.
    let output = Command::new(program("modes")).args(["infill", &llama, "a", "b"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("cannot fill in the middle: its vocabulary has no fim_pre"), "{error}");
}

#[test]
fn tokenizer_compares_two() {
    let json = minilm_dir().join("tokenizer.json");
    let (out, _) = run("tokenizer", &[&path(Tiny::Bert), json.to_str().unwrap(), "hello"]);
    let mut lines = out.lines();
    assert!(lines.next().unwrap().contains("it has 30522 tokens, but must have at most the "), "{out}");
    assert!(lines.next().is_some(), "{out}");
    assert_eq!(lines.next(), Some("[101, 7592, 102]"), "{out}");
}

/// Returns the chat bot's output for these lines.
fn say(args: &[&str], lines: &[&str]) -> String {
    let model = smollm2().display().to_string();
    let all = [&[model.as_str(), "--n-ctx", "512", "--n-threads", "1", "--temperature", "0"], args].concat();
    let mut command = Command::new(program("chat"));
    let mut child = command.args(all).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn chat_answers_and_knows_its_commands() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chat.json").display().to_string();
    let save = format!("/save {file}");
    let out = say(
        &["--system", "You are a helpful assistant.", "--max-tokens", "16"],
        &[
            "What is the capital of France?",
            "/undo",
            "/redo",
            "/history",
            "/think off",
            "/think",
            "/nonsense",
            "/save",
            &save,
            "/retry",
            "/undo",
            "/redo",
            "/redo",
            "/system",
            "/help",
            "/quit",
            "never asked",
        ],
    );
    for part in [
        "The capital of France is Paris.",
        "0 turns",
        "1 turns",
        "[system] You are a helpful assistant.",
        "[user] What is the capital of France?\n[assistant] The capital of France is Paris.",
        "/think on or /think off",
        "there is no /nonsense",
        "needs the name of a file",
        "saved as ",
        "there is nothing to redo",
        "/history       what",
    ] {
        assert!(out.contains(part), "{part:?} is not in {out}");
    }
    assert_eq!(out.matches("[0 tokens in memory").count(), 1, "{out}");
    let out = say(&["--load", &file], &["/history", "And of Italy?", "/load nowhere.json"]);
    assert!(out.contains("[assistant] The capital of France is Paris."), "{out}");
    assert!(out.contains("Rome") && !out.contains("[0 tokens in memory"), "{out}");
    assert!(out.contains("nowhere.json could not be saved or loaded: No such file"), "{out}");
}

#[test]
fn session_goes_on_where_the_last_run_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (model, file) = (smollm2().display().to_string(), folder.path().join("s.json").display().to_string());
    let (out, error) = run("session", &[&model, &file, "What is the capital of France?"]);
    assert_eq!(out, "The capital of France is Paris.\n");
    assert!(error.contains("[0 tokens in memory"), "{error}");
    let (out, error) = run("session", &[&model, &file, "And of Italy?"]);
    assert_eq!(out, "The capital of Italy is Rome.\n");
    assert!(!error.contains("[0 tokens in memory"), "{error}");
}
