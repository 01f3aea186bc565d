//! Log-probabilities and perplexity of a given text, compared with a direct computation from the logits.

use llama_core::context::{CacheType, FlashAttention};
use llama_core::{Batch, Context, ContextParams, Pos, SeqId, Token, TokenizeOptions};
use llama_gen::{ErrorKind, Llama};
use test_models::{Tiny, smollm2};

/// Returns parameters with a memory of 32 bits, because rounding depends on how many tokens are computed at once.
fn exact() -> ContextParams {
    let params = ContextParams::default().type_k(CacheType::F32).type_v(CacheType::F32);
    params.flash_attention(FlashAttention::Disabled).n_threads(1)
}

fn load(path: std::path::PathBuf, n_ctx: u32) -> Llama {
    Llama::builder(path).context_params(exact()).n_ctx(n_ctx).load().unwrap()
}

/// Returns the log-probability of each token but the first, one token at a time, with the softmax in 64 bits.
fn by_hand(llm: &Llama, tokens: &[Token]) -> Vec<f64> {
    let mut context = Context::new(llm.model(), &exact().n_ctx(512)).unwrap();
    let mut batch = Batch::new();
    let mut result = Vec::new();
    for (place, pair) in tokens.windows(2).enumerate() {
        batch.clear();
        let pos = Pos::new(i32::try_from(place).unwrap());
        batch.push(pair[0], pos, &[SeqId::new(0)], true).unwrap();
        context.decode(&batch).unwrap();
        let logits = context.logits(0).unwrap();
        let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        result.push(f64::from(logits.get(pair[1]).unwrap()) - sum.ln());
    }
    result
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / f64::from(u32::try_from(values.len()).unwrap())
}

#[test]
fn perplexity_is_what_the_logits_say() {
    // What CPUs round differently, one token or several at once, is most in quantised weights.
    for (path, limit) in [
        (Tiny::Llama.path(), 1e-3),
        (Tiny::Gemma3.path(), 1e-3),
        (Tiny::Mamba.path(), 1e-3),
        (Tiny::Jamba.path(), 1e-3),
        (smollm2(), 5e-2),
    ] {
        let llm = load(path.clone(), 256);
        let text = "The river under the stone is light, and all that the world said was: hello over there.";
        let tokens = llm.model().vocab().tokenize(text, TokenizeOptions::default()).unwrap();
        let expected = by_hand(&llm, &tokens);
        let score = llm.score(text).unwrap();
        assert_eq!(score.tokens.iter().map(|token| token.id).collect::<Vec<_>>(), tokens);
        assert_eq!(score.tokens[0].log_probability, None);
        assert_eq!(score.n_scored(), tokens.len() - 1);
        for (token, expected) in score.tokens[1..].iter().zip(&expected) {
            let found = f64::from(token.log_probability.unwrap());
            assert!((found - expected).abs() < 20.0 * limit, "{}: {found} {expected}", path.display());
        }
        assert!((score.log_probability() - expected.iter().sum::<f64>()).abs() < limit * 50.0);
        let perplexity = (-mean(&expected)).exp();
        let found = score.perplexity().unwrap();
        assert!((found / perplexity - 1.0).abs() < limit, "{}: {found} {perplexity}", path.display());
        let bytes: Vec<u8> = score.tokens.iter().flat_map(|token| token.bytes.clone()).collect();
        assert!(String::from_utf8(bytes).unwrap().ends_with(text));
    }
}

#[test]
fn a_text_longer_than_the_context_is_judged_through_windows() {
    let llm = load(Tiny::Llama.path(), 256);
    let bos = llm.model().vocab().bos().unwrap();
    let words = llm.model().vocab().tokenize(&"the river said hello to a stone ".repeat(100), {
        TokenizeOptions::default().add_special(false)
    });
    let words = words.unwrap();
    let tokens: Vec<Token> = core::iter::once(bos).chain(words.into_iter().take(599)).collect();
    let score = llm.score(tokens.as_slice()).unwrap();
    assert_eq!((score.tokens.len(), score.n_scored()), (600, 599));
    // The windows by hand: 256 tokens; then the beginning of texts, and 255 from half a window before the end of the last.
    let mut expected = by_hand(&llm, &tokens[..256]);
    let mut end = 256;
    while end < tokens.len() {
        let start = end - 128;
        let next_end = tokens.len().min(start + 255);
        let window = [&[bos], &tokens[start..next_end]].concat();
        expected.extend(&by_hand(&llm, &window)[end - start..]);
        end = next_end;
    }
    assert_eq!(expected.len(), 599);
    for (index, (token, expected)) in score.tokens[1..].iter().zip(&expected).enumerate() {
        let found = f64::from(token.log_probability.unwrap());
        assert!((found - expected).abs() < 1e-2, "{index}: {found} {expected}");
    }
}

#[test]
fn a_score_leaves_nothing_behind() {
    let llm = load(Tiny::Llama.path(), 256);
    let run = || llm.generate("hello").max_tokens(8).temperature(0.0).complete().unwrap();
    let before = run();
    llm.score("hello world").unwrap();
    let after = run();
    assert_eq!(before.text, after.text);
    assert_eq!(after.finish.usage.reused_tokens, 0);
}

#[test]
fn a_text_of_one_token_has_no_perplexity_and_one_of_none_is_refused() {
    let llm = load(Tiny::Llama.path(), 256);
    let score = llm.score(vec![Token::new(300)]).unwrap();
    assert_eq!((score.n_scored(), score.perplexity(), score.log_probability()), (0, None, 0.0));
    let error = llm.score(Vec::<Token>::new()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidPrompt { .. }), "{error}");
    let error = llm.score(vec![Token::new(300), Token::new(99_999)]).unwrap_err();
    assert!(error.to_string().contains("token 99999 is out of range"), "{error}");
    assert!(llm.score("fine again").is_ok());
}
