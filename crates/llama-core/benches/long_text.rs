//! Tokenises texts of growing length with llama.cpp's function and with `Vocab::tokenize`, and prints a table of the
//! time per token, which must not depend on the number of tokens. Run with `cargo bench -p llama-core --bench
//! long_text` on Linux, for its clock.

#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::ffi::CString;
use std::path::Path;
use std::thread;
use std::time::Duration;

use llama_core::{Model, ModelParams, TokenizeOptions};

/// The lengths of the texts in characters.
const LENGTHS: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// The kinds of text: prose, one word, and a text full of user-defined tokens.
const TEXTS: [(&str, &str); 3] = [
    ("prose", "The harbour lay quiet under a thin fog, and the boats came in with 42 crates.\n"),
    ("one word", "a"),
    ("user-defined tokens", "ab,cd\n\n"),
];
const PRE_TOKENIZERS: [&str; 3] = ["llama3", "deepseek-llm", "tekken"];
/// The size of the stack in bytes. llama.cpp needs 321 bytes for each character.
const STACK: usize = 1 << 30;
/// The longest time of a measurement. Measurements that are expected to take longer are left out.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    println!("| pre-tokenizer | text | characters | tokens | llama.cpp, ns a token | here, ns a token |");
    println!("|---|---|---:|---:|---:|---:|");
    for name in PRE_TOKENIZERS {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let path = folder.path().join("vocab.gguf");
        std::fs::write(&path, test_models::bpe_vocabulary(name)).expect("there is room for a file");
        let model =
            Model::load(&path, &ModelParams::default().vocab_only(true)).expect("the vocabulary loads");
        let raw = Raw::load(&path);
        for (what, part) in TEXTS {
            measure(&model, &raw, name, what, part);
        }
    }
}

fn measure(model: &Model, raw: &Raw, name: &str, what: &str, part: &str) {
    let mut expected = Duration::ZERO;
    for length in LENGTHS {
        let text = part.repeat(length / part.chars().count());
        let vocab = model.vocab();
        let count = || vocab.tokenize(&text, TokenizeOptions::default()).map_or(0, |tokens| tokens.len());
        let (n_tokens, here) = (count(), lowest(count));
        let each = |time: Duration| time.as_nanos() / n_tokens.max(1) as u128;
        let there = if expected < PATIENCE {
            let there = lowest(|| raw.tokenize(&text));
            assert_eq!(raw.tokenize(&text), n_tokens, "{name} {what}");
            // At worst the time grows by the square.
            expected = there * 100;
            each(there).to_string()
        } else {
            "not taken".to_owned()
        };
        println!("| {name} | {what} | {length} | {n_tokens} | {there} | {} |", each(here));
    }
}

/// Returns the processor time of a call: the lowest of three averages, each over calls for a fifth of a second.
fn lowest(call: impl Fn() -> usize) -> Duration {
    let mut lowest = Duration::MAX;
    for _ in 0..3 {
        let (start, mut calls) = (processor_time(), 0);
        loop {
            call();
            calls += 1;
            let time = processor_time() - start;
            if time > Duration::from_millis(200) {
                lowest = lowest.min(time / calls);
                break;
            }
        }
        if lowest > Duration::from_secs(2) {
            break;
        }
    }
    lowest
}

/// Returns the processor time of all threads of this process, in steps of 10 ms. Wall time is unreliable on a busy
/// machine.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("it is a number"));
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// A model of the C API.
struct Raw(*mut llama_sys::llama_model);

// SAFETY: a vocabulary is only read (llama-vocab.cpp), and only one thread at a time uses the model here.
unsafe impl Sync for Raw {}

impl Raw {
    fn load(path: &Path) -> Self {
        let path = CString::new(path.to_str().expect("the path is text")).expect("it has no NUL");
        // SAFETY: the path is NUL-terminated, and the parameters are llama.cpp's defaults.
        let model = unsafe {
            let mut params = llama_sys::llama_model_default_params();
            params.vocab_only = true;
            llama_sys::llama_model_load_from_file(path.as_ptr(), params)
        };
        assert!(!model.is_null(), "the vocabulary does not load");
        Self(model)
    }

    /// Returns the number of tokens of a text that is passed as a whole, on a large enough stack.
    fn tokenize(&self, text: &str) -> usize {
        let run = || {
            let mut tokens = vec![0; text.len() + 16];
            // SAFETY: the model is valid, and the buffers have the lengths that are passed.
            unsafe {
                llama_sys::llama_tokenize(
                    llama_sys::llama_model_get_vocab(self.0),
                    text.as_ptr().cast(),
                    i32::try_from(text.len()).expect("the text is short"),
                    tokens.as_mut_ptr(),
                    i32::try_from(tokens.len()).expect("the text is short"),
                    true,
                    false,
                )
            }
        };
        thread::scope(|scope| {
            let spawned = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run);
            usize::try_from(spawned.expect("there is a thread").join().expect("it does not panic"))
                .unwrap_or(0)
        })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: the model was loaded by this program, and nothing uses it any more.
        unsafe { llama_sys::llama_model_free(self.0) };
    }
}
