//! Every kind of vocabulary: exact tokens, round trips of texts, names of special tokens in texts, and unusable
//! vocabularies.

use crate::greedy::ids;
use llama_core::vocab::VocabKind;
use llama_core::{DetokenizeOptions, Error, ErrorKind, Model, ModelParams, Token, TokenizeOptions};
use llama_gguf::Writer;
use proptest::prelude::*;
use test_models::{Tiny, TinyVocab};

fn load(path: impl AsRef<std::path::Path>) -> Result<Model, Error> {
    Model::load(path, &ModelParams::default().vocab_only(true))
}

/// Returns a vocabulary of each kind that tokenises.
fn kinds() -> Vec<(VocabKind, Model)> {
    let tiny = [Tiny::Llama, Tiny::Qwen2, Tiny::Bert, Tiny::T5].map(Tiny::path);
    let others = [TinyVocab::Rwkv, TinyVocab::Plamo2, TinyVocab::Plamo3].map(TinyVocab::path);
    let models = tiny.into_iter().chain(others).map(|path| load(path).unwrap());
    models.map(|model| (model.vocab().kind(), model)).collect()
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

fn controls(model: &Model) -> Vec<(Token, String)> {
    let vocab = model.vocab();
    let all = (0..i32::try_from(vocab.n_tokens()).unwrap()).map(Token::new);
    let controls = all.filter(|token| vocab.is_control(*token).unwrap());
    controls.map(|token| (token, vocab.text(token).unwrap())).collect()
}

/// A vocabulary file made for one test.
struct File {
    kind: &'static str,
    tokens: Vec<String>,
    types: Vec<i32>,
    scores: Vec<f32>,
    writer: Writer<'static>,
}

const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const BYTE: i32 = 6;

impl File {
    fn new(kind: &'static str) -> Self {
        let mut writer = Writer::new();
        writer.set("general.architecture", "llama");
        Self { kind, tokens: Vec::new(), types: Vec::new(), scores: Vec::new(), writer }
    }

    fn token(mut self, text: &str, kind: i32, score: f32) -> Self {
        self.tokens.push(text.to_owned());
        self.types.push(kind);
        self.scores.push(score);
        self
    }

    fn bytes(self) -> Self {
        (0..=255_u8).fold(self, |file, byte| file.token(&format!("<0x{byte:02X}>"), BYTE, 0.0))
    }

    fn key(mut self, key: &str, value: impl Into<llama_gguf::Value>) -> Self {
        self.writer.set(format!("tokenizer.ggml.{key}"), value);
        self
    }

    fn load(mut self) -> Result<Model, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        self.writer
            .set("tokenizer.ggml.model", self.kind)
            .set("tokenizer.ggml.tokens", self.tokens)
            .set("tokenizer.ggml.token_type", self.types)
            .set("tokenizer.ggml.scores", self.scores);
        self.writer.write_file(file.path()).unwrap();
        load(file.path())
    }
}

#[test]
fn every_kind_is_there() {
    let found: Vec<VocabKind> = kinds().into_iter().map(|(kind, _)| kind).collect();
    use VocabKind::{Bpe, Plamo2, Plamo3, Rwkv, Spm, Ugm, Wpm};
    assert_eq!(found, [Spm, Bpe, Wpm, Ugm, Rwkv, Plamo2, Plamo3]);
    for none in [TinyVocab::None, TinyVocab::Nothing] {
        assert_eq!(load(none.path()).unwrap().vocab().kind(), VocabKind::None);
    }
}

#[test]
fn texts_have_these_tokens() {
    use VocabKind::{Bpe, Plamo2, Plamo3, Rwkv, Spm, Ugm, Wpm};
    let cases: &[(VocabKind, &str, &[i32])] = &[
        (Spm, "hello world", &[490, 491]),
        (Spm, "a b\n漢漣", &[362, 363, 13, 359, 233, 191, 166]),
        (Bpe, "hello world", &[396, 108, 108, 111, 385]),
        (Bpe, "a b\n漢", &[97, 257, 10, 230, 188, 162]),
        (Wpm, "Hello worlds!", &[150, 151, 91, 5]),
        (Wpm, "漢 the", &[1, 109]),
        (Ugm, "hello world", &[44, 45]),
        (Ugm, "a  b漢", &[53, 118, 53, 119, 2]),
        (Rwkv, "hello world", &[371, 109, 109, 112, 360]),
        // A whole character, half of one and the rest in bytes, two new lines at once.
        (Rwkv, "漢漣\n\n\t\0", &[378, 377, 164, 376, 10, 1]),
        (Plamo2, "hello world", &[440, 443]),
        (Plamo2, "aaaab     c", &[460, 461, 458, 327]),
        (Plamo2, "漢\u{1f600}", &[356, 244, 163, 156, 132]),
        // Cut around runs of spaces and of four and more of a character.
        (Plamo3, "aaaab     c", &[460, 326, 458, 458, 260, 327]),
        (Plamo3, "the  river", &[358, 458, 446]),
    ];
    let kinds = kinds();
    for (kind, text, expected) in cases {
        let model = &kinds.iter().find(|(found, _)| found == kind).unwrap().1;
        assert_eq!(tokenize(model, text, plain()), *expected, "{kind:?} {text:?}");
    }
}

#[test]
fn tokens_that_are_added() {
    let added: Vec<Vec<i32>> =
        kinds().iter().map(|(_, model)| tokenize(model, "", TokenizeOptions::default())).collect();
    let none: Vec<i32> = Vec::new();
    assert_eq!(added, [vec![1], none.clone(), vec![2, 3], vec![1], none, vec![1], vec![1]]);
}

#[test]
fn special_tokens_have_their_ids() {
    let model = load(TinyVocab::Plamo2.path()).unwrap();
    let vocab = model.vocab();
    let all = [vocab.bos(), vocab.eos(), vocab.pad(), vocab.nl(), vocab.sep(), vocab.mask()];
    assert_eq!(all.map(|token| token.map(Token::get)), [Some(1), Some(2), Some(3), Some(355), None, None]);
    assert!(vocab.is_eog(Token::new(2)) && !vocab.is_eog(Token::new(1)));
    let model = load(TinyVocab::Rwkv.path()).unwrap();
    assert_eq!((model.vocab().eos(), model.vocab().nl()), (Some(Token::new(0)), Some(Token::new(11))));
}

#[test]
fn pieces_joined_are_the_whole() {
    for (kind, model) in kinds() {
        // The detokenizers of these take spaces away (llama-vocab.cpp, clean_spaces).
        if matches!(kind, VocabKind::Bpe | VocabKind::Wpm) {
            continue;
        }
        let vocab = model.vocab();
        let all: Vec<Token> = (0..i32::try_from(vocab.n_tokens()).unwrap()).map(Token::new).collect();
        for special in [false, true] {
            let mut joined = Vec::new();
            for token in &all {
                vocab.append_token_bytes(*token, special, &mut joined).unwrap();
            }
            let options = DetokenizeOptions::default().unparse_special(special);
            assert!(vocab.detokenize_bytes(&all, options).unwrap() == joined, "{kind:?} {special}");
        }
    }
}

#[test]
fn names_of_special_tokens_are_text_unless_asked_for() {
    for (kind, model) in kinds() {
        let controls = controls(&model);
        assert!(!controls.is_empty(), "{kind:?}");
        for (token, name) in controls {
            for text in
                [name.clone(), format!("a {name}{name} b"), format!("{name} the"), format!("the{name}")]
            {
                for options in [plain(), TokenizeOptions::default()] {
                    let added = tokenize(&model, "", options);
                    let found = tokenize(&model, &text, options);
                    let count = |ids: &[i32]| ids.iter().filter(|id| **id == token.get()).count();
                    assert_eq!(count(&found), count(&added), "{kind:?} {text:?} {found:?}");
                    let parsed = tokenize(&model, &text, options.parse_special(true));
                    assert!(count(&parsed) > count(&added), "{kind:?} {text:?} {parsed:?}");
                }
            }
        }
    }
}

#[test]
fn spelled_names_are_the_same_text() {
    for vocab in [TinyVocab::Rwkv, TinyVocab::Plamo2, TinyVocab::Plamo3] {
        let model = load(vocab.path()).unwrap();
        for (_, name) in controls(&model) {
            for text in [name.clone(), format!("the {name}, {name}\n")] {
                assert_eq!(round_trip(&model, &text), text, "{vocab}");
            }
        }
    }
    let model = load(TinyVocab::Plamo3.path()).unwrap();
    let text = "of<|plamo:eos|> it";
    let added = tokenize(&model, text, TokenizeOptions::default());
    assert_eq!(added[1..], tokenize(&model, text, plain()));
    assert_eq!(added[0], 1);
}

/// Merged names of control tokens are text too. SPM merges neighbours whose joined text is any token, also a control
/// token whose halves are tokens.
#[test]
fn merged_names_of_control_tokens_are_text_too() {
    let model = File::new("llama")
        .token("<unk>", 2, 0.0)
        .token("<s>", CONTROL, 0.0)
        .token("</s>", CONTROL, 0.0)
        .bytes();
    let model =
        ["▁", "<", "/", "s", ">", "a"].iter().fold(model, |file, text| file.token(text, NORMAL, -9.0));
    let model = model.token("</", NORMAL, -1.0).token("s>", NORMAL, -2.0).load().unwrap();
    let [slash, end] = [265, 266];
    assert_eq!(tokenize(&model, "a</s>a", plain()), [259, 264, slash, end, 264]);
    assert_eq!(tokenize(&model, "</s>", TokenizeOptions::default()), [1, 259, slash, end]);
    assert_eq!(tokenize(&model, "</s>", plain().parse_special(true)), [2]);
    assert_eq!(round_trip(&model, "a</s><s>"), "a</s><s>");
}

#[test]
fn no_vocabulary_is_unsupported() {
    for (none, n_tokens) in [(TinyVocab::None, 32), (TinyVocab::Nothing, 0)] {
        let model = load(none.path()).unwrap();
        let vocab = model.vocab();
        let token = Token::new(0);
        assert_eq!(vocab.n_tokens(), n_tokens);
        let errors = [
            vocab.tokenize("text", TokenizeOptions::default()).unwrap_err(),
            vocab.tokenize("", plain()).unwrap_err(),
            vocab.detokenize(&[token], DetokenizeOptions::default()).unwrap_err(),
            vocab.detokenize(&[], DetokenizeOptions::default()).unwrap_err(),
            vocab.token_to_bytes(token, true).unwrap_err(),
            vocab.text(token).unwrap_err(),
            vocab.score(token).unwrap_err(),
            vocab.attributes(token).unwrap_err(),
            vocab.is_control(token).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error:?}");
            assert!(error.to_string().ends_with("it has no tokenizer"), "{error}");
        }
        let special = [vocab.bos(), vocab.eos(), vocab.eot(), vocab.nl(), vocab.pad(), vocab.fim_mid()];
        assert_eq!(special, [None; 6]);
        assert!(!vocab.is_eog(token) && !vocab.adds_bos() && vocab.suppressed().is_empty());
    }
}

#[track_caller]
fn assert_refused(loaded: Result<Model, Error>, words: &str) {
    let error = loaded.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Vocabulary { .. }), "{error:?}");
    assert!(error.to_string().starts_with("cannot use the vocabulary of "), "{error}");
    assert!(error.to_string().contains(words), "{error}");
    assert!(error.log().is_empty(), "llama.cpp has not seen it: {error:?}");
}

#[test]
fn equal_tokens_are_refused() {
    let file = || File::new("llama").bytes().token("<s>", CONTROL, 0.0);
    file().token("ab", NORMAL, 0.0).token("ba", NORMAL, 0.0).load().unwrap();
    let twice = file().token("ab", NORMAL, 0.0).token("x", NORMAL, 0.0).token("ab", NORMAL, -1.0);
    assert_refused(twice.load(), "its tokens 257 and 259 are both \"ab\"");
    // C ends a text at a NUL byte, and gives an empty one a name.
    assert_refused(file().token("ab", NORMAL, 0.0).token("ab\0c", NORMAL, 0.0).load(), "are both \"ab\"");
    let named = file().token("[EMPTY_258]", NORMAL, 0.0).token("", NORMAL, 0.0);
    assert_refused(named.load(), "its token 258 is empty");
    file().token("", NORMAL, 0.0).token("", NORMAL, 0.0).load().unwrap();
}

#[test]
fn vocabularies_that_tokenizers_fail_on_are_refused() {
    assert_refused(File::new("test").load(), "it has no tokens");
    assert_refused(File::new("llama").load(), "it has no tokens");
    // The tokenizer would not end on a text that ends in "a".
    let rwkv = File::new("rwkv").token("ab", NORMAL, 0.0).token("\\n", NORMAL, 0.0);
    assert_refused(rwkv.load(), "it has no token for the byte 0x00");
    // These llama.cpp refuses itself.
    for kind in ["plamo2", "plamo3", "gpt2", "nonsense"] {
        let error = File::new(kind).token("a", NORMAL, 0.0).load().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Load { .. }), "{kind}: {error:?}");
        assert!(!error.log().is_empty(), "{kind}");
    }
}

#[test]
fn texts_that_a_vocabulary_has_no_tokens_for_are_refused() {
    let model = File::new("llama").token("▁", NORMAL, 0.0).token("a", NORMAL, 0.0).load().unwrap();
    assert_eq!(tokenize(&model, "a", plain()), [0, 1]);
    let error = model.vocab().tokenize("ab", plain()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Tokenize { .. }), "{error:?}");
    assert!(error.to_string().contains("no tokens for some bytes"), "{error}");
    let model = File::new("bert").token("▁a", NORMAL, 0.0).load().unwrap();
    let error = model.vocab().tokenize("b", plain()).unwrap_err();
    assert!(error.to_string().contains("no token, not even one for unknown text"), "{error}");
    // The tokens that are to be added are not there.
    for (kind, others) in [("bert", 0), ("llama", 0), ("t5", 2)] {
        let file = File::new(kind).token("▁", NORMAL, 0.0).key("add_bos_token", true);
        let file = (0..others).fold(file, |file, other| file.token(&other.to_string(), NORMAL, 0.0));
        let model = file.load().unwrap();
        let error = model.vocab().tokenize("", TokenizeOptions::default()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Tokenize { .. }), "{kind}: {error:?}");
        assert!(error.to_string().contains("no token to begin a text"), "{kind}: {error}");
        assert!(model.vocab().tokenize("", plain()).unwrap().is_empty(), "{kind}");
    }
}

#[test]
fn a_name_that_cannot_be_spelled_is_refused() {
    let file = File::new("llama").token("▁", NORMAL, -1.0).token("<", NORMAL, -1.0).token("s>", NORMAL, -1.0);
    let model =
        file.token("s", NORMAL, -1.0).token(">", NORMAL, -1.0).token("<s>", CONTROL, 0.0).load().unwrap();
    assert_eq!(tokenize(&model, "<s>", plain()), [0, 1, 2]);
    // Only the merge makes it: "<" and "s>" are parts that are no ordinary tokens.
    let file = File::new("llama").token("▁", NORMAL, -1.0).token("x<", CONTROL, 0.0).token("x", CONTROL, 0.0);
    let model = file.token("<", CONTROL, 0.0).load().unwrap();
    let error = model.vocab().tokenize("x<", plain()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Tokenize { .. }), "{error:?}");
    assert!(error.to_string().contains("the name of the special token"), "{error}");
}

/// Generates any text, with marks and names that tokenizers treat specially more often than by chance.
fn any_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        any::<String>(),
        "[a-z ]{0,20}",
        "\\PC{0,8}",
        "<\\|?[a-z:]{0,8}\\|?>",
        proptest::sample::select(vec![
            "<s>",
            "</s>",
            "<|plamo:eos|>",
            "<|plamo:",
            "[CLS]",
            "<|im_end|>",
            "<0x0A>",
            "\\x41",
            "漢",
            "\n\n",
            "\u{ee00}",
            "\u{feff}",
            "    ",
            "aaaaa",
            "\0",
            "e\u{301}",
        ])
        .prop_map(str::to_owned),
    ];
    proptest::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

fn check_round_trip(vocab: TinyVocab, text: &str, expected: &str) -> Result<(), TestCaseError> {
    thread_local!(static MODELS: Vec<(TinyVocab, Model)> = {
        let promise = [TinyVocab::Rwkv, TinyVocab::Plamo2, TinyVocab::Plamo3];
        promise.map(|vocab| (vocab, load(vocab.path()).unwrap())).to_vec()
    });
    MODELS.with(|models| {
        let model = &models.iter().find(|(found, _)| *found == vocab).unwrap().1;
        prop_assert_eq!(round_trip(model, text), expected, "{} {:?}", vocab, text);
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rwkv_gives_back_every_text(text in any_text()) {
        check_round_trip(TinyVocab::Rwkv, &text, &text)?;
    }

    #[test]
    fn plamo_2_gives_back_every_text_but_a_mark_at_the_beginning(text in any_text()) {
        let expected = text.strip_prefix('\u{feff}').unwrap_or(&text);
        check_round_trip(TinyVocab::Plamo2, &text, expected)?;
    }

    #[test]
    fn plamo_3_gives_back_every_text_but_its_own_mark(text in any_text()) {
        check_round_trip(TinyVocab::Plamo3, &text, &text.replace('\u{ee00}', ""))?;
    }

    #[test]
    fn text_never_gives_a_control_token(text in any_text()) {
        thread_local!(static KINDS: Vec<(VocabKind, Model)> = kinds());
        KINDS.with(|kinds| {
            for (kind, model) in kinds {
                let vocab = model.vocab();
                let tokens = vocab.tokenize(&text, plain()).unwrap();
                assert!(tokens.iter().all(|token| !vocab.is_control(*token).unwrap()), "{kind:?} {text:?}");
            }
        });
    }
}
