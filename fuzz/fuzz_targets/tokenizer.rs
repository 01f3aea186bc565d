//! Tokenises any text with every pre-tokenizer and kind of vocabulary: no crash, equal tokens in pieces and at once,
//! and the original text back where that is promised.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use llama_core::{ErrorKind, Model, ModelParams, TokenizeOptions};
use test_models::{Tiny, TinyVocab};

struct Vocabulary {
    name: String,
    model: Model,
}

fn load(name: String, bytes: &[u8]) -> Vocabulary {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vocab.gguf");
    std::fs::write(&path, bytes).unwrap();
    let model = Model::load(path, &ModelParams::default().vocab_only(true)).unwrap();
    Vocabulary { name, model }
}

fn vocabularies() -> &'static [Vocabulary] {
    static ALL: OnceLock<Vec<Vocabulary>> = OnceLock::new();
    ALL.get_or_init(|| {
        let tiny = [Tiny::Llama, Tiny::Gemma3, Tiny::Qwen2, Tiny::Bert, Tiny::T5];
        let tiny = tiny.into_iter().map(|tiny| load(tiny.name().to_owned(), &tiny.bytes()));
        let others = [TinyVocab::Rwkv, TinyVocab::Plamo2, TinyVocab::Plamo3];
        let others = others.into_iter().map(|other| load(other.name().to_owned(), &other.bytes()));
        let names = test_models::pre_tokenizers().into_iter();
        let named = names.map(|name| load(name.clone(), &test_models::bpe_vocabulary(&name)));
        tiny.chain(others).chain(named).collect()
    })
}

/// Returns a text of a few repeated parts, because runs are expensive.
fn text(parts: &[(&str, u8)]) -> String {
    let mut text = String::new();
    for (part, times) in parts {
        text.push_str(&part.repeat(usize::from(*times % 64) + 1));
    }
    text.truncate(text.floor_char_boundary(6000));
    text
}

fuzz_target!(|input: (u8, bool, bool, u8, Vec<(&str, u8)>)| {
    let (vocabulary, add, parse, piece, parts) = input;
    let all = vocabularies();
    let Vocabulary { name, model } = &all[usize::from(vocabulary) % all.len()];
    let text = text(&parts);
    let vocab = model.vocab();
    let options = TokenizeOptions::default().add_special(add).parse_special(parse);
    let at_once = vocab.tokenize(&text, options.piece_size(usize::MAX));
    let in_pieces = vocab.tokenize(&text, options.piece_size(usize::from(piece)));
    let tokens = match (at_once, in_pieces) {
        (Ok(at_once), Ok(in_pieces)) => {
            assert_eq!(at_once, in_pieces, "{name} {options:?} {text:?}");
            at_once
        }
        (Err(at_once), Err(in_pieces)) => {
            for error in [at_once, in_pieces] {
                assert!(matches!(error.kind(), ErrorKind::Tokenize { .. }), "{name} {text:?}: {error}");
            }
            return;
        }
        (at_once, in_pieces) => panic!("{name} {options:?} {text:?}: {at_once:?} and {in_pieces:?}"),
    };
    let n_tokens = i32::try_from(vocab.n_tokens()).unwrap();
    assert!(tokens.iter().all(|token| (0..n_tokens).contains(&token.get())), "{name} {text:?}");
    if !add && matches!(name.as_str(), "qwen2" | "gpt-2" | "llama3" | "deepseek-llm" | "tekken") {
        let mut bytes = Vec::new();
        tokens.iter().for_each(|token| vocab.append_token_bytes(*token, true, &mut bytes).unwrap());
        assert_eq!(bytes, text.as_bytes(), "{name}");
    }
});
