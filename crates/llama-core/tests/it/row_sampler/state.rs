//! Copies, resets, seeds, accepted tokens, reported values, and refusals.

use super::*;
use llama_core::sampler::{AdaptiveP, Dry, DynamicTemperature, MirostatV2, Penalties, Xtc};

fn default(seed: u32) -> SamplerChainBuilder {
    SamplerChain::builder()
        .penalties(equality::penalties())
        .top_k(40)
        .xtc(0.5, 0.1, seed)
        .temperature(1.5)
        .dist(seed)
}

fn draw(sampler: &mut RowSampler, row: &[f32], count: usize) -> Vec<Token> {
    (0..count).map(|_| sampler.sample_row(row).unwrap()).collect()
}

#[test]
fn a_copy_goes_on_alike_and_a_reset_begins_again() {
    let row = rows::peaked(5000, 1);
    let mut sampler = default(9).build_row().unwrap();
    let beginning = draw(&mut sampler, &row, 20);
    let mut copy = sampler.clone();
    let rest = draw(&mut sampler, &row, 20);
    assert_eq!(draw(&mut copy, &row, 20), rest);
    assert_ne!(beginning, rest);
    sampler.reset();
    assert_eq!(draw(&mut sampler, &row, 20), beginning);
    assert_eq!(draw(&mut default(9).build_row().unwrap(), &row, 20), beginning);
    assert_ne!(draw(&mut default(10).build_row().unwrap(), &row, 20), beginning);
}

#[test]
fn seeds_are_told_also_when_they_were_drawn() {
    let new = SamplerChain::builder;
    assert_eq!(default(9).build_row().unwrap().seed(), Some(9));
    assert_eq!(new().greedy().build_row().unwrap().seed(), None);
    assert_eq!(new().xtc(0.5, 0.1, 7).greedy().build_row().unwrap().seed(), Some(7));
    let row = vec![0.0; 100_000];
    let mut drawn = new().dist(Seed::Random).build_row().unwrap();
    let seed = drawn.seed().unwrap();
    assert_ne!(seed, u32::MAX);
    let tokens = draw(&mut drawn, &row, 5);
    assert_eq!(draw(&mut new().dist(seed).build_row().unwrap(), &row, 5), tokens);
    drawn.reset();
    assert_ne!(drawn.seed().unwrap(), seed);
}

#[test]
fn what_is_accepted_counts_as_in_the_chain() {
    let row = rows::peaked(2000, 3);
    let penalties = Penalties::default().last_n(3).repeat(1.0).frequency(2.0).presence(50.0);
    let mut pair = Pair::of(SamplerChain::builder().penalties(penalties).greedy());
    let first = pair.check(&row).unwrap();
    let second = pair.check(&row).unwrap();
    assert_ne!(first, second);
    let prompt = [first, second, second, first, token(1_000_000)];
    pair.chain.accept_prompt(&prompt).unwrap();
    pair.row.accept_prompt(&prompt).unwrap();
    for _ in 0..10 {
        pair.check(&row);
        pair.chain.accept(second).unwrap();
        pair.row.accept(second).unwrap();
    }
    let error = pair.row.accept_prompt(&[first, token(-1)]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidToken { token: -1, .. }), "{error:?}");
}

#[test]
fn a_choice_tells_the_models_probabilities_and_the_samplers() {
    for length in [50, 3000] {
        let row = rows::peaked(length, 2);
        let log_sum = row.iter().map(|logit| f64::from(*logit).exp()).sum::<f64>().ln();
        let mut ids: Vec<usize> = (0..length).collect();
        ids.sort_by(|left, right| row[*right].total_cmp(&row[*left]).then(left.cmp(right)));
        let mut sampler = SamplerChain::builder().top_k(3).dist(1).build_row().unwrap();
        let mut choice = Choice::default();
        for n_top in [0, 1, 5, 300, length, usize::MAX] {
            let token = sampler.choose(&row, n_top, &mut choice).unwrap();
            assert_eq!(choice.token, token);
            let expected = f64::from(row[index(token)]) - log_sum;
            assert!((f64::from(choice.log_probability) - expected).abs() < 1e-5, "{choice:?} {expected}");
            let kept: f64 = ids[..3].iter().map(|id| f64::from(row[*id]).exp()).sum();
            let expected = f64::from(row[index(token)]).exp() / kept;
            assert!((f64::from(choice.probability) - expected).abs() < 1e-5, "{choice:?} {expected}");
            let found: Vec<usize> = choice.top.iter().map(|(token, _)| index(*token)).collect();
            assert_eq!(found, ids[..n_top.min(length)]);
            for (token, log) in &choice.top {
                assert!((f64::from(*log) - (f64::from(row[index(*token)]) - log_sum)).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn a_choice_of_equal_and_of_infinite_logits() {
    let mut sampler = SamplerChain::builder().greedy().build_row().unwrap();
    let mut choice = Choice::default();
    sampler.choose(&[1.0; 4], 2, &mut choice).unwrap();
    assert_eq!(choice.top, [(token(0), -(4.0_f32.ln())), (token(1), -(4.0_f32.ln()))]);
    assert_eq!((choice.token, choice.probability), (token(0), 1.0));
    let row = [0.0, f32::INFINITY, f32::NEG_INFINITY, f32::INFINITY];
    sampler.choose(&row, 4, &mut choice).unwrap();
    let half = -(2.0_f32.ln());
    assert_eq!((choice.token, choice.log_probability), (token(1), half));
    let expected = [(token(1), half), (token(3), half), (token(0), f32::NEG_INFINITY)];
    assert_eq!(choice.top, expected);
    let before = choice.clone();
    sampler.choose(&[f32::NAN], 4, &mut choice).unwrap_err();
    assert_eq!(choice, before);
}

#[test]
fn samplers_without_a_form_for_rows_are_named() {
    let model = vocabulary(100);
    let new = SamplerChain::builder;
    let text = |builder: SamplerChainBuilder| builder.build_row().unwrap_err().to_string();
    let expected = "it cannot work on rows: make a chain with `build` instead";
    for (builder, name) in [
        (new().typical_p(0.9).greedy(), "typical"),
        (new().push(Sampler::DynamicTemperature(DynamicTemperature::default())).greedy(), "temp-ext"),
        (new().mirostat(&model, 5.0, 0.1, 1), "mirostat"),
        (new().push(Sampler::MirostatV2(MirostatV2::new(5.0, 0.1).seed(1))), "mirostat-v2"),
        (new().push(Sampler::AdaptiveP(AdaptiveP::new(0.5, 0.5).seed(1))), "adaptive-p"),
        (new().dry(&model, Dry::default().breakers(Vec::<String>::new())).greedy(), "dry"),
    ] {
        assert_eq!(text(builder), format!("sampler {name}: {expected}"));
    }
    let several = new().typical_p(0.9).top_k(3).temperature_ext(1.0, 0.5, 1.0).mirostat_v2(5.0, 0.1, 1);
    match several.build_row().unwrap_err().kind() {
        ErrorKind::InvalidSamplers { problems, .. } => {
            let found: Vec<_> = problems.iter().map(|problem| (problem.index, problem.sampler)).collect();
            assert_eq!(found, [(0, "typical"), (2, "temp-ext"), (3, "mirostat-v2")]);
            assert!(problems.iter().all(|problem| problem.reason == expected));
        }
        other => panic!("{other:?}"),
    }
    // What is wrong with the values comes first, as in a chain.
    assert!(text(new().top_p(2.0).greedy()).starts_with("sampler top-p: p is 2"));
    assert!(text(new().top_k(2)).contains("does not select a token"));
}

#[test]
fn samplers_that_are_switched_off_do_nothing() {
    let rows = rows::kinds(3000, 17);
    let builder = SamplerChain::builder()
        .top_k(30)
        .penalties(Penalties::default())
        .penalties(Penalties::default().last_n(0).repeat(2.0))
        .logit_bias(&vocabulary(3000), [])
        .top_p(1.0)
        .min_p(0.0)
        .temperature(1.0)
        .top_n_sigma(0.0)
        .push(Sampler::Xtc(Xtc::new(0.0, 0.1).min_keep(1).seed(3)))
        .xtc(1.0, 0.6, 3)
        .top_k(0)
        .dist(4);
    let mut pair = Pair::of(builder.clone());
    pair.check_all(&rows);
    let (mut all, mut few) =
        (builder.build_row().unwrap(), SamplerChain::builder().top_k(30).dist(4).build_row().unwrap());
    for row in &rows {
        assert_eq!(all.sample_row(row).unwrap(), few.sample_row(row).unwrap());
    }
    assert_eq!(all.samplers().len(), 12);
}

#[test]
fn it_can_be_sent_and_shared() {
    fn both<T: Send + Sync + Clone>(_: &T) {}
    both(&default(1).build_row().unwrap());
    assert!(
        format!("{:?}", default(1).build_row().unwrap()).starts_with("RowSampler { samplers: [Penalties")
    );
}
