//! Beam search, compared with greedy, exhaustive, and a plain search that computes every candidate from the
//! beginning.

use std::cmp::Ordering;

use llama_core::context::{CacheType, FlashAttention};
use llama_core::{Batch, Context, ContextParams, Pos, SeqId, Token, TokenizeOptions};
use llama_gen::{
    Beam, BeamParams, ErrorKind, FinishReason, GenerationBuilder, Llama, LogitBias, SamplingParams,
};
use test_models::Tiny;

/// Returns parameters with a memory of 32 bits, because rounding depends on how many tokens are computed at once.
fn exact() -> ContextParams {
    let params = ContextParams::default().type_k(CacheType::F32).type_v(CacheType::F32);
    params.flash_attention(FlashAttention::Disabled).n_threads(1)
}

fn load(tiny: Tiny) -> Llama {
    Llama::builder(tiny.path()).context_params(exact()).n_ctx(256).load().unwrap()
}

const PROMPT: &str = "hello world";

/// The log-probabilities after a beginning, limited to these tokens if there are any.
struct Oracle<'l> {
    llm: &'l Llama,
    context: Context,
    prompt: Vec<Token>,
    allowed: Vec<Token>,
}

impl<'l> Oracle<'l> {
    fn new(llm: &'l Llama, allowed: &[Token]) -> Self {
        let context = Context::new(llm.model(), &exact().n_ctx(256)).unwrap();
        let prompt = llm.model().vocab().tokenize(PROMPT, TokenizeOptions::default()).unwrap();
        Self { llm, context, prompt, allowed: allowed.to_vec() }
    }

    fn after(&mut self, tokens: &[Token]) -> Vec<(Token, f64)> {
        let all = [self.prompt.as_slice(), tokens].concat();
        let mut batch = Batch::new();
        batch.push_prompt(&all, SeqId::new(0), Pos::new(0)).unwrap();
        self.context.memory().clear(false).unwrap();
        self.context.decode(&batch).unwrap();
        let logits = self.context.logits(batch.last_output()).unwrap();
        let every = (0..i32::try_from(logits.len()).unwrap()).map(Token::new);
        let is_allowed = |token: &Token| self.allowed.is_empty() || self.allowed.contains(token);
        let kept: Vec<(Token, f64)> =
            every.filter(is_allowed).map(|token| (token, f64::from(logits.get(token).unwrap()))).collect();
        let sum: f64 = kept.iter().map(|(_, logit)| logit.exp()).sum();
        kept.into_iter().map(|(token, logit)| (token, logit - sum.ln())).collect()
    }

    fn ends(&self, token: Token) -> bool {
        self.llm.model().vocab().is_eog(token)
    }
}

type Text = (Vec<Token>, f64);

fn better(left: &Text, right: &Text) -> Ordering {
    right.1.partial_cmp(&left.1).unwrap()
}

/// Returns every text of up to this many tokens, the most likely first.
fn exhaustive(oracle: &mut Oracle<'_>, most: usize) -> Vec<Text> {
    let mut open: Vec<Text> = vec![(Vec::new(), 0.0)];
    let mut ended = Vec::new();
    while let Some((tokens, sum)) = open.pop() {
        for (token, log_probability) in oracle.after(&tokens) {
            let text = ([tokens.as_slice(), &[token]].concat(), sum + log_probability);
            let is_whole = oracle.ends(token) || text.0.len() == most;
            if is_whole { ended.push(text) } else { open.push(text) }
        }
    }
    ended.sort_by(better);
    ended
}

/// Runs the documented search without sharing any computation. Texts are compared by sums, until none can become
/// better.
fn plain(oracle: &mut Oracle<'_>, width: usize, most: usize) -> Vec<Text> {
    let mut live: Vec<Text> = vec![(Vec::new(), 0.0)];
    let mut ended: Vec<Text> = Vec::new();
    loop {
        let mut candidates = Vec::new();
        for (tokens, sum) in &live {
            let after = oracle.after(tokens);
            candidates.extend(after.into_iter().map(|(token, log_probability)| {
                ([tokens.as_slice(), &[token]].concat(), sum + log_probability)
            }));
        }
        candidates.sort_by(better);
        live.clear();
        for (rank, text) in candidates.into_iter().enumerate() {
            if oracle.ends(*text.0.last().unwrap()) {
                if rank < width {
                    ended.push(text);
                }
            } else if live.len() < width {
                live.push(text);
            } else {
                break;
            }
        }
        ended.sort_by(better);
        ended.truncate(width);
        let is_whole = live.iter().any(|text| text.0.len() == most);
        let is_closed = ended.len() == width && live[0].1 <= ended[width - 1].1;
        if is_whole || is_closed {
            if is_whole || ended.len() < width {
                ended.append(&mut live);
            }
            ended.sort_by(better);
            ended.truncate(width);
            return ended;
        }
    }
}

fn assert_same(found: &[Beam], expected: &[Text]) {
    let tokens = |beams: &[Beam]| beams.iter().map(|beam| beam.tokens.clone()).collect::<Vec<_>>();
    let expected_tokens: Vec<_> = expected.iter().map(|(tokens, _)| tokens.clone()).collect();
    assert_eq!(tokens(found), expected_tokens);
    for (beam, (_, sum)) in found.iter().zip(expected) {
        assert!((beam.log_probability - sum).abs() < 1e-2, "{} {sum}", beam.log_probability);
    }
}

/// Forbids all tokens but these.
fn only(llm: &Llama, allowed: &[Token]) -> SamplingParams {
    let all = (0..i32::try_from(llm.model().vocab().n_tokens()).unwrap()).map(Token::new);
    let others = all.filter(|token| !allowed.contains(token));
    SamplingParams::default().logit_bias(others.map(LogitBias::forbid).collect())
}

/// Returns three words and the end.
fn words(llm: &Llama) -> Vec<Token> {
    let options = TokenizeOptions::default().add_special(false);
    let vocab = llm.model().vocab();
    let last = |text: &str| vocab.tokenize(text, options).unwrap().last().copied().unwrap();
    let words = ["the river", "the stone", "the light"].map(last);
    words.into_iter().chain(vocab.eos()).collect()
}

fn sums() -> BeamParams {
    BeamParams::default().length_penalty(0.0).early_stopping(false)
}

#[test]
fn a_width_of_one_is_greedy() {
    for tiny in [Tiny::Llama, Tiny::Qwen2, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba] {
        let llm = load(tiny);
        for ignore in [false, true] {
            let generate = || llm.generate(PROMPT).max_tokens(16).temperature(0.0).ignore_eos(ignore);
            let greedy = generate().complete().unwrap();
            let beams = generate().beam_search(&BeamParams::default().width(1)).unwrap();
            let [beam] = beams.as_slice() else { panic!("{beams:?}") };
            assert_eq!((&beam.text, &beam.reason), (&greedy.text, &greedy.finish.reason), "{tiny}");
            assert_eq!(beam.tokens.len(), greedy.finish.usage.completion_tokens);
        }
    }
}

#[test]
fn a_wide_beam_finds_what_an_exhaustive_search_finds() {
    for tiny in [Tiny::Llama, Tiny::Gemma3, Tiny::Mamba, Tiny::Jamba] {
        let llm = load(tiny);
        let allowed = words(&llm);
        let mut oracle = Oracle::new(&llm, &allowed);
        let all = exhaustive(&mut oracle, 3);
        // Ends after one, two and three words, and three words.
        assert_eq!(all.len(), 1 + 3 + 9 + 27);
        let generate = llm.generate(PROMPT).sampling(only(&llm, &allowed)).max_tokens(3);
        let beams = generate.beam_search(&sums().width(27)).unwrap();
        assert_same(&beams, &all[..27]);
    }
}

#[test]
fn narrow_beams_find_what_a_plain_search_finds() {
    let mut missed = 0;
    for tiny in [Tiny::Llama, Tiny::Qwen2, Tiny::Jamba] {
        let llm = load(tiny);
        for allowed in [Vec::new(), words(&llm)] {
            let mut oracle = Oracle::new(&llm, &allowed);
            for width in [2, 3, 5] {
                let expected = plain(&mut oracle, width, 5);
                let sampling =
                    if allowed.is_empty() { SamplingParams::default() } else { only(&llm, &allowed) };
                let generate = llm.generate(PROMPT).sampling(sampling).max_tokens(5);
                assert_same(&generate.beam_search(&sums().width(width)).unwrap(), &expected);
            }
            if !allowed.is_empty() {
                let best = exhaustive(&mut oracle, 5).swap_remove(0);
                missed += usize::from(plain(&mut oracle, 1, 5)[0].0 != best.0);
            }
        }
    }
    assert!(missed > 0, "there is something to find that greedy misses");
}

#[test]
fn the_length_penalty_favours_longer_texts() {
    let llm = load(Tiny::Llama);
    let allowed = words(&llm);
    let search = |penalty| {
        let generate = llm.generate(PROMPT).sampling(only(&llm, &allowed)).max_tokens(6);
        let params = BeamParams::default().width(8).length_penalty(penalty).early_stopping(false);
        generate.beam_search(&params).unwrap()
    };
    let (short, long) = (search(0.0), search(4.0));
    let length = |beams: &[Beam]| beams.iter().map(|beam| beam.tokens.len()).sum::<usize>();
    assert!(length(&short) < length(&long), "{short:?} {long:?}");
    for beam in &long {
        let n_tokens = f64::from(u32::try_from(beam.tokens.len()).unwrap());
        assert!((beam.score - beam.log_probability / n_tokens.powi(4)).abs() < 1e-12);
    }
    assert!(long.windows(2).all(|pair| pair[0].score >= pair[1].score));
}

#[test]
fn texts_end_as_others_do() {
    let llm = load(Tiny::Llama);
    let beams = |generate: GenerationBuilder| generate.beam_search(&BeamParams::default().width(4)).unwrap();
    let whole = beams(llm.generate(PROMPT).max_tokens(6).ignore_eos(true));
    assert!(whole.iter().all(|beam| beam.reason == FinishReason::MaxTokens && beam.tokens.len() == 6));
    // A stop string in the middle of the best text.
    let cut = whole[0].text.char_indices().nth(3).unwrap().0;
    let (shown, rest) = whole[0].text.split_at(cut);
    let stop: String = rest.chars().take(3).collect();
    let stopped = beams(llm.generate(PROMPT).max_tokens(6).ignore_eos(true).stop(&stop));
    let found = stopped.iter().find(|beam| beam.text == shown).unwrap();
    assert_eq!(found.reason, FinishReason::StopString(stop.clone()));
    assert!(stopped.iter().all(|beam| !beam.text.contains(&stop)), "{stopped:?}");
    let full = llm.generate("hello ".repeat(120)).ignore_eos(true);
    let full = full.beam_search(&BeamParams::default().width(2)).unwrap();
    assert!(full.iter().all(|beam| beam.reason == FinishReason::ContextFull), "{full:?}");
    let over = llm.generate(PROMPT).timeout(std::time::Duration::ZERO);
    let over = over.beam_search(&BeamParams::default()).unwrap();
    assert!(over.iter().all(|beam| beam.reason == FinishReason::Deadline), "{over:?}");
}

#[test]
fn what_cannot_be_is_refused() {
    let llm = load(Tiny::Llama);
    let error = llm.generate(PROMPT).beam_search(&BeamParams::default().width(0).length_penalty(-1.0));
    let error = error.unwrap_err();
    let ErrorKind::InvalidParameters { problems, .. } = error.kind() else { panic!("{error}") };
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        ["width is 0, but must be from 1 to 256", "length_penalty is -1, but must be from 0 to 100"]
    );
    let grammar = SamplingParams::default().grammar("root ::= \"a\"");
    let error = llm.generate(PROMPT).sampling(grammar).beam_search(&BeamParams::default()).unwrap_err();
    assert!(error.to_string().contains("grammar is set, but must be left out of a beam search"), "{error}");
    let params: BeamParams = serde_json::from_str(r#"{"width": 2}"#).unwrap();
    assert_eq!(params, BeamParams::default().width(2));
}
