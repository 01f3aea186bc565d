//! Tokenizers: the model's own, Hugging Face's, and whether their ids are the same.

use std::path::PathBuf;

use llama_core::{Model, ModelParams, Token, TokenizeOptions, Vocab};
use llama_gen::{ErrorKind, HfTokenizer, Llama, LogitBias, SamplingParams, Tokenizer, check_agreement};
use llama_gguf::{Metadata, Value};
use serde_json::{Value as Json, json};
use test_models::{Tiny, minilm_dir, rewritten};

fn vocabulary(path: impl Into<PathBuf>) -> Model {
    Model::load(path.into(), &ModelParams::default().vocab_only(true)).unwrap()
}

/// Texts of all kinds of characters, including names of special tokens.
const TEXTS: &[&str] = &[
    "hello world",
    " The river, over there: 'said' and don't!  two  spaces\nand a line\n\n",
    "é漢字 👩‍👩‍👧 e\u{301} \u{fffd} \u{200d} ß",
    "x = {1, 2.5e-3}; // <|im_end|> and <s> [SEP] <0x0A>",
    "a",
];

/// Returns the tokens of a text from both tokenizers.
fn both(tokenizer: &HfTokenizer, vocab: Vocab<'_>, text: &str, parse: bool) -> [Vec<Token>; 2] {
    let options = TokenizeOptions::default().parse_special(parse);
    [tokenizer.tokenize(text, options).unwrap(), vocab.tokenize(text, options).unwrap()]
}

fn bytes_of(tokenizer: &dyn Tokenizer, tokens: &[Token]) -> Vec<u8> {
    let mut bytes = Vec::new();
    tokens.iter().for_each(|token| tokenizer.append_token_bytes(*token, false, &mut bytes).unwrap());
    bytes
}

fn texts(vocab: Vocab<'_>) -> impl Iterator<Item = (String, Token)> {
    let all = (0..i32::try_from(vocab.n_tokens()).unwrap()).map(Token::new);
    all.map(move |token| (vocab.text(token).unwrap(), token))
}

/// Returns the control tokens as a `tokenizer.json` adds them.
fn added(vocab: Vocab<'_>) -> Vec<Json> {
    let controls = texts(vocab).filter(|(_, token)| vocab.is_control(*token).unwrap());
    let entry = |(text, token): (String, Token)| {
        json!({"id": token.get(), "content": text, "special": true, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false})
    };
    controls.map(entry).collect()
}

/// Returns the vocabulary of the tiny `qwen2` as a `tokenizer.json`: byte-level BPE.
fn bpe_json(model: &Model) -> Json {
    let bytes = Tiny::Qwen2.bytes();
    let gguf = llama_gguf::Gguf::from_bytes(&bytes).unwrap();
    let merges: &[llama_gguf::Text] = gguf.metadata().get("tokenizer.ggml.merges").unwrap();
    let merges: Vec<String> = merges.iter().map(ToString::to_string).collect();
    let vocab = model.vocab();
    let tokens: serde_json::Map<String, Json> =
        texts(vocab).map(|(text, token)| (text, json!(token.get()))).collect();
    json!({
        "version": "1.0", "added_tokens": added(vocab), "normalizer": null, "post_processor": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": tokens, "merges": merges},
    })
}

fn read(json: &Json) -> HfTokenizer {
    HfTokenizer::from_json(json.to_string()).unwrap()
}

#[test]
fn byte_level_bpe_agrees_token_by_token_and_text_by_text() {
    let model = vocabulary(Tiny::Qwen2.path());
    let tokenizer = read(&bpe_json(&model));
    check_agreement(&tokenizer, model.vocab()).unwrap();
    for text in TEXTS {
        for parse in [false, true] {
            let [theirs, ours] = both(&tokenizer, model.vocab(), text, parse);
            assert_eq!(theirs, ours, "{text:?} {parse}");
            if !parse {
                assert_eq!(bytes_of(&tokenizer, &theirs), text.as_bytes());
            }
        }
    }
    let options = TokenizeOptions::default();
    let plain = tokenizer.tokenize("<|im_end|>", options).unwrap();
    let special = tokenizer.tokenize("<|im_end|>", options.parse_special(true)).unwrap();
    assert!(plain.len() > 1 && special.len() == 1, "names of special tokens are text unless asked for");
    assert_eq!(bytes_of(&tokenizer, &special), b"", "and have no bytes");
}

/// Returns the tiny `bert` with the vocabulary of a WordPiece `tokenizer.json`, as llama.cpp's converter writes it.
fn with_words(json: &Json) -> Vec<u8> {
    let mut words: Vec<(String, i64)> = json["model"]["vocab"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(word, id)| (word.clone(), id.as_i64().unwrap()))
        .collect();
    words.sort_by_key(|(_, id)| *id);
    let is_special = |word: &str| word.starts_with('[') && word.ends_with(']') && word.len() > 2;
    let kind = |word: &str| match word {
        "[UNK]" => 2i32,
        "[PAD]" | "[CLS]" | "[SEP]" | "[MASK]" => 3,
        _ => 1,
    };
    let spelled = |word: &str| match word.strip_prefix("##") {
        _ if is_special(word) => word.to_owned(),
        Some(part) => part.to_owned(),
        None => format!("▁{word}"),
    };
    let id = |name: &str| u32::try_from(json["model"]["vocab"][name].as_i64().unwrap()).unwrap();
    rewritten::with_metadata(Tiny::Bert, |metadata: &mut Metadata| {
        let kinds: Vec<i32> = words.iter().map(|(word, _)| kind(word)).collect();
        let tokens: Vec<String> = words.iter().map(|(word, _)| spelled(word)).collect();
        metadata.set("tokenizer.ggml.tokens", tokens).set("tokenizer.ggml.token_type", kinds);
        for (key, name) in [
            ("bos", "[CLS]"),
            ("cls", "[CLS]"),
            ("eos", "[SEP]"),
            ("seperator", "[SEP]"),
            ("unknown", "[UNK]"),
            ("padding", "[PAD]"),
            ("mask", "[MASK]"),
        ] {
            metadata.set(format!("tokenizer.ggml.{key}_token_id"), id(name));
        }
    })
}

#[test]
fn the_real_minilm_agrees_with_its_gguf() {
    let path = minilm_dir().join("tokenizer.json");
    let json: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let (_folder, gguf) = rewritten::saved(&with_words(&json));
    let model = vocabulary(gguf);
    let tokenizer = HfTokenizer::from_file(&path).unwrap();
    assert_eq!(tokenizer.n_tokens(), 30522);
    check_agreement(&tokenizer, model.vocab()).unwrap();
    for text in [
        "The quick brown fox jumps over the lazy dog.",
        "Unbelievable! tokenization, 3.14 + Résumé naïveté",
        "embeddings of sentences: cats & dogs (2024)",
        "漢字 and emoji 🦙",
    ] {
        let [theirs, ours] = both(&tokenizer, model.vocab(), text, false);
        assert_eq!(theirs, ours, "{text:?}");
    }
    // The file pads to 128 tokens, which is not for prompts.
    let [theirs, _] = both(&tokenizer, model.vocab(), "hello", false);
    assert_eq!(theirs.iter().map(|token| token.get()).collect::<Vec<_>>(), [101, 7592, 102]);
}

#[test]
fn sentencepiece_spelling_gives_the_same_bytes() {
    let model = vocabulary(Tiny::Llama.path());
    let vocab = model.vocab();
    let tokens: serde_json::Map<String, Json> =
        texts(vocab).map(|(text, token)| (text, json!(token.get()))).collect();
    let mut unknown = added(vocab);
    unknown.push(json!({"id": 0, "content": "<unk>", "special": true, "single_word": false, "lstrip": false,
                        "rstrip": false, "normalized": false}));
    let json = json!({
        "version": "1.0", "added_tokens": unknown, "post_processor": null, "pre_tokenizer": null,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": {"type": "BPE", "vocab": tokens, "merges": [], "byte_fallback": true, "unk_token": "<unk>",
                  "fuse_unk": true},
    });
    let tokenizer = read(&json);
    check_agreement(&tokenizer, vocab).unwrap();
    let options = TokenizeOptions::default().add_special(false);
    for text in TEXTS {
        let tokens = tokenizer.tokenize(text, options).unwrap();
        assert_eq!(bytes_of(&tokenizer, &tokens), format!(" {text}").as_bytes(), "{text:?}");
    }
}

#[test]
fn generations_use_the_tokenizer_that_was_given() {
    let json = bpe_json(&vocabulary(Tiny::Qwen2.path()));
    let load = |builder: llama_gen::LlamaBuilder| builder.n_ctx(256).n_threads(1).load().unwrap();
    let own = load(Llama::builder(Tiny::Qwen2.path()));
    let given = load(Llama::builder(Tiny::Qwen2.path()).tokenizer(read(&json)));
    assert!(format!("{:?}", given.tokenizer()).starts_with("HfTokenizer"));
    let run = |llm: &Llama| {
        let sampling =
            SamplingParams::default().temperature(0.0).logit_bias(vec![LogitBias::new(" river", 2.0)]);
        llm.generate("hello world").sampling(sampling).max_tokens(16).ignore_eos(true).complete().unwrap()
    };
    let (own, given) = (run(&own), run(&given));
    assert_eq!((own.text, own.finish.usage), (given.text, given.finish.usage));
}

#[test]
fn a_model_without_a_vocabulary_generates_with_a_tokenizer() {
    let json = bpe_json(&vocabulary(Tiny::Qwen2.path()));
    let n_vocab = u32::try_from(json["model"]["vocab"].as_object().unwrap().len()).unwrap();
    let bytes = rewritten::with_metadata(Tiny::Qwen2, |metadata| {
        let keys: Vec<String> = metadata
            .iter()
            .map(|(key, _)| key.to_string())
            .filter(|key| key.starts_with("tokenizer."))
            .collect();
        keys.iter().for_each(|key| {
            metadata.remove(key);
        });
        metadata.set("tokenizer.ggml.model", Value::from("no_vocab")).set("qwen2.vocab_size", n_vocab);
    });
    let (_folder, path) = rewritten::saved(&bytes);
    let bare = Llama::builder(path).tokenizer(read(&json)).n_ctx(256).n_threads(1).load().unwrap();
    let whole = Llama::builder(Tiny::Qwen2.path()).n_ctx(256).n_threads(1).load().unwrap();
    let run = |llm: &Llama| {
        llm.generate("hello world").temperature(0.0).max_tokens(8).ignore_eos(true).complete().unwrap().text
    };
    assert_eq!(run(&bare), run(&whole));
}

#[test]
fn another_tokenizer_is_refused_with_what_differs() {
    let model = vocabulary(Tiny::Qwen2.path());
    let mut json = bpe_json(&model);
    let tokens = json["model"]["vocab"].as_object_mut().unwrap();
    let (a, b) = (tokens["a"].clone(), tokens["b"].clone());
    tokens.insert("a".to_owned(), b.clone());
    tokens.insert("b".to_owned(), a.clone());
    let swapped = read(&json);
    let error = check_agreement(&swapped, model.vocab()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the tokenizer does not match the model: token {a} is \"b\" in the tokenizer and \"a\" in the model, token {b} \
             is \"a\" in the tokenizer and \"b\" in the model"
        )
    );
    let error = Llama::builder(Tiny::Qwen2.path()).tokenizer(swapped).load().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TokenizerMismatch { .. }), "{error}");
    let minilm = HfTokenizer::from_file(minilm_dir().join("tokenizer.json")).unwrap();
    let error = check_agreement(&minilm, model.vocab()).unwrap_err().to_string();
    assert!(error.contains("it has 30522 tokens, but must have at most the "), "{error}");
    // A vocabulary that is padded is not.
    let mut fewer = bpe_json(&model);
    let last = json!(model.vocab().n_tokens() - 1);
    fewer["added_tokens"].as_array_mut().unwrap().retain(|token| token["id"] != last);
    fewer["model"]["vocab"].as_object_mut().unwrap().retain(|_, id| *id != last);
    check_agreement(&read(&fewer), model.vocab()).unwrap();
}

#[test]
fn what_is_no_tokenizer_is_refused() {
    for (json, expected) in [
        ("", "the tokenizer cannot be used: "),
        ("{}", "the tokenizer cannot be used: "),
        (
            r#"{"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}"#,
            "its decoder cannot convert single tokens to bytes",
        ),
    ] {
        let error = HfTokenizer::from_json(json).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Tokenizer { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{json}: {error}");
    }
    let error = HfTokenizer::from_file("no/such/tokenizer.json").unwrap_err();
    assert!(error.to_string().contains("no/such/tokenizer.json"), "{error}");
    let tokenizer = read(&bpe_json(&vocabulary(Tiny::Qwen2.path())));
    let error = tokenizer.append_token_bytes(Token::new(-1), false, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("the token is -1, but must be in its vocabulary"), "{error}");
}
