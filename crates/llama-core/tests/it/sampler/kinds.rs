//! The effect of each sampler on rows with known results.

use super::*;

#[test]
fn greedy_selects_the_first_of_the_largest() {
    let mut chain = SamplerChain::builder().greedy().build().unwrap();
    assert_eq!(selected(&applied(&mut chain, &[0.5, 2.0, -1.0, 2.0])), 1);
    assert_eq!(chain.sample_logits(&[0.5, 2.0, 7.0]).unwrap(), token(2));
    assert_eq!(chain.sample_logits(&[f32::NEG_INFINITY, -3.0]).unwrap(), token(1));
}

#[test]
fn top_k_keeps_k_sorted() {
    let mut chain = SamplerChain::builder().top_k(2).greedy().build().unwrap();
    let candidates = applied(&mut chain, &[1.0, 3.0, 2.0, 0.0]);
    assert_eq!(ids(&candidates), [1, 2]);
    assert!(candidates.is_sorted());
    // More than there are, past 128, where llama.cpp sorts by buckets, and all.
    let row: Vec<f32> = (0..1000_u16).map(|id| f32::from((id * 37) % 1000) / 50.0 - 9.0).collect();
    let mut by_logit: Vec<i32> = (0..1000).collect();
    by_logit.sort_by(|a, b| row[index(*b)].total_cmp(&row[index(*a)]));
    for (k, kept) in [(200_u32, 200), (5000, 1000), (u32::MAX, 1000)] {
        let mut chain = SamplerChain::builder().top_k(k).greedy().build().unwrap();
        assert_eq!(ids(&applied(&mut chain, &row)), by_logit[..kept], "{k}");
    }
    let mut off = SamplerChain::builder().top_k(0).greedy().build().unwrap();
    assert_eq!(applied(&mut off, &row).len(), 1000);
    assert_eq!(off.names(), ["?top-k", "greedy"]);
}

#[test]
fn top_p_keeps_the_mass() {
    let row = logits(&[0.1, 0.4, 0.3, 0.2]);
    for (p, kept) in
        [(0.0, vec![1]), (0.35, vec![1]), (0.6, vec![1, 2]), (0.85, vec![1, 2, 3]), (1.0, vec![0, 1, 2, 3])]
    {
        let mut chain = SamplerChain::builder().top_p(p).greedy().build().unwrap();
        assert_eq!(ids(&applied(&mut chain, &row)), kept, "{p}");
    }
    let chain = SamplerChain::builder().push(Sampler::TopP { p: 0.1, min_keep: 3 }).greedy().build();
    assert_eq!(ids(&applied(&mut chain.unwrap(), &row)), [1, 2, 3]);
}

#[test]
fn min_p_keeps_what_is_near_the_top() {
    let row = logits(&[0.1, 0.4, 0.3, 0.2]);
    for (p, kept) in [(0.0, vec![0, 1, 2, 3]), (0.45, vec![1, 2, 3]), (0.7, vec![1, 2]), (1.0, vec![1])] {
        let mut chain = SamplerChain::builder().min_p(p).greedy().build().unwrap();
        assert_eq!(ids(&applied(&mut chain, &row)), kept, "{p}");
    }
    let chain = SamplerChain::builder().push(Sampler::MinP { p: 0.9, min_keep: 2 }).greedy().build();
    assert_eq!(ids(&applied(&mut chain.unwrap(), &row)), [1, 2]);
}

#[test]
fn typical_prefers_the_expected_surprise() {
    // The entropy is 1.06 nats. The surprise of 0.2 is 1.61, of 0.6 is 0.51, of 0.15 is 1.90, of 0.05 is 3.0.
    let row = logits(&[0.2, 0.6, 0.15, 0.05]);
    for (p, kept) in [(0.1, vec![0]), (0.5, vec![0, 1]), (0.85, vec![0, 1, 2]), (1.0, vec![0, 1, 2, 3])] {
        let mut chain = SamplerChain::builder().typical_p(p).greedy().build().unwrap();
        assert_eq!(ids(&applied(&mut chain, &row)), kept, "{p}");
    }
    let chain = SamplerChain::builder().push(Sampler::Typical { p: 0.1, min_keep: 3 }).greedy().build();
    assert_eq!(ids(&applied(&mut chain.unwrap(), &row)), [0, 1, 2]);
    // Among many unlikely ones a likely token is not typical: 0.4, of surprise 0.92, at an entropy of 3.02.
    let flat: Vec<f32> = logits(&[vec![0.4], vec![0.012; 50]].concat());
    let mut chain = SamplerChain::builder().typical_p(0.3).greedy().build().unwrap();
    assert!(!ids(&applied(&mut chain, &flat)).contains(&0));
}

#[test]
fn temperature_divides_and_zero_is_greedy() {
    let mut chain = SamplerChain::builder().temperature(0.5).greedy().build().unwrap();
    let candidates = applied(&mut chain, &[1.0, 2.0, -3.0]);
    assert_eq!(candidates.as_slice().iter().map(|it| it.logit).collect::<Vec<_>>(), [2.0, 4.0, -6.0]);
    let mut chain = SamplerChain::builder().temperature(0.0).dist(1).build().unwrap();
    let candidates = applied(&mut chain, &[1.0, 2.0, 2.0, -3.0]);
    assert_eq!(selected(&candidates), 1);
    let masked = candidates.as_slice().iter().filter(|it| it.logit == f32::NEG_INFINITY).count();
    assert_eq!(masked, 3);
    for _ in 0..50 {
        assert_eq!(chain.sample_logits(&[1.0, 2.0, 2.0, -3.0]).unwrap(), token(1));
    }
}

#[test]
fn dynamic_temperature_follows_the_entropy() {
    // Two equal candidates have all the entropy there can be: the upper end.
    let mut chain = SamplerChain::builder().temperature_ext(1.0, 0.5, 1.0).greedy().build().unwrap();
    let candidates = applied(&mut chain, &[3.0, 3.0]);
    assert!(candidates.as_slice().iter().all(|it| (it.logit - 2.0).abs() < 1e-5), "{candidates:?}");
    // One candidate that has everything: the lower end, also where llama.cpp alone would divide by nothing
    // and select the least likely.
    let mut chain = SamplerChain::builder().temperature_ext(1.0, 0.5, 1.0).greedy().build().unwrap();
    let candidates = applied(&mut chain, &[60.0, 0.0]);
    assert!((candidates.as_slice()[0].logit - 120.0).abs() < 1e-2, "{candidates:?}");
    let mut chain = SamplerChain::builder().temperature_ext(1.0, 1.0, 1.0).dist(3).build().unwrap();
    for gap in [1.0, 20.0, 60.0, 80.0, 87.0, 90.0, 95.0, 100.0, 103.0, 120.0] {
        for _ in 0..20 {
            let drawn = chain.sample_logits(&[10.0 - gap, 10.0, 10.0 - gap]).unwrap();
            assert!(gap < 20.0 || drawn == token(1), "gap {gap}");
        }
    }
}

#[test]
fn dist_follows_the_probabilities_and_the_seed() {
    let row = logits(&[0.5, 0.3, 0.2]);
    let mut chain = SamplerChain::builder().dist(42).build().unwrap();
    let mut again = SamplerChain::builder().dist(42).build().unwrap();
    let mut other = SamplerChain::builder().dist(43).build().unwrap();
    let draw =
        |chain: &mut SamplerChain| (0..3000).map(|_| chain.sample_logits(&row).unwrap()).collect::<Vec<_>>();
    let first = draw(&mut chain);
    assert_eq!(first, draw(&mut again));
    assert_ne!(first, draw(&mut other));
    for (id, p) in [(0, 0.5), (1, 0.3), (2, 0.2)] {
        let share = first.iter().filter(|it| it.get() == id).count() as f64 / 3000.0;
        assert!((share - p).abs() < 0.03, "{id}: {share}");
    }
    chain.reset().unwrap();
    assert_eq!(first, draw(&mut chain));
    assert_eq!(chain.seed(), Some(42));
    let p: f32 = applied(&mut chain, &row).as_slice().iter().map(|it| it.p).sum();
    assert!((p - 1.0).abs() < 1e-5);
}

#[test]
fn random_seeds_are_drawn_and_told() {
    let chain = SamplerChain::builder().dist(Seed::Random).build().unwrap();
    let other = SamplerChain::builder().dist(Seed::Random).build().unwrap();
    assert_ne!(chain.seed().unwrap(), u32::MAX);
    assert_ne!(chain.seed(), other.seed());
    assert_eq!(SamplerChain::builder().greedy().build().unwrap().seed(), None);
}

#[test]
fn xtc_removes_the_top_choices() {
    let row = logits(&[0.15, 0.5, 0.3, 0.05]);
    // At least 0.1 are 0.5, 0.3 and 0.15: the least likely of them stays.
    let mut chain = SamplerChain::builder().xtc(1.0, 0.1, 7).greedy().build().unwrap();
    let candidates = applied(&mut chain, &row);
    assert_eq!(ids(&candidates), [0, 3]);
    assert_eq!(selected(&candidates), 0);
    let chain = Sampler::Xtc(Xtc::new(1.0, 0.1).min_keep(3).seed(7));
    let mut chain = SamplerChain::builder().push(chain).greedy().build().unwrap();
    assert_eq!(ids(&applied(&mut chain, &row)), [1, 2, 0, 3]);
    let mut never = SamplerChain::builder().xtc(0.0, 0.1, 7).greedy().build().unwrap();
    assert_eq!(selected(&applied(&mut never, &row)), 1);
    let mut sometimes = SamplerChain::builder().xtc(0.5, 0.1, 7).greedy().build().unwrap();
    let removed = (0..1000).filter(|_| sometimes.sample_logits(&row).unwrap() == token(0)).count();
    assert!((430..570).contains(&removed), "{removed}");
}

#[test]
fn top_n_sigma_masks_what_is_far_below() {
    // Mean 2, standard deviation 4: 10 - 4 = 6.
    let row = [10.0, 0.0, 0.0, 0.0, 0.0];
    let mut chain = SamplerChain::builder().top_n_sigma(1.0).greedy().build().unwrap();
    let masked = |candidates: &Candidates| {
        candidates.as_slice().iter().map(|it| it.logit == f32::NEG_INFINITY).collect::<Vec<_>>()
    };
    assert_eq!(masked(&applied(&mut chain, &row)), [false, true, true, true, true]);
    let mut chain = SamplerChain::builder().top_n_sigma(3.0).greedy().build().unwrap();
    assert_eq!(masked(&applied(&mut chain, &row)), [false; 5]);
}

#[test]
fn mirostat_steers_the_surprise() {
    let model = tiny();
    let n_vocab = model.vocab().n_tokens();
    // Zipf's law, which mirostat assumes.
    let row: Vec<f32> = (1..=n_vocab).map(|rank| -(rank as f32).ln()).collect();
    let total: f32 = row.iter().map(|logit| logit.exp()).sum();
    let mean_surprise = |mut chain: SamplerChain| {
        let surprise = |token: Token| -((row[index(token.get())].exp() / total).log2());
        (0..2000).map(|_| surprise(chain.sample_logits(&row).unwrap())).sum::<f32>() / 2000.0
    };
    let low = mean_surprise(SamplerChain::builder().mirostat_v2(2.0, 0.1, 1).build().unwrap());
    let high = mean_surprise(SamplerChain::builder().mirostat_v2(4.0, 0.1, 1).build().unwrap());
    assert!(low < high - 1.0, "{low} {high}");
    let low = mean_surprise(SamplerChain::builder().mirostat(&model, 2.0, 0.1, 1).build().unwrap());
    let high = mean_surprise(SamplerChain::builder().mirostat(&model, 4.0, 0.1, 1).build().unwrap());
    assert!(low < high - 1.0, "{low} {high}");
    // One candidate is all there is to select, also for the estimate from neighbours.
    for mut chain in [
        SamplerChain::builder().mirostat(&model, 5.0, 0.1, 1).build().unwrap(),
        SamplerChain::builder().mirostat_v2(5.0, 0.1, 1).build().unwrap(),
    ] {
        let mut alone: Candidates = [(token(9), 1.5)].into_iter().collect();
        chain.apply(&mut alone).unwrap();
        assert_eq!(selected(&alone), 9);
    }
}

#[test]
fn adaptive_p_selects_near_the_target() {
    let row = logits(&[0.6, 0.25, 0.1, 0.05]);
    let mean = |target: f32| {
        let mut chain = SamplerChain::builder().adaptive_p(target, 0.9, 5).build().unwrap();
        let p = |token: Token| [0.6, 0.25, 0.1, 0.05][index(token.get())];
        (0..2000).map(|_| p(chain.sample_logits(&row).unwrap())).sum::<f32>() / 2000.0
    };
    let (low, high) = (mean(0.1), mean(0.55));
    assert!(low < 0.3 && high > 0.4, "{low} {high}");
}

#[test]
fn penalties_lower_what_has_occurred() {
    let penalties = Penalties::default().last_n(2).repeat(2.0).frequency(0.25).presence(0.5);
    let mut chain = SamplerChain::builder().penalties(penalties).greedy().build().unwrap();
    for id in [3, 0, 0] {
        chain.accept(token(id)).unwrap();
    }
    // Token 3 is out of the last two. Twice token 0: 4 / 2 - 2 * 0.25 - 0.5.
    let after = |chain: &mut SamplerChain, row: &[f32]| {
        applied(chain, row).as_slice().iter().map(|it| it.logit).collect::<Vec<_>>()
    };
    assert_eq!(after(&mut chain, &[4.0, 2.0, 1.0, 3.0]), [1.0, 2.0, 1.0, 3.0]);
    assert_eq!(after(&mut chain, &[-1.0, 2.0, 1.0, 3.0]), [-3.0, 2.0, 1.0, 3.0]);
    chain.reset().unwrap();
    assert_eq!(after(&mut chain, &[4.0, 2.0, 1.0, 3.0]), [4.0, 2.0, 1.0, 3.0]);
    // Sampling accepts, once.
    assert_eq!(chain.sample_logits(&[4.0, 3.0, 0.0, 0.0]).unwrap(), token(0));
    assert_eq!(after(&mut chain, &[4.0, 3.0, 0.0, 0.0]), [1.25, 3.0, 0.0, 0.0]);
    chain.reset().unwrap();
    chain.accept_prompt(&[token(1), token(1), token(1)]).unwrap();
    assert_eq!(after(&mut chain, &[4.0, 3.0, 0.0, 0.0]), [4.0, 0.5, 0.0, 0.0]);
}

#[test]
fn logit_bias_forces_and_forbids() {
    let model = tiny();
    let row = row_for(&model, &[token(300), token(301)]);
    let mut forced =
        SamplerChain::builder().logit_bias(&model, [(token(5), 1000.0)]).dist(1).build().unwrap();
    assert_eq!(forced.sample_logits(&row).unwrap(), token(5));
    let mut forbidden = SamplerChain::builder()
        .logit_bias(&model, [(token(300), f32::NEG_INFINITY)])
        .greedy()
        .build()
        .unwrap();
    assert_eq!(forbidden.sample_logits(&row).unwrap(), token(301));
    // Also where candidates are not in the order of the vocabulary.
    let mut after_top_k = SamplerChain::builder().top_k(2).logit_bias(&model, [(token(301), 5.0)]).greedy();
    assert_eq!(after_top_k.build().unwrap().sample_logits(&row).unwrap(), token(301));
    after_top_k = SamplerChain::builder().logit_bias(&model, []).greedy();
    assert_eq!(after_top_k.build().unwrap().sample_logits(&row).unwrap(), token(300));
}

#[test]
fn dry_lowers_what_would_continue_a_repetition() {
    let model = tiny();
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|text| letter(&model, text));
    let dry = Dry::default().multiplier(1.0).base(2.0).allowed_length(2).last_n(64).breakers(["\n"]);
    let mut chain = SamplerChain::builder().dry(&model, dry.clone()).greedy().build().unwrap();
    let row = row_for(&model, &[d, c]);
    let logit_of = |chain: &mut SamplerChain, token: Token| {
        let candidates = applied(chain, &row);
        candidates.as_slice().iter().find(|it| it.token == token).unwrap().logit
    };
    // a b c d a b c: the next d makes it a repetition of four, three of which are there: 1 * 2^(3 - 2).
    for token in [a, b, c, d, a, b, c] {
        chain.accept(token).unwrap();
    }
    assert_eq!(logit_of(&mut chain, d), 18.0);
    assert_eq!(logit_of(&mut chain, c), 19.0);
    // A breaker in between ends the repetition.
    chain.reset().unwrap();
    let newline = letter(&model, "\n");
    for token in [a, b, c, d, a, newline, c] {
        chain.accept(token).unwrap();
    }
    assert_eq!(logit_of(&mut chain, d), 20.0);
    let mut off = SamplerChain::builder().dry(&model, dry.multiplier(0.0)).greedy().build().unwrap();
    off.accept_prompt(&[a, b, a, b, a, b]).unwrap();
    assert_eq!(off.names(), ["?dry", "greedy"]);
}

#[test]
fn infill_joins_candidates_that_begin_alike() {
    let model = tiny();
    let [a, b] = ["a", "b"].map(|text| letter(&model, text));
    let longer = (0..i32::try_from(model.vocab().n_tokens()).unwrap())
        .map(Token::new)
        .find(|it| {
            let bytes = model.vocab().token_to_bytes(*it, false).unwrap();
            bytes.len() > 1 && bytes.starts_with(b"a")
        })
        .unwrap();
    let mut chain = SamplerChain::builder().top_k(3).infill(&model).greedy().build().unwrap();
    let mut candidates: Candidates =
        [(a, 0.45_f32.ln()), (longer, 0.35_f32.ln()), (b, 0.2_f32.ln())].into_iter().collect();
    chain.apply(&mut candidates).unwrap();
    assert_eq!(selected(&candidates), a.get());
    assert!(candidates.as_slice().iter().all(|it| it.token != longer), "{candidates:?}");
    // An end that is likely enough wins.
    let eos = model.vocab().eos().unwrap();
    let mut candidates: Candidates = [(a, 0.5_f32.ln()), (eos, 0.5_f32.ln())].into_iter().collect();
    chain.apply(&mut candidates).unwrap();
    assert_eq!(selected(&candidates), eos.get());
}
