//! Damaged `tokenizer.json` files: errors, never a panic, never memory by a number in the file.
//!
//! Tests that measure memory run in child processes: the memory of a process is also that of the tests beside it.

use core::ops::ControlFlow;

use llama_core::TokenizeOptions;
use llama_gen::{ErrorKind, HfTokenizer, Tokenizer};
use serde_json::{Map, Value as Json, json};
use test_models::{child, minilm_dir};

/// A seeded generator of numbers.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

fn words(words: &[&str]) -> Json {
    let ids = words.iter().enumerate().map(|(id, word)| ((*word).to_owned(), json!(id)));
    Json::Object(ids.collect())
}

fn added(id: u64, content: &str) -> Json {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
           "special": true})
}

#[allow(clippy::needless_pass_by_value, reason = "each is made for the call")]
fn file(model: Json, normalizer: Json, pre_tokenizer: Json, post_processor: Json, decoder: Json) -> Json {
    json!({"version": "1.0", "truncation": {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0},
           "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                       "pad_type_id": 0, "pad_token": "<unk>"},
           "added_tokens": [added(0, "<unk>"), added(1, "<s>")], "normalizer": normalizer,
           "pre_tokenizer": pre_tokenizer, "post_processor": post_processor, "decoder": decoder, "model": model})
}

/// Returns BERT's tokenizer with fewer words.
fn word_piece() -> Json {
    let bytes = std::fs::read(minilm_dir().join("tokenizer.json")).unwrap();
    let mut json: Json = serde_json::from_slice(&bytes).unwrap();
    let vocab = json["model"]["vocab"].as_object().unwrap();
    let few: Map<String, Json> = vocab
        .iter()
        .filter(|(_, id)| id.as_u64().unwrap() < 1100)
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    json["model"]["vocab"] = Json::Object(few);
    json
}

/// Returns a character map: a table of `size` bytes, 1024 of which exist, and one replacement.
fn charsmap(size: u32) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = size.to_le_bytes().to_vec();
    bytes.resize(4 + 1024, 0);
    bytes.extend(*b" \0\0\0\0");
    let digit = |chunk: &[u8], place: u32| {
        let bits = (0..3).fold(0, |bits, index| bits << 8 | u32::from(*chunk.get(index).unwrap_or(&0)));
        char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize])
    };
    bytes.chunks(3).flat_map(|chunk| (0..4).map(move |place| digit(chunk, place))).collect()
}

fn sentence_piece() -> Json {
    let model = json!({"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
        "vocab": words(&["<unk>", "<s>", "<0x0A>", "▁", "a", "b", "▁a", "ab"]), "merges": [["▁", "a"], ["a", "b"]]});
    let normalizer = json!({"type": "Sequence", "normalizers": [
        {"type": "Precompiled", "precompiled_charsmap": charsmap(1024)}, {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]});
    let decoder = json!({"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]});
    let post = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}},
        {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}});
    file(model, normalizer, Json::Null, post, decoder)
}

fn byte_level() -> Json {
    let model = json!({"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
        "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false,
        "vocab": words(&["<unk>", "<s>", "a", "b", "Ġ", "Ġa", "Ċ", "ab"]), "merges": ["Ġ a", "a b"]});
    let level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let pre = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "\\s+|\\p{N}{1,3}"}, "behavior": "Isolated", "invert": false},
        {"type": "Digits", "individual_digits": true}, level]});
    let post = json!({"type": "RobertaProcessing", "sep": ["<s>", 1], "cls": ["<s>", 1], "trim_offsets": true,
        "add_prefix_space": false});
    file(
        model,
        json!({"type": "NFC"}),
        pre,
        post,
        json!({"type": "ByteLevel", "add_prefix_space": true,
        "trim_offsets": true, "use_regex": true}),
    )
}

fn unigram() -> Json {
    let model = json!({"type": "Unigram", "unk_id": 0, "byte_fallback": false,
        "vocab": [["<unk>", 0.0], ["<s>", 0.0], ["▁", -2.0], ["a", -3.0], ["▁a", -2.5], ["b", -4.0]]});
    let metaspace =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
    let normalizer = json!({"type": "Precompiled", "precompiled_charsmap": charsmap(1024)});
    file(model, normalizer, metaspace.clone(), Json::Null, metaspace)
}

fn word_level() -> Json {
    let model =
        json!({"type": "WordLevel", "unk_token": "<unk>", "vocab": words(&["<unk>", "<s>", "a", "b", "ab"])});
    let pre = json!({"type": "FixedLength", "length": 2});
    let post = json!({"type": "BertProcessing", "sep": ["<s>", 1], "cls": ["<s>", 1]});
    let decoder = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
    file(model, json!({"type": "Lowercase"}), pre, post, decoder)
}

/// Collects the paths of all values.
fn paths(json: &Json, path: &str, all: &mut Vec<String>) {
    all.push(path.to_owned());
    match json {
        Json::Object(fields) => fields.iter().for_each(|(key, value)| {
            let key = key.replace('~', "~0").replace('/', "~1");
            paths(value, &format!("{path}/{key}"), all);
        }),
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| paths(value, &format!("{path}/{index}"), all));
        }
        _ => {}
    }
}

/// Changes one value.
fn damage(json: &mut Json, rng: &mut Rng) -> String {
    let mut all = Vec::new();
    paths(json, "", &mut all);
    // As often outside the vocabulary as in it.
    let outside: Vec<String> =
        all.iter().filter(|path| !path.starts_with("/model/vocab/")).cloned().collect();
    let path = if rng.below(4) == 0 {
        all[rng.below(all.len())].clone()
    } else {
        outside[rng.below(outside.len())].clone()
    };
    let value = json.pointer_mut(&path).unwrap();
    let old = value.take();
    let scalars = [
        json!(null),
        json!(4_294_967_295_u32),
        json!(u64::MAX),
        json!(-1),
        json!(0),
        json!(1e308),
        json!(""),
        json!("x".repeat(5000)),
        json!("(((a*)*)*)*$"),
        json!("\\p{"),
        json!([]),
        json!({}),
        json!(true),
        json!("A"),
        json!(1_000_000_000),
    ];
    *value = match (rng.below(4), old) {
        (0, Json::String(text)) if text.len() > 8 && text.is_ascii() => {
            let mut bytes = text.into_bytes();
            let place = rng.below(bytes.len().min(16));
            bytes[place] = b"AZaz09+/"[rng.below(8)];
            Json::String(String::from_utf8(bytes).unwrap())
        }
        (1, Json::Array(mut items)) => {
            let places = usize::from(items.len() > 1);
            items.rotate_left(places);
            items.extend(items.clone());
            Json::Array(items)
        }
        _ => scalars[rng.below(scalars.len())].clone(),
    };
    path
}

/// Returns the most virtual memory that this process had, in bytes. It includes reservations that are never touched.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmPeak:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// Returns whether the file was read, and how often tokens could not be made with it.
fn try_all(json: &[u8]) -> (bool, usize) {
    let tokenizer = match HfTokenizer::from_json(json) {
        Ok(tokenizer) => tokenizer,
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Tokenizer { .. }), "{error:?}");
            return (false, 0);
        }
    };
    let mut failures = 0;
    for text in
        ["", "a b ab\n", "<s> 12345 é漢字 e\u{301} 👩‍👩‍👧 \u{3000}", &"ab ".repeat(200), &"x".repeat(2000)]
    {
        for parse in [false, true] {
            match tokenizer.tokenize(text, TokenizeOptions::default().parse_special(parse)) {
                Ok(tokens) => {
                    let mut bytes = Vec::new();
                    for token in tokens {
                        tokenizer.append_token_bytes(token, true, &mut bytes).unwrap();
                    }
                }
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::Tokenizer { .. }), "{error:?}");
                    failures += 1;
                }
            }
        }
    }
    (true, failures)
}

#[test]
fn six_hundred_damaged_files() {
    child::alone(module_path!(), "six_hundred_damaged_files", read_six_hundred_damaged_files);
}

fn read_six_hundred_damaged_files() {
    let files = [word_piece(), sentence_piece(), byte_level(), unigram(), word_level()];
    for file in &files {
        assert_eq!(try_all(file.to_string().as_bytes()), (true, 0), "{file}");
    }
    let before = peak();
    let mut rng = Rng(24);
    let (mut read, mut failures) = (0, 0);
    for number in 0..600 {
        let mut json = files[number % files.len()].clone();
        for _ in 0..=rng.below(2) {
            damage(&mut json, &mut rng);
        }
        let mut bytes = json.to_string().into_bytes();
        if number % 10 == 9 {
            // Not even JSON.
            let place = rng.below(bytes.len());
            if rng.below(2) == 0 {
                bytes.truncate(place);
            } else {
                bytes[place] = b"\"{[}],:0\xff"[rng.below(9)];
            }
        }
        let (is_read, failed) = try_all(&bytes);
        read += usize::from(is_read);
        failures += failed;
    }
    // Most changes break the form, and are told by the reader.
    assert!(read > 40 && failures > 5, "{read} of 600 were read, {failures} texts failed");
    if let Some((before, after)) = before.zip(peak()) {
        assert!(after - before < 512 << 20, "{} MiB more", (after - before) >> 20);
    }
}

fn refusal(json: &Json) -> String {
    HfTokenizer::from_json(json.to_string()).unwrap_err().to_string()
}

#[test]
fn numbers_are_checked_before_anything_is_allocated_by_them() {
    let mut json = word_level();
    json["added_tokens"][1]["id"] = json!(4_294_967_295_u32);
    assert_eq!(
        refusal(&json),
        "the tokenizer cannot be used: the id of \"<s>\" is 4294967295, but must be at most 2147483647"
    );
    let mut json = byte_level();
    json["model"]["vocab"]["ab"] = json!(4_294_967_295_u32);
    assert!(refusal(&json).ends_with("the id of \"ab\" is 4294967295, but must be at most 2147483647"));
    let mut json = unigram();
    json["normalizer"]["precompiled_charsmap"] = json!(charsmap(u32::MAX));
    assert!(refusal(&json).contains(
        "the table of its precompiled_charsmap has 4294967295 bytes, but must fit into 1035 bytes after the first 4"
    ));
    let mut nested = sentence_piece();
    nested["normalizer"]["normalizers"][0]["precompiled_charsmap"] = json!(charsmap(4096));
    assert!(refusal(&nested).contains("has 4096 bytes, but must fit into"));
}

#[test]
fn an_id_far_from_the_others_takes_no_memory() {
    child::alone(module_path!(), "an_id_far_from_the_others_takes_no_memory", read_an_id_far_from_the_others);
}

fn read_an_id_far_from_the_others() {
    let mut json = byte_level();
    json["model"]["vocab"]["ab"] = json!(i32::MAX);
    let before = peak();
    let tokenizer = HfTokenizer::from_json(json.to_string()).unwrap();
    assert_eq!(tokenizer.n_tokens(), 2_147_483_648);
    let tokens = tokenizer.tokenize("ab", TokenizeOptions::default().add_special(false)).unwrap();
    assert_eq!(tokens[0].get(), i32::MAX);
    if let Some((before, after)) = before.zip(peak()) {
        assert!(after - before < 64 << 20, "{} MiB more", (after - before) >> 20);
    }
    // A model has fewer.
    let model = llama_core::Model::load(
        test_models::Tiny::Qwen2.path(),
        &llama_core::ModelParams::default().vocab_only(true),
    );
    let error = llama_gen::check_agreement(&tokenizer, model.unwrap().vocab()).unwrap_err();
    assert!(
        error.to_string().contains("it has 2147483648 tokens, but must have at most the 404 of the model"),
        "{error}"
    );
}

#[test]
fn a_post_processor_cannot_make_tokens_that_there_are_not() {
    let mut json = sentence_piece();
    json["post_processor"]["special_tokens"]["<s>"]["ids"] = json!([77]);
    let tokenizer = HfTokenizer::from_json(json.to_string()).unwrap();
    let error = tokenizer.tokenize("a", TokenizeOptions::default()).unwrap_err();
    assert!(error.to_string().contains("it made token 77, which its vocabulary does not have"), "{error}");
}

#[test]
fn a_panic_of_the_crate_is_an_error() {
    // A table whose entries point behind its end.
    let mut json = unigram();
    json["normalizer"]["precompiled_charsmap"] = json!(format!("AAQAAP//{}", &charsmap(1024)[8..]));
    let tokenizer = HfTokenizer::from_json(json.to_string()).unwrap();
    let error = tokenizer.tokenize("a b", TokenizeOptions::default()).unwrap_err();
    assert!(error.to_string().contains("the crate tokenizers panicked while tokenising a text: "), "{error}");
    // It can be asked again.
    assert!(tokenizer.tokenize("a b", TokenizeOptions::default()).is_err());
}

#[test]
fn tokenising_can_be_cancelled_before_it_begins() {
    let tokenizer = HfTokenizer::from_json(byte_level().to_string()).unwrap();
    let options = TokenizeOptions::default();
    let error = tokenizer.tokenize_with("ab", options, &mut || ControlFlow::Break(())).unwrap_err();
    assert_eq!(error.to_string(), "tokenising a text was cancelled after 0 of 2 bytes");
}
