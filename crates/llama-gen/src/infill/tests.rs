//! Compares infill prompts token by token with those of llama.cpp's server.

use llama_core::{ContextParams, ModelParams};
use test_models::Tiny;

use super::*;

const PRE: i32 = 270;
const SUF: i32 = 271;
const MID: i32 = 272;
const REP: i32 = 273;
const SEP: i32 = 274;
/// The begin-of-text token of the tiny llama.
const BOS: i32 = 1;

/// Loads the tiny llama with infill tokens in place of rare letters.
fn llama(keys: &[(&str, i32)], n_ctx: u32, n_batch: u32) -> Llama {
    let params = keys.iter().fold(ModelParams::default(), |params, (key, id)| {
        params.kv_override(format!("tokenizer.ggml.{key}_token_id"), i64::from(*id))
    });
    let context = ContextParams::default().n_batch(n_batch).n_ubatch(n_batch);
    let builder = Llama::builder(Tiny::Llama.path()).model_params(params).context_params(context);
    builder.n_ctx(n_ctx).n_threads(1).load().unwrap()
}

const ALL: [(&str, i32); 5] =
    [("fim_pre", PRE), ("fim_suf", SUF), ("fim_mid", MID), ("fim_rep", REP), ("fim_sep", SEP)];

fn prompt(infill: &Infill) -> Vec<i32> {
    infill.tokens().unwrap().iter().map(|token| token.get()).collect()
}

fn ids(llm: &Llama, text: &str) -> Vec<i32> {
    let options = TokenizeOptions::default().add_special(false);
    llm.model().vocab().tokenize(text, options).unwrap().iter().map(|token| token.get()).collect()
}

#[test]
fn the_repository_and_the_file_are_named_without_other_files_too() {
    let llm = llama(&ALL, 512, 128);
    let [project, file, a, b] = ["myproject\n", "filename\n", "a", "b"].map(|text| ids(&llm, text));
    let expected =
        [vec![REP], project.clone(), vec![SEP], file.clone(), vec![BOS, PRE], a, vec![SUF], b, vec![MID]];
    assert_eq!(prompt(&llm.infill("a", "b")), expected.concat());
    // The lengths, independent of the tokenizer.
    assert_eq!((project.len(), file.len()), (10, 9), "{project:?} {file:?}");
    let only = |keys: &[(&str, i32)]| prompt(&llama(keys, 512, 128).infill("", ""));
    let three = [ALL[0], ALL[1], ALL[2]];
    assert_eq!(only(&three), [BOS, PRE, SUF, MID]);
    let repository = [&three[..], &ALL[3..4]].concat();
    assert_eq!(only(&repository), [vec![REP], project, vec![BOS, PRE, SUF, MID]].concat());
    let separator = [&three[..], &ALL[4..]].concat();
    assert_eq!(only(&separator), [vec![SEP], file, vec![BOS, PRE, SUF, MID]].concat());
}

#[test]
fn files_come_before_the_begin_of_the_text_and_lose_their_beginning() {
    let llm = llama(&ALL, 256, 128);
    let infill = llm.infill("a", "b").file("x.rs", "light ".repeat(60)).prompt("c");
    let files = [
        vec![REP],
        ids(&llm, "myproject\n"),
        vec![SEP],
        ids(&llm, "x.rs\n"),
        ids(&llm, &"light ".repeat(60)),
        vec![SEP],
        ids(&llm, "filename\n"),
    ]
    .concat();
    let [a, b, c] = ["a", "b", "c"].map(|text| ids(&llm, text));
    for (order, gap) in [
        (InfillOrder::PrefixSuffixMiddle, [vec![PRE], a.clone(), c.clone(), vec![SUF], b.clone()].concat()),
        (InfillOrder::SuffixPrefixMiddle, [vec![SUF], b, vec![PRE], a, c].concat()),
    ] {
        // The rest of the context after a batch and twice the answer: 256 - 128 - 2 * 20, and so on.
        for (answer, room) in [(20, 88), (60, 8), (64, 0), (1000, 0)] {
            let expected = [&files[files.len() - room..], &[BOS], &gap, &[MID]].concat();
            assert_eq!(prompt(&infill.clone().order(order).answer(answer)), expected, "{order:?} {answer}");
        }
    }
    assert_eq!(infill.n_answer, 64);
}

#[test]
fn a_batch_is_shared_by_both_halves() {
    let llm = llama(&ALL[..3], 256, 64);
    let (before, after) = ("a b c d e f g h ".repeat(8), "s t u v w x y z ".repeat(8));
    let (prefix, suffix) = (ids(&llm, &before), ids(&llm, &after));
    assert!(prefix.len() > 64 && suffix.len() > 64);
    for (start, of_suffix) in [("", 14), ("c", 13), ("c d e f g h i j k l m n o p q r s", 0)] {
        let infill = llm.infill(before.as_str(), after.as_str()).prompt(start);
        let start = ids(&llm, start);
        // Three quarters of 64; and a quarter of 64, less 2 and the beginning of the gap.
        let half = &prefix[prefix.len() - 48..];
        let expected = [&[BOS, PRE], half, &start, &[SUF], &suffix[..of_suffix], &[MID]].concat();
        assert_eq!(prompt(&infill), expected, "{of_suffix}");
    }
    // A batch larger than the context counts as large as the context.
    let small = llama(&ALL[..3], 256, 512);
    let long = small.infill("a ".repeat(400), "b ".repeat(400));
    assert_eq!(prompt(&long).len(), 2 + 192 + 1 + 62 + 1);
    // An explicit limit takes precedence.
    assert_eq!(prompt(&long.max_context(100)).len(), 4 + 100);
}
