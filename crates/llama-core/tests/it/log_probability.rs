//! Log-probabilities and the most likely tokens of a row, compared with a plain computation.

use crate::greedy::{SEQ, decode, load, load_smollm2, params, tokens};
use llama_core::context::PoolingType;
use llama_core::embeddings::normalize_l2;
use llama_core::sampler::Choice;
use llama_core::{Batch, Context, ErrorKind, Logits, Pos, SamplerChain, Token};
use test_models::Tiny;

/// Computes log-softmax directly in double precision.
fn plain(row: &[f32]) -> Vec<f64> {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|logit| (f64::from(*logit) - f64::from(max)).exp()).sum();
    row.iter().map(|logit| f64::from(*logit) - f64::from(max) - sum.ln()).collect()
}

#[track_caller]
fn assert_near(found: f32, expected: f64) {
    assert!((f64::from(found) - expected).abs() < 2e-5, "{found} {expected}");
}

#[track_caller]
fn assert_row_is_right(row: &Logits<'_>) {
    let expected = plain(row);
    let mut all = vec![7.0; 3];
    row.log_softmax(&mut all);
    assert_eq!(all.len(), expected.len());
    let mut sum = 0.0;
    for (found, expected) in all.iter().zip(&expected) {
        assert_near(*found, *expected);
        sum += f64::from(*found).exp();
    }
    assert!((sum - 1.0).abs() < 1e-4, "{sum}");
    for id in (0..expected.len()).step_by(37) {
        let token = Token::new(i32::try_from(id).unwrap());
        assert_eq!(row.log_probability(token), Some(all[id]));
    }
    for outside in [-1, i32::try_from(expected.len()).unwrap(), i32::MAX, i32::MIN] {
        assert_eq!(row.log_probability(Token::new(outside)), None);
    }

    // By the logits: different ones can round to the same log-probability.
    let mut ids: Vec<usize> = (0..row.len()).collect();
    ids.sort_by(|left, right| row[*right].total_cmp(&row[*left]).then(left.cmp(right)));
    let token = |id: usize| Token::new(i32::try_from(id).unwrap());
    let sorted: Vec<(Token, f32)> = ids.into_iter().map(|id| (token(id), all[id])).collect();
    let mut top = Vec::new();
    for k in [0, 1, 2, 5, 40, 400, expected.len() - 1, expected.len(), expected.len() + 1, usize::MAX] {
        row.top_k(k, &mut top);
        assert_eq!(top.len(), k.min(expected.len()), "{k}");
        assert!(top[..] == sorted[..top.len()], "{k}");
    }
    row.top_k(1, &mut top);
    assert_eq!(top[0].0, row.argmax());
}

#[test]
fn every_way_to_a_probability_gives_the_same() {
    let mut row: Vec<f32> = (0..70_000_u32).map(|id| ((id * 7919 % 10_007) as f32).sqrt() / 7.0).collect();
    row[17] = f32::NAN;
    row[40_000] = f32::NEG_INFINITY;
    row[60_001] = 31.5;
    let logits = Logits::from_slice(&row);
    let softmax = logits.softmax();
    let (mut all, mut others, mut top) = (Vec::new(), vec![7.0], Vec::new());
    logits.log_softmax(&mut all);
    softmax.log_probabilities(&mut others);
    assert_eq!(all, others);
    softmax.top_k(50, &mut top);
    let mut sampler = SamplerChain::builder().top_k(50).greedy().build_row().unwrap();
    let without_nan: Vec<f32> =
        row.iter().map(|it| if it.is_nan() { f32::NEG_INFINITY } else { *it }).collect();
    let mut choice = Choice::default();
    sampler.choose(&without_nan, 50, &mut choice).unwrap();
    assert_eq!(choice.top, top);
    assert_eq!((choice.token, choice.log_probability), top[0]);
    for (token, value) in &top {
        assert_eq!(softmax.log_probability(*token), Some(*value));
        assert_eq!(logits.log_probability(*token), Some(*value));
        assert_eq!(all[usize::try_from(token.get()).unwrap()], *value);
    }
    assert_eq!(softmax.log_probability(Token::new(17)), Some(f32::NEG_INFINITY));
    assert_eq!(softmax.log_probability(Token::new(70_000)), None);
    let sum: f64 = all.iter().map(|value| f64::from(*value).exp()).sum();
    assert!((sum - 1.0).abs() < 1e-6, "{sum}");
}

#[test]
fn the_likeliest_are_found_wherever_they_are() {
    let mut top = Vec::new();
    for length in [1, 2, 63, 64, 65, 200, 1000] {
        for k in [1, 2, 3, 40] {
            for shift in [0, 1, 37, 63, 64] {
                let row: Vec<f32> =
                    (0..length).map(|id| (((id + shift) * 7919) % 31) as f32 - 40.0).collect();
                let mut ids: Vec<usize> = (0..length).collect();
                ids.sort_by(|left, right| row[*right].total_cmp(&row[*left]).then(left.cmp(right)));
                Logits::from_slice(&row).top_k(k, &mut top);
                let found: Vec<usize> =
                    top.iter().map(|(id, _)| usize::try_from(id.get()).unwrap()).collect();
                assert_eq!(found, ids[..k.min(length)], "{k} of {length}, {shift}");
            }
        }
    }
    let row = [f32::NAN, 1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::INFINITY];
    Logits::from_slice(&row).top_k(4, &mut top);
    let half = -core::f32::consts::LN_2;
    let low = f32::NEG_INFINITY;
    let expected = [(3, half), (5, half), (1, low), (4, low)].map(|(id, value)| (Token::new(id), value));
    assert_eq!(top, expected);
}

#[test]
fn rows_of_models() {
    for tiny in [Tiny::Llama, Tiny::Mamba, Tiny::Gemma3] {
        let model = load(tiny);
        let prompt = tokens(&model, "Hello world");
        let mut context = Context::new(&model, &params()).unwrap();
        decode(&mut context, &prompt, SEQ, 0);
        assert_row_is_right(&context.logits(prompt.len() - 1).unwrap());
    }
}

#[test]
fn the_capital_of_france_is_likely() {
    let model = load_smollm2();
    let prompt = tokens(&model, "The capital of France is");
    let mut context = Context::new(&model, &params()).unwrap();
    decode(&mut context, &prompt, SEQ, 0);
    let row = context.logits(prompt.len() - 1).unwrap();
    assert_row_is_right(&row);
    let mut top = Vec::new();
    row.top_k(3, &mut top);
    assert_eq!(model.vocab().token_to_bytes(top[0].0, false).unwrap(), b" Paris");
    // Nearly three of four; the other two are far below.
    let probabilities: Vec<f32> = top.iter().map(|(_, log)| log.exp()).collect();
    assert!(probabilities[0] > 0.5 && probabilities[0] < 0.95, "{probabilities:?}");
    assert!(probabilities[1] < 0.1 && probabilities[1] >= probabilities[2], "{probabilities:?}");
}

#[test]
fn rows_of_a_batch_one_after_the_other() {
    for tiny in [Tiny::Llama, Tiny::Mamba] {
        let model = load(tiny);
        let prompt = tokens(&model, "Hello world");
        let mut context = Context::new(&model, &params()).unwrap();
        assert_eq!(context.logits_rows().unwrap().count(), 0);
        let mut batch = Batch::new();
        let wanted = [1, 2, 4];
        for (index, token) in prompt.iter().enumerate() {
            let pos = Pos::new(i32::try_from(index).unwrap());
            batch.push(*token, pos, &[SEQ], wanted.contains(&index)).unwrap();
        }
        context.decode(&batch).unwrap();
        let rows: Vec<(usize, Logits<'_>)> = context.logits_rows().unwrap().collect();
        assert_eq!(rows.iter().map(|(index, _)| *index).collect::<Vec<_>>(), wanted, "{tiny}");
        for (index, row) in rows {
            assert!(row.as_slice() == context.logits(index).unwrap().as_slice(), "{tiny} {index}");
        }
        // Without embeddings there are none.
        let error = context.embeddings_rows().map(drop).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NoOutput { what: "embeddings", .. }), "{error:?}");
        // Nothing asked for, nothing given.
        batch.clear();
        batch.push(prompt[0], Pos::new(i32::try_from(prompt.len()).unwrap()), &[SEQ], false).unwrap();
        context.decode(&batch).unwrap();
        assert_eq!(context.logits_rows().unwrap().count(), 0);
    }
}

#[test]
fn embeddings_of_a_batch_one_after_the_other() {
    let model = load(Tiny::Bert);
    let prompt = tokens(&model, "hello world");
    let params = params().embeddings(true);
    let mut context = Context::new(&model, &params.clone().pooling_type(PoolingType::None)).unwrap();
    decode(&mut context, &prompt, SEQ, 0);
    let rows: Vec<(usize, &[f32])> = context.embeddings_rows().unwrap().collect();
    assert_eq!(rows.len(), prompt.len());
    for (index, row) in rows {
        assert_eq!(row.len(), 64);
        assert!(row == context.embeddings(index).unwrap());
    }
    let mut pooled = Context::new(&model, &params).unwrap();
    decode(&mut pooled, &prompt, SEQ, 0);
    let error = pooled.embeddings_rows().map(drop).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error:?}");
    // A unit vector's dot product with itself is one.
    let mut unit = pooled.embeddings_seq(SEQ).unwrap().to_vec();
    normalize_l2(&mut unit);
    let square: f32 = unit.iter().map(|value| value * value).sum();
    assert!((square - 1.0).abs() < 1e-6, "{square}");
}

#[test]
fn lengths_at_the_edges() {
    let normalized = |row: &[f32]| {
        let mut row = row.to_vec();
        normalize_l2(&mut row);
        row
    };
    assert_eq!(normalized(&[0.0, 0.0]), [0.0, 0.0]);
    assert_eq!(normalized(&[]), [0.0; 0]);
    // Squares of these do not fit into a float.
    let found = normalized(&[3e30, -4e30]);
    assert!((found[0] - 0.6).abs() < 1e-6 && (found[1] + 0.8).abs() < 1e-6, "{found:?}");
    assert_eq!(normalized(&[0.0, 1e-30]), [0.0, 1.0]);
}
