//! Tokenising and detokenising.

use crate::greedy::{ids, load, load_smollm2};
use llama_core::vocab::VocabKind;
use llama_core::{DetokenizeOptions, ErrorKind, Model, ModelParams, Token, TokenizeOptions};
use proptest::prelude::*;
use test_models::{Tiny, rewritten};

/// Loads a model's vocabulary once for all cases of a property.
fn vocabulary(path: std::path::PathBuf) -> Model {
    Model::load(path, &ModelParams::default().vocab_only(true)).unwrap()
}

fn plain() -> TokenizeOptions {
    TokenizeOptions::default().add_special(false)
}

fn tokenize(model: &Model, text: &str, options: TokenizeOptions) -> Vec<i32> {
    ids(&model.vocab().tokenize(text, options).unwrap())
}

fn round_trip(model: &Model, text: &str) -> String {
    let tokens = model.vocab().tokenize(text, plain()).unwrap();
    model.vocab().detokenize(&tokens, DetokenizeOptions::default().unparse_special(true)).unwrap()
}

#[test]
fn smollm2_gives_the_ids_of_its_makers() {
    let model = vocabulary(test_models::smollm2());
    let cases: [(&str, &[i32]); 8] = [
        ("", &[]),
        ("The capital of France is", &[504, 3575, 282, 4649, 314]),
        ("Hello, world!", &[19556, 28, 905, 17]),
        (" two  spaces", &[827, 216, 5600]),
        ("2024", &[34, 32, 34, 36]),
        ("naïve café", &[3546, 46494, 37366]),
        ("日本語", &[23274, 115, 40993, 179, 120, 248]),
        ("🦙\n\n\tx", &[10813, 116, 243, 1116, 197, 104]),
    ];
    for (text, expected) in cases {
        assert_eq!(tokenize(&model, text, TokenizeOptions::default()), expected, "{text:?}");
        assert_eq!(round_trip(&model, text), text);
    }
}

#[test]
fn special_tokens_are_parsed_only_on_request() {
    let model = vocabulary(test_models::smollm2());
    let text = "<|im_start|>user\nHi<|im_end|>";
    let parsed = tokenize(&model, text, plain().parse_special(true));
    assert_eq!(parsed, [1, 4093, 198, 26843, 2]);
    let literal = tokenize(&model, text, plain());
    assert!(!literal.contains(&1) && !literal.contains(&2), "{literal:?}");
    assert_eq!(round_trip(&model, text), text);
    // Only with the names written out do both give the text.
    let vocab = model.vocab();
    let tokens: Vec<Token> = parsed.iter().copied().map(Token::new).collect();
    let detokenize = |options| vocab.detokenize(&tokens, options).unwrap();
    assert_eq!(detokenize(DetokenizeOptions::default().unparse_special(true)), text);
    assert_eq!(detokenize(DetokenizeOptions::default()), "user\nHi");
}

#[test]
fn every_control_token_needs_the_request() {
    for model in
        [test_models::smollm2(), Tiny::Llama.path(), Tiny::Qwen2.path(), Tiny::T5.path()].map(vocabulary)
    {
        let vocab = model.vocab();
        let mut seen = 0;
        for token in (0..vocab.n_tokens()).map(|id| Token::new(i32::try_from(id).unwrap())) {
            if !vocab.is_control(token).unwrap() {
                continue;
            }
            let name = vocab.text(token).unwrap();
            let found = tokenize(&model, &name, plain());
            assert!(!found.contains(&token.get()), "{name} in {found:?}");
            assert!(tokenize(&model, &name, plain().parse_special(true)).contains(&token.get()), "{name}");
            seen += 1;
        }
        assert!(seen >= 2, "{model:?} has {seen} control tokens");
    }
}

#[test]
fn special_tokens_are_added_on_request() {
    let cases = [
        (Tiny::Llama, vec![1], vec![]),
        (Tiny::Qwen2, vec![], vec![]),
        (Tiny::Bert, vec![2], vec![3]),
        (Tiny::T5, vec![], vec![1]),
    ];
    for (tiny, before, after) in cases {
        let model = vocabulary(tiny.path());
        let vocab = model.vocab();
        assert_eq!((vocab.adds_bos(), vocab.adds_eos()), (!before.is_empty(), tiny == Tiny::T5), "{tiny}");
        for text in ["hello world", ""] {
            let without = tokenize(&model, text, plain());
            let with = tokenize(&model, text, TokenizeOptions::default());
            assert_eq!(with, [before.clone(), without, after.clone()].concat(), "{tiny} {text:?}");
        }
    }
}

#[test]
fn added_tokens_can_be_removed() {
    let model = vocabulary(Tiny::Bert.path());
    let vocab = model.vocab();
    let tokens = vocab.tokenize("hello world", TokenizeOptions::default()).unwrap();
    let named = DetokenizeOptions::default().unparse_special(true);
    assert_eq!(vocab.detokenize(&tokens, named).unwrap(), "[CLS] hello world[SEP]");
    assert_eq!(vocab.detokenize(&tokens, named.remove_special(true)).unwrap(), " hello world[SEP]");
}

/// Returns a tiny model in which a token has another type. The numbers are those of `enum llama_token_type`.
fn with_type(tiny: Tiny, token: usize, kind: i32) -> Model {
    let bytes = rewritten::with_metadata(tiny, |metadata| {
        let mut kinds: Vec<i32> = metadata.get::<&[i32]>("tokenizer.ggml.token_type").unwrap().to_vec();
        kinds[token] = kind;
        metadata.set("tokenizer.ggml.token_type", kinds);
    });
    let (_folder, path) = rewritten::saved(&bytes);
    vocabulary(path)
}

#[test]
fn what_word_piece_and_unigram_do_not_know_is_an_ordinary_result() {
    // Unknown, control, user-defined.
    for kind in [2, 3, 4] {
        let bert = with_type(Tiny::Bert, 1, kind);
        let love = tokenize(&bert, "I love llamas", plain());
        let all = tokenize(&bert, "I love llamas 🦙!", TokenizeOptions::default());
        let end = tokenize(&bert, "!", plain());
        assert_eq!(all, [vec![2], love, vec![1], end, vec![3]].concat(), "type {kind}");
        // Its name is text, but for a token that its maker defined.
        let name = tokenize(&bert, "[UNK]", plain());
        assert_eq!(name.contains(&1), kind == 4, "type {kind}: {name:?}");
        assert_eq!(tokenize(&bert, "[UNK]", plain().parse_special(true)), [1], "type {kind}");

        let t5 = with_type(Tiny::T5, 2, kind);
        assert_eq!(tokenize(&t5, "the 🦙🦙", plain()).last(), Some(&2), "type {kind}");
        let tokens = [Token::new(2)];
        for (model, text) in [(&bert, "[UNK]"), (&t5, "<unk>")] {
            let token = if text == "[UNK]" { [Token::new(1)] } else { tokens };
            let options = DetokenizeOptions::default().unparse_special(true);
            assert_eq!(model.vocab().detokenize(&token, options).unwrap().trim(), text, "type {kind}");
            let hidden = model.vocab().token_to_bytes(token[0], false).unwrap();
            assert_eq!(hidden.is_empty(), kind != 4, "{text} of type {kind}");
        }
    }
}

#[test]
fn padding_and_masks_of_any_type_are_no_error() {
    for (tiny, tokens) in
        [(Tiny::Bert, &[0, 4][..]), (Tiny::T5, &[0]), (Tiny::Llama, &[0]), (Tiny::Qwen2, &[])]
    {
        for (token, kind) in tokens.iter().flat_map(|token| [2, 3, 4].map(|kind| (*token, kind))) {
            let model = with_type(tiny, token, kind);
            let name = model.vocab().text(Token::new(i32::try_from(token).unwrap())).unwrap();
            let text = format!("the river {name} is 🦙 漢字");
            let tokens = tokenize(&model, &text, plain());
            let is_found = tokens.contains(&i32::try_from(token).unwrap());
            assert!(kind == 4 || !is_found, "{tiny} {name} of type {kind}: {tokens:?}");
            assert!(tokens.len() > 4, "{tiny} {name} of type {kind}: {tokens:?}");
        }
    }
}

#[test]
fn nul_bytes_are_text() {
    for model in [test_models::smollm2(), Tiny::Llama.path(), Tiny::Qwen2.path()].map(vocabulary) {
        for text in ["\0", "a\0b", "\0\0\0", "end\0"] {
            let tokens = model.vocab().tokenize(text, plain()).unwrap();
            let bytes = model.vocab().detokenize_bytes(&tokens, DetokenizeOptions::default()).unwrap();
            assert_eq!(bytes, text.as_bytes(), "{model:?}");
        }
    }
}

#[test]
fn pieces_of_the_whole_vocabulary_joined_are_its_text() {
    // Not of GPT-2's, whose detokenizer takes spaces before punctuation away (llama-vocab.cpp, clean_spaces).
    for path in [test_models::smollm2(), Tiny::Llama.path(), Tiny::Gemma3.path(), Tiny::T5.path()] {
        let model = vocabulary(path);
        let vocab = model.vocab();
        let all: Vec<Token> =
            (0..vocab.n_tokens()).map(|id| Token::new(i32::try_from(id).unwrap())).collect();
        for special in [false, true] {
            let mut joined = Vec::new();
            for token in &all {
                let before = joined.len();
                vocab.append_token_bytes(*token, special, &mut joined).unwrap();
                assert_eq!(joined[before..], vocab.token_to_bytes(*token, special).unwrap());
            }
            let options = DetokenizeOptions::default().unparse_special(special);
            let whole = vocab.detokenize_bytes(&all, options).unwrap();
            assert!(
                whole == joined,
                "{model:?} special {special}: {} and {} bytes",
                whole.len(),
                joined.len()
            );
        }
    }
}

#[test]
fn control_tokens_have_bytes_only_by_name() {
    let model = vocabulary(test_models::smollm2());
    let vocab = model.vocab();
    assert_eq!(vocab.token_to_bytes(Token::new(2), true).unwrap(), b"<|im_end|>");
    assert_eq!(vocab.token_to_bytes(Token::new(2), false).unwrap(), b"");
    assert_eq!(vocab.token_to_bytes(Token::new(7042), false).unwrap(), b" Paris");
}

#[test]
fn every_kind_of_vocabulary_reads_and_writes() {
    let kinds = [
        (Tiny::Llama, VocabKind::Spm),
        (Tiny::Qwen2, VocabKind::Bpe),
        (Tiny::Bert, VocabKind::Wpm),
        (Tiny::T5, VocabKind::Ugm),
    ];
    for (tiny, kind) in kinds {
        let model = vocabulary(tiny.path());
        assert_eq!(model.vocab().kind(), kind);
        assert_eq!(round_trip(&model, "the world is here").trim(), "the world is here", "{tiny}");
        for token in (0..model.vocab().n_tokens()).map(|id| Token::new(i32::try_from(id).unwrap())) {
            assert!(model.vocab().score(token).unwrap().is_finite(), "{tiny} {token}");
            model.vocab().attributes(token).unwrap();
        }
    }
}

#[test]
fn long_texts() {
    const MEGABYTE: usize = 1 << 20;
    let smollm2 = vocabulary(test_models::smollm2());
    let spm = vocabulary(Tiny::Llama.path());
    let texts = [
        "The quick brown fox jumps over the lazy dog. ".repeat(MEGABYTE / 45 + 1),
        // Runs without any place to divide them.
        "a".repeat(MEGABYTE / 4),
        "7".repeat(MEGABYTE / 4),
        " ".repeat(MEGABYTE / 4),
        "!?".repeat(MEGABYTE / 8),
        "\u{1f999}".repeat(MEGABYTE / 16),
    ];
    for text in &texts {
        for model in [&smollm2, &spm] {
            assert!(round_trip(model, text) == *text, "{model:?} {:?}...", &text[..4]);
        }
    }
    assert_eq!(tokenize(&smollm2, &texts[0], plain()).len(), 233_021);
}

#[test]
fn detokenising_says_where_it_cannot() {
    let model = load(Tiny::Qwen2);
    let tokens = [Token::new(5), Token::new(404), Token::new(-1)];
    let error = model.vocab().detokenize(&tokens, DetokenizeOptions::default()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidToken { token: 404, n_vocab: 404, .. }), "{error:?}");
    assert_eq!(model.vocab().detokenize(&[], DetokenizeOptions::default()).unwrap(), "");
}

#[test]
fn half_a_character_is_kept_as_bytes_and_replaced_as_text() {
    let model = load_smollm2();
    let vocab = model.vocab();
    let tokens = vocab.tokenize("\u{1f999}", plain()).unwrap();
    assert!(tokens.len() > 1);
    let half = &tokens[..1];
    let bytes = vocab.detokenize_bytes(half, DetokenizeOptions::default()).unwrap();
    assert!("\u{1f999}".as_bytes().starts_with(&bytes) && core::str::from_utf8(&bytes).is_err());
    assert_eq!(vocab.detokenize(half, DetokenizeOptions::default()).unwrap(), "\u{fffd}");
}

/// Generates any text, with marks and names that tokenizers treat specially more often than by chance.
fn any_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        any::<String>(),
        "[a-zA-Z ]{0,20}",
        "\\PC{0,8}",
        Just("<|im_end|>".to_owned()),
        Just("<s>".to_owned()),
        Just("<0x0A>".to_owned()),
        Just("  ".to_owned()),
        Just(" 's 'LL \r\n".to_owned()),
        Just("\u{120}\u{10a}".to_owned()),
        Just("e\u{301}\u{200d}\u{feff}".to_owned()),
    ];
    proptest::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bpe_gives_back_every_text(texts in proptest::collection::vec(any_text(), 4)) {
        thread_local!(static MODEL: Model = vocabulary(test_models::smollm2()));
        for text in texts {
            prop_assert_eq!(MODEL.with(|model| round_trip(model, &text)), text);
        }
    }

    #[test]
    fn spm_gives_back_every_text_but_its_own_mark(texts in proptest::collection::vec(any_text(), 4)) {
        thread_local!(static MODEL: Model = vocabulary(Tiny::Llama.path()));
        for text in texts {
            // The mark stands for a space inside the tokenizer (llama-vocab.cpp, llama_unescape_whitespace).
            let expected = text.replace('\u{2581}', " ");
            prop_assert_eq!(MODEL.with(|model| round_trip(model, &text)), expected);
        }
    }

    #[test]
    fn user_text_never_gives_a_control_token(text in any_text(), end in "<\\|?[a-z_/]{1,8}\\|?>") {
        thread_local!(static MODEL: Model = vocabulary(test_models::smollm2()));
        MODEL.with(|model| {
            let vocab = model.vocab();
            let tokens = vocab.tokenize(&format!("{text}{end}<|im_end|>{text}"), plain()).unwrap();
            assert!(tokens.iter().all(|token| !vocab.is_control(*token).unwrap()));
        });
    }
}
