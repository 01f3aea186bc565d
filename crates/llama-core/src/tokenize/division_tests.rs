//! Tests that a divided text gives the tokens of the whole text, for every pre-tokenizer of the tree and every kind
//! of vocabulary.

use core::ops::ControlFlow;

use test_models::{Tiny, TinyVocab};

use super::pieces::Sizes;
use super::{TokenizeOptions, Vocab, whole};
use crate::error::Result;
use crate::ffi::stack;
use crate::model::{Model, ModelParams};
use crate::token::Token;

/// Sizes that divide wherever possible.
const EVERYWHERE: Sizes = Sizes { short: 0, undivided: 0, piece: 0, tokens: 0 };

/// Parts of texts that tokenizers treat in different ways.
const PARTS: &[&str] = &[
    "a",
    "aa",
    "the ",
    "Hello",
    "WORLD",
    "don't",
    "I'LL",
    " ",
    "  ",
    "    ",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    " \n ",
    "\u{a0}",
    "\u{3000}",
    "7",
    "12",
    "123",
    "4567",
    "1,000.5",
    "\u{b2}",
    "\u{663}",
    "=",
    "====",
    "!?",
    ". ",
    "/",
    "(x)",
    "_",
    "`",
    "~",
    "\u{2581}",
    "é",
    "ß",
    "Ж",
    "Привет мир",
    "λόγος",
    "中",
    "汉字",
    "かな",
    "カナ",
    "한국어",
    "🦙🦙",
    "ไทย",
    "नमस्ते",
    "שלום",
    "مرحبا",
    "\u{301}",
    "e\u{301}\u{327}",
    "\u{200d}",
    "\u{feff}",
    "😀",
    "👩‍👩‍👧",
    "<|im_end|>",
    "<s>",
    "<user>",
    "<user><user>",
    "[\u{200c}",
    "<dna>ACGTAC</dna>",
    "\u{0}",
    "\u{1}",
    "\u{ee00}",
    "<|plamo:x|>",
    "foo bar",
    "one two\nthree",
    "x y z",
    "\u{1bb}",
    "\u{488}",
    "…",
    "。",
    "、",
    "'s",
    "'",
    "\u{e000}",
];

/// A deterministic generator of pseudo-random numbers.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn text(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.below(40) {
            let part = PARTS[self.below(PARTS.len())];
            let times = if self.below(8) == 0 { 1 + self.below(150) } else { 1 };
            let space = if self.below(3) == 0 { " " } else { "" };
            text.push_str(&format!("{space}{}", part.repeat(times)));
        }
        text
    }
}

fn divided(vocab: Vocab<'_>, text: &str, options: TokenizeOptions) -> Result<Vec<Token>> {
    whole::tokenize(vocab, text, options, EVERYWHERE, &mut || ControlFlow::Continue(()))
}

fn undivided(vocab: Vocab<'_>, text: &str, options: TokenizeOptions) -> Result<Vec<Token>> {
    stack::run("whole", "a test", 64 << 20, || vocab.tokenize_piece(text, options))?
}

/// Compares both ways of tokenising random texts, and returns the total number of pieces.
fn compare(model: &Model, name: &str, rng: &mut Rng, texts: usize) -> usize {
    let vocab = model.vocab();
    let mut n_pieces = 0;
    for number in 0..texts {
        let text = rng.text();
        let options = TokenizeOptions::default().add_special(number % 3 == 0).parse_special(number % 2 == 0);
        let whole = undivided(vocab, &text, options);
        let divided = divided(vocab, &text, options);
        match (whole, divided) {
            (Ok(whole), Ok(divided)) => {
                assert!(
                    whole == divided,
                    "{name} {options:?} {text:?}\nwhole   {whole:?}\ndivided {divided:?}"
                );
            }
            (Err(whole), Err(_)) => {
                assert!(whole.to_string().contains("tokenising"), "{name} {text:?}: {whole}");
            }
            (whole, divided) => panic!("{name} {text:?}: {whole:?} and {divided:?}"),
        }
        let facts = model.text_facts();
        n_pieces += whole::count_pieces(facts, vocab, &text, options, EVERYWHERE);
    }
    n_pieces
}

fn number_of_texts() -> usize {
    std::env::var("LLAMA_TEXTS").ok().and_then(|number| number.parse().ok()).unwrap_or(6)
}

#[test]
fn every_pre_tokenizer() {
    let texts = number_of_texts();
    let mut rng = Rng(1);
    let (mut n_pieces, mut n_texts) = (0, 0);
    for name in test_models::pre_tokenizers() {
        n_texts += texts;
        let bytes = test_models::bpe_vocabulary(&name);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vocab.gguf");
        std::fs::write(&path, bytes).unwrap();
        let model = Model::load(path, &ModelParams::default().vocab_only(true)).unwrap();
        n_pieces += compare(&model, &name, &mut rng, texts);
    }
    assert!(n_pieces > 3 * n_texts, "{n_pieces} pieces of {n_texts} texts");
}

/// Returns the file of a tiny model's vocabulary with added user-defined tokens.
fn with_user_tokens(tiny: Tiny, adds_space: bool) -> Vec<u8> {
    let bytes = tiny.bytes();
    let mut metadata = llama_gguf::Gguf::from_bytes(&bytes).unwrap().metadata().clone();
    let texts: &[llama_gguf::Text] = metadata.get("tokenizer.ggml.tokens").unwrap();
    let mut texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
    let mut kinds: Vec<i32> = metadata.get::<&[i32]>("tokenizer.ggml.token_type").unwrap().to_vec();
    let mut scores: Vec<f32> = metadata.get::<&[f32]>("tokenizer.ggml.scores").unwrap().to_vec();
    for text in ["<user>", "\n\n", "\n\n\n", "🦙", "x y"] {
        texts.push(text.to_owned());
    }
    kinds.resize(texts.len(), 4);
    scores.resize(texts.len(), 0.0);
    metadata.set("tokenizer.ggml.tokens", texts).set("tokenizer.ggml.token_type", kinds);
    metadata.set("tokenizer.ggml.scores", scores).set("tokenizer.ggml.add_space_prefix", adds_space);
    let mut writer = llama_gguf::Writer::new();
    *writer.metadata_mut() = metadata;
    let mut file = Vec::new();
    writer.write_to(&mut file).unwrap();
    file
}

#[test]
fn user_defined_tokens_and_spaces_in_front() {
    let texts = 20 * number_of_texts();
    let mut rng = Rng(3);
    for (tiny, adds_space) in
        [Tiny::Llama, Tiny::T5].into_iter().flat_map(|tiny| [(tiny, true), (tiny, false)])
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vocab.gguf");
        std::fs::write(&path, with_user_tokens(tiny, adds_space)).unwrap();
        let model = Model::load(&path, &ModelParams::default().vocab_only(true)).unwrap();
        let n_pieces = compare(&model, &format!("{tiny} {adds_space}"), &mut rng, texts);
        assert!(n_pieces > 2 * texts, "{tiny} {adds_space}: {n_pieces} pieces of {texts} texts");
    }
}

#[test]
fn every_kind() {
    let texts = 20 * number_of_texts();
    let mut rng = Rng(2);
    let tiny = [Tiny::Llama, Tiny::Gemma3, Tiny::Qwen2, Tiny::Bert, Tiny::T5].map(Tiny::path);
    let others = [TinyVocab::Rwkv, TinyVocab::Plamo2, TinyVocab::Plamo3].map(TinyVocab::path);
    for path in tiny.into_iter().chain(others) {
        let model = Model::load(&path, &ModelParams::default().vocab_only(true)).unwrap();
        compare(&model, &path.display().to_string(), &mut rng, texts);
    }
}
