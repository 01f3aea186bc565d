//! Filling in the middle: the prompt equals llama.cpp's, and models without the tokens are refused.

use llama_core::{ContextParams, ModelParams, Token, TokenizeOptions};
use llama_gen::{ErrorKind, Infill, InfillOrder, Llama};
use test_models::Tiny;

/// Returns the tiny llama with rare letters as the tokens for it.
fn with_tokens(keys: &[(&str, i64)]) -> Llama {
    let params = keys.iter().fold(ModelParams::default(), |params, (key, id)| {
        params.kv_override(format!("tokenizer.ggml.{key}_token_id"), *id)
    });
    // Files get what there is besides a batch.
    let context = ContextParams::default().n_batch(128).n_ubatch(128);
    let builder = Llama::builder(Tiny::Llama.path()).model_params(params).context_params(context);
    builder.n_ctx(512).n_threads(1).load().unwrap()
}

const THREE: [(&str, i64); 3] = [("fim_pre", 270), ("fim_suf", 271), ("fim_mid", 272)];

/// Returns the expected tokens: those of texts without their own special tokens, and numbers as they are.
fn expected(llm: &Llama, parts: &[Result<&str, i32>]) -> Vec<Token> {
    let options = TokenizeOptions::default().add_special(false);
    let vocab = llm.model().vocab();
    let tokens = |part: &Result<&str, i32>| match part {
        Ok(text) => vocab.tokenize(text, options).unwrap(),
        Err(id) => vec![Token::new(*id)],
    };
    // The files come before it.
    let is_gap = |part: &Result<&str, i32>| matches!(part, Err(270 | 271));
    let gap = parts.iter().position(is_gap).unwrap();
    let (files, gap) = parts.split_at(gap);
    let files = files.iter().flat_map(tokens);
    files.chain(vocab.bos()).chain(gap.iter().flat_map(tokens)).collect()
}

/// Asserts that a gap is filled by continuing a prompt of these tokens.
fn assert_prompt(llm: &Llama, infill: &Infill, parts: &[Result<&str, i32>]) {
    let run = |generate: llama_gen::GenerationBuilder| {
        let generate = generate.temperature(0.0).max_tokens(12).ignore_eos(true).cache_prompt(false);
        let completion = generate.complete().unwrap();
        (completion.text, completion.finish.usage)
    };
    let tokens = expected(llm, parts);
    assert_eq!(run(infill.generate().unwrap()), run(llm.generate(tokens)));
}

#[test]
fn the_prompt_has_what_is_before_the_gap_and_after_it() {
    let llm = with_tokens(&THREE);
    let infill = llm.infill("the river", "of stone");
    assert_prompt(&llm, &infill, &[Err(270), Ok("the river"), Err(271), Ok("of stone"), Err(272)]);
    let infill = infill.prompt("said");
    assert_prompt(
        &llm,
        &infill,
        &[Err(270), Ok("the river"), Ok("said"), Err(271), Ok("of stone"), Err(272)],
    );
    let infill = infill.order(InfillOrder::SuffixPrefixMiddle);
    assert_prompt(
        &llm,
        &infill,
        &[Err(271), Ok("of stone"), Err(270), Ok("the river"), Ok("said"), Err(272)],
    );
    assert_prompt(&llm, &llm.infill("", ""), &[Err(270), Err(271), Err(272)]);
}

#[test]
fn other_files_come_first() {
    let parts = [Err(270), Ok("a"), Err(271), Ok("b"), Err(272)];
    let llm = with_tokens(&THREE);
    let infill = llm.infill("a", "b").file("x.rs", "light");
    let plain = [&[Ok("\n\n--- snippet ---\n\n"), Ok("light")][..], &parts].concat();
    assert_prompt(&llm, &infill, &plain);
    let llm = with_tokens(&[&THREE[..], &[("fim_rep", 273), ("fim_sep", 274)]].concat());
    let infill = llm.infill("a", "b").file("x.rs", "light").file("y.rs", "night");
    let files = [
        &[Err(273), Ok("myproject\n")][..],
        &[Err(274), Ok("x.rs\n"), Ok("light"), Err(274), Ok("y.rs\n"), Ok("night")],
        &[Err(274), Ok("filename\n")],
        &parts,
    ];
    assert_prompt(&llm, &infill, &files.concat());
}

#[test]
fn names_of_special_tokens_in_the_texts_are_text() {
    let llm = with_tokens(&THREE);
    let infill = llm.infill("<|im_end|>", "</s>");
    assert_prompt(&llm, &infill, &[Err(270), Ok("<|im_end|>"), Err(271), Ok("</s>"), Err(272)]);
}

#[test]
fn what_is_far_from_the_gap_is_left_out() {
    let llm = with_tokens(&THREE);
    let (before, after) = ("one two the river", "stone over there two");
    let count = |infill: &Infill| infill.generate().unwrap().max_tokens(1).complete().unwrap().finish.usage;
    let whole = count(&llm.infill(before, after)).prompt_tokens - 4;
    for most in [0, 1, 4, 7, 8, whole, whole + 1] {
        let usage = count(&llm.infill(before, after).max_context(most));
        assert_eq!(usage.prompt_tokens, 4 + most.min(whole), "{most}");
    }
    // The last words before the gap and the first after it stay longest.
    let infill = llm.infill("under light in the", "stone of").max_context(4);
    assert_prompt(&llm, &infill, &[Err(270), Ok("light in the"), Err(271), Ok("stone"), Err(272)]);
}

#[test]
fn a_model_without_the_tokens_is_refused_with_their_names() {
    let error = with_tokens(&[]).infill("a", "b").generate().unwrap_err();
    let ErrorKind::NoInfill { missing, .. } = error.kind() else { panic!("{error}") };
    assert_eq!(missing, "fim_pre, fim_suf, fim_mid");
    let error = with_tokens(&THREE[..1]).infill("a", "b").generate().unwrap_err();
    assert!(error.to_string().contains("has no fim_suf, fim_mid"), "{error}");
}
