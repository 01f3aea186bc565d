//! Chains: construction, refusals, copies, names and failures.

use super::*;

#[test]
fn chain_must_end_with_a_selecting_sampler() {
    let text = sampler_error(SamplerChain::builder().top_k(40).top_p(0.9).build());
    assert!(
        text.starts_with("sampler top-p: it is the last of the chain but does not select a token"),
        "{text}"
    );
    let text = sampler_error(SamplerChain::builder().build());
    assert!(text.starts_with("sampler chain: it is empty"), "{text}");
    let text = sampler_error(SamplerChain::builder().greedy().top_k(3).dist(1).build());
    assert_eq!(text, "sampler greedy: it selects the token, so it must be the last of the chain");
    let text = sampler_error(SamplerChain::builder().infill(&tiny()).greedy().build());
    assert!(text.contains("put a top_k before it"), "{text}");
}

#[test]
fn all_problems_are_in_one_error() {
    let model = tiny();
    let n_vocab = i32::try_from(model.vocab().n_tokens()).unwrap();
    let chain = SamplerChain::builder()
        .dist(1)
        .top_p(1.5)
        .min_p(f32::NAN)
        .typical_p(-0.1)
        .temperature(-1.0)
        .temperature(1e-6)
        .temperature_ext(1.0, f32::INFINITY, -1.0)
        .xtc(2.0, 0.0, 1)
        .top_n_sigma(-1.0)
        .penalties(Penalties::default().last_n(u32::MAX).repeat(0.0).frequency(f32::NAN).presence(1e9))
        .dry(
            &model,
            Dry::default()
                .multiplier(-1.0)
                .base(0.5)
                .allowed_length(u32::MAX)
                .last_n(u32::MAX)
                .breakers([String::new(), "x".repeat(41)]),
        )
        .logit_bias(&model, [(token(n_vocab), f32::NAN), (token(0), f32::INFINITY), (token(0), 0.0)])
        .grammar(&model, "root ::= ", "toor")
        .push(Sampler::Mirostat(Mirostat::new(&model, 0.0, 2.0).m(1).seed(0)))
        .mirostat_v2(f32::NAN, -1.0, 0)
        .adaptive_p(-0.5, 1.0, 0)
        .top_k(3);
    let text = sampler_error(chain.build());
    let expected = [
        "problems:",
        "sampler 0 (dist): it selects the token, so it must be the last of the chain",
        "sampler 1 (top-p): p is 1.5, but must be from 0 to 1",
        "sampler 2 (min-p): p is NaN, but must be from 0 to 1",
        "sampler 3 (typical): p is -0.1, but must be from 0 to 1",
        "sampler 4 (temp): temperature is -1, but must be 0, or at least 0.00001",
        "sampler 5 (temp): temperature is 0.000001",
        "sampler 6 (temp-ext): delta is inf",
        "sampler 6 (temp-ext): exponent is -1",
        "sampler 7 (xtc): probability is 2, but must be from 0 to 1",
        "sampler 7 (xtc): threshold is 0, but must be above 0 and at most 1",
        "sampler 8 (top-n-sigma): n is -1",
        "sampler 9 (penalties): last_n is 4294967295, but must be from 0 to 16777216",
        "sampler 9 (penalties): repeat is 0, but must be from 0.001 to 1000",
        "sampler 9 (penalties): frequency is NaN",
        "sampler 9 (penalties): presence is 1000000000",
        "sampler 10 (dry): multiplier is -1",
        "sampler 10 (dry): base is 0.5",
        "sampler 10 (dry): allowed_length is 4294967295",
        "sampler 10 (dry): last_n is 4294967295",
        "sampler 10 (dry): breaker 0 is 0 bytes long, but must be from 1 to 40 bytes long",
        "sampler 10 (dry): breaker 1 is 41 bytes long",
        &format!("sampler 11 (logit-bias): token {n_vocab} is out of range"),
        "sampler 11 (logit-bias): the bias of token 0 is inf",
        "sampler 11 (logit-bias): token 0 has two biases, but must have one",
        "sampler 12 (grammar): the grammar is not valid",
        "sampler 13 (mirostat): tau is 0",
        "sampler 13 (mirostat): eta is 2",
        "sampler 13 (mirostat): m is 1",
        "sampler 14 (mirostat-v2): tau is NaN",
        "sampler 14 (mirostat-v2): eta is -1",
        "sampler 15 (adaptive-p): target is -0.5",
        "sampler 15 (adaptive-p): decay is 1, but must be from 0 to 0.99",
        "sampler 16 (top-k): it is the last of the chain but does not select a token",
    ];
    for part in expected {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn rows_that_make_no_sense_are_refused_and_leave_the_chain_usable() {
    let mut chain = SamplerChain::builder().top_k(5).temperature(0.7).dist(1).build().unwrap();
    let error = chain.sample_logits(&[1.0, f32::NAN]).unwrap_err();
    assert!(error.to_string().contains("are NaN"), "{error}");
    let error = chain.sample_logits(&[f32::NEG_INFINITY; 4]).unwrap_err();
    assert!(error.to_string().contains("no logit is above negative infinity"), "{error}");
    let error = chain.sample_logits(&[f32::INFINITY, 0.0]).unwrap_err();
    assert!(error.to_string().contains("the probabilities are NaN"), "{error}");
    assert!(chain.sample_logits(&[]).is_err());
    assert!(chain.apply(&mut Candidates::new()).is_err());
    let mut negative: Candidates = [(token(-1), 0.0)].into_iter().collect();
    assert!(chain.apply(&mut negative).is_err());
    assert!(chain.accept(token(-1)).is_err());
    assert!(chain.accept_prompt(&[token(0), token(i32::MIN)]).is_err());
    assert_eq!(chain.sample_logits(&[0.0, 90.0]).unwrap(), token(1));
}

#[test]
fn vocabularies_must_agree() {
    let llama = tiny();
    let qwen = Model::load(Tiny::Qwen2.path(), &ModelParams::default()).unwrap();
    assert_ne!(llama.vocab().n_tokens(), qwen.vocab().n_tokens());
    let chain = SamplerChain::builder().logit_bias(&llama, []).mirostat(&qwen, 5.0, 0.1, 1);
    let text = sampler_error(chain.build());
    assert!(text.starts_with("sampler mirostat: its model has a vocabulary of"), "{text}");
    let mut chain = SamplerChain::builder().logit_bias(&llama, []).greedy().build().unwrap();
    let context = decoded(&qwen, "the");
    let error = chain.sample(&context, 0).unwrap_err();
    assert!(error.to_string().contains("it was made for a vocabulary of"), "{error}");
    let n_vocab = i32::try_from(llama.vocab().n_tokens()).unwrap();
    let error = chain.accept(token(n_vocab)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidToken { .. }), "{error:?}");
    let mut outside: Candidates = [(token(n_vocab), 0.0)].into_iter().collect();
    assert!(matches!(chain.apply(&mut outside).unwrap_err().kind(), ErrorKind::InvalidToken { .. }));
}

/// Returns a context that has decoded one token, with logits for it.
fn decoded(model: &Model, text: &str) -> Context {
    let tokens = model.vocab().tokenize(text, TokenizeOptions::default()).unwrap();
    let mut context = Context::new(model, &ContextParams::default().n_ctx(64)).unwrap();
    let mut batch = Batch::new();
    batch.push_prompt(&tokens[..1], SeqId::new(0), Pos::new(0)).unwrap();
    context.decode(&batch).unwrap();
    context
}

#[test]
fn samples_from_a_context() {
    let model = tiny();
    let context = decoded(&model, "the");
    let mut chain = SamplerChain::builder().greedy().build().unwrap();
    let expected = context.logits(0).unwrap().argmax();
    assert_eq!(chain.sample(&context, 0).unwrap(), expected);
    assert_eq!(chain.sample(&context, Some(0)).unwrap(), expected);
    for index in [None, Some(1), Some(usize::MAX)] {
        let error = chain.sample(&context, index).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NoOutput { .. }), "{error:?}");
    }
    let fresh = Context::new(&model, &ContextParams::default().n_ctx(64)).unwrap();
    assert!(matches!(chain.sample(&fresh, 0).unwrap_err().kind(), ErrorKind::NoOutput { .. }));
}

#[test]
fn chain_outlives_the_model_handle() {
    let model = tiny();
    let [a, b] = ["a", "b"].map(|text| letter(&model, text));
    let row = row_for(&model, &[b, a]);
    let build = || {
        SamplerChain::builder()
            .grammar(&model, r#"root ::= "a" [b]*"#, "root")
            .dry(&model, Dry::default())
            .top_k(10)
            .infill(&model)
            .greedy()
            .build()
            .unwrap()
    };
    let (mut chain, mut copy) = (build(), build().try_clone().unwrap());
    drop(model);
    assert_eq!(chain.sample_logits(&row).unwrap(), a);
    let moved = std::thread::spawn(move || copy.sample_logits(&row).unwrap());
    assert_eq!(moved.join().unwrap(), a);
}

#[test]
fn copy_is_independent_and_in_the_same_state() {
    let row = logits(&[0.4, 0.3, 0.2, 0.1]);
    let penalties = Penalties::default().last_n(8).repeat(1.0).frequency(0.3).presence(0.0);
    let mut chain = SamplerChain::builder().penalties(penalties).xtc(0.5, 0.1, 3).dist(9).build().unwrap();
    for _ in 0..10 {
        chain.sample_logits(&row).unwrap();
    }
    let mut copy = chain.try_clone().unwrap();
    let draw =
        |chain: &mut SamplerChain| (0..100).map(|_| chain.sample_logits(&row).unwrap()).collect::<Vec<_>>();
    let mine = draw(&mut chain);
    assert_eq!(mine, draw(&mut copy));
    assert_eq!(chain.names(), copy.names());
    copy.reset().unwrap();
    assert_ne!(draw(&mut copy), draw(&mut chain));
}

#[test]
fn adaptive_p_is_not_copied_between_selecting_and_accepting() {
    let row = logits(&[0.6, 0.4]);
    let mut chain = SamplerChain::builder().adaptive_p(0.5, 0.9, 1).build().unwrap();
    chain.sample_logits(&row).unwrap();
    chain.try_clone().unwrap().sample_logits(&row).unwrap();
    let candidates = applied(&mut chain, &row);
    assert!(chain.try_clone().is_err());
    chain.accept(token(selected(&candidates))).unwrap();
    assert!(chain.try_clone().is_ok());
}

#[test]
fn names_seeds_and_counters() {
    let model = tiny();
    let mut chain = SamplerChain::builder()
        .perf(true)
        .top_k(40)
        .top_p(0.95)
        .min_p(0.05)
        .typical_p(0.9)
        .temperature(0.8)
        .temperature_ext(0.8, 0.2, 1.0)
        .xtc(0.1, 0.2, 1)
        .top_n_sigma(2.0)
        .penalties(Penalties::default().repeat(1.1))
        .dry(&model, Dry::default())
        .logit_bias(&model, [(token(1), 1.0)])
        .infill(&model)
        .mirostat_v2(5.0, 0.1, 77)
        .build()
        .unwrap();
    let names = [
        "top-k",
        "top-p",
        "min-p",
        "typical",
        "temp",
        "temp-ext",
        "xtc",
        "top-n-sigma",
        "penalties",
        "dry",
        "logit-bias",
        "infill",
        "mirostat-v2",
    ];
    assert_eq!(chain.names(), names);
    let given: Vec<&str> = chain.samplers().iter().map(Sampler::name).collect();
    assert_eq!(given, names);
    assert_eq!((chain.len(), chain.seed()), (13, Some(77)));
    chain.accept(token(7)).unwrap();
    chain.accept(token(8)).unwrap();
    assert_eq!(chain.perf().unwrap().n_sample, 2);
    chain.reset_perf();
    assert_eq!(chain.perf().unwrap().n_sample, 0);
    assert_eq!(SamplerChain::builder().greedy().build().unwrap().perf(), None);
}

#[test]
fn extreme_values_in_range_do_not_abort() {
    let model = tiny();
    let n_vocab = model.vocab().n_tokens();
    let rows = [
        vec![0.0; n_vocab],
        (0..n_vocab).map(|id| if id == 3 { 0.0 } else { f32::NEG_INFINITY }).collect(),
        (0..n_vocab).map(|id| if id % 2 == 0 { f32::MAX } else { f32::MIN }).collect(),
        (0..n_vocab).map(|id| id as f32 * 1e30).collect(),
        (0..n_vocab).map(|id| -(id as f32) * 1e-40).collect(),
    ];
    let all = [
        Sampler::TopK { k: u32::MAX },
        Sampler::TopP { p: 0.0, min_keep: 0 },
        Sampler::TopP { p: 0.999, min_keep: usize::MAX },
        Sampler::MinP { p: 1.0, min_keep: usize::MAX },
        Sampler::MinP { p: f32::MIN_POSITIVE, min_keep: 0 },
        Sampler::Typical { p: 0.0, min_keep: 0 },
        Sampler::Typical { p: 0.5, min_keep: usize::MAX },
        Sampler::Temperature { temperature: 1e-5 },
        Sampler::Temperature { temperature: f32::MAX },
        Sampler::TopNSigma { n: 1e6 },
        Sampler::Xtc(Xtc::new(1.0, f32::MIN_POSITIVE).min_keep(0).seed(0)),
        Sampler::Penalties(Penalties::default().last_n(1 << 24).repeat(1e3).frequency(-1e4).presence(1e4)),
        Sampler::Penalties(Penalties::default().last_n(1).repeat(1e-3).frequency(1e4).presence(-1e4)),
        Sampler::Dry {
            model: model.clone(),
            params: Dry::default()
                .multiplier(1e6)
                .base(1e6)
                .allowed_length(0)
                .last_n(3)
                .breakers(Vec::<String>::new()),
        },
        Sampler::LogitBias {
            model: model.clone(),
            biases: vec![(token(3), f32::NEG_INFINITY), (token(4), -1e6)],
        },
    ];
    for sampler in all {
        for last in [
            Sampler::Greedy,
            Sampler::Dist { seed: 1.into() },
            Sampler::Mirostat(Mirostat::new(&model, 100.0, 1.0).m(u32::MAX / 2).seed(1)),
            Sampler::Mirostat(Mirostat::new(&model, 1e-20, 0.0).m(2).seed(1)),
        ] {
            let mut chain = SamplerChain::builder().push(sampler.clone()).push(last.clone()).build().unwrap();
            for row in &rows {
                for _ in 0..4 {
                    if let Err(error) = chain.sample_logits(row) {
                        assert!(
                            matches!(error.kind(), ErrorKind::Sampler { .. } | ErrorKind::DeadEnd { .. }),
                            "{sampler:?} {last:?}: {error:?}"
                        );
                    }
                }
            }
            assert!(!chain.is_poisoned());
        }
    }
}

#[test]
fn masked_tokens_are_never_selected() {
    let model = tiny();
    let n_vocab = model.vocab().n_tokens();
    let allowed = [5_usize, 17, 300];
    let row: Vec<f32> = (0..n_vocab)
        .map(|id| if allowed.contains(&id) { id as f32 / 100.0 } else { f32::NEG_INFINITY })
        .collect();
    let chains = [
        SamplerChain::builder().dist(1),
        SamplerChain::builder().greedy(),
        SamplerChain::builder().top_k(40).top_p(0.99).min_p(0.01).temperature(2.0).dist(1),
        SamplerChain::builder().min_p(0.001).typical_p(0.9).dist(1),
        SamplerChain::builder().xtc(1.0, 0.01, 1).dist(1),
        SamplerChain::builder().top_n_sigma(1.0).mirostat_v2(5.0, 0.1, 1),
        SamplerChain::builder().mirostat(&model, 5.0, 0.1, 1),
        SamplerChain::builder().adaptive_p(0.01, 0.5, 1),
        SamplerChain::builder().temperature_ext(1.0, 1.0, 1.0).dist(1),
    ];
    for builder in chains {
        let mut chain = builder.build().unwrap();
        for _ in 0..200 {
            let token = chain.sample_logits(&row).unwrap();
            assert!(allowed.contains(&index(token.get())), "{chain:?}: {token}");
        }
    }
}

#[test]
fn grammar_is_a_value_too() {
    let model = tiny();
    let grammar = Grammar::new(&model, "other ::= \"b\"\nroot ::= \"a\"", "other");
    let mut chain = SamplerChain::builder().push(Sampler::Grammar(grammar)).greedy().build().unwrap();
    let [a, b] = ["a", "b"].map(|text| letter(&model, text));
    assert_eq!(chain.sample_logits(&row_for(&model, &[a, b])).unwrap(), b);
}

#[test]
fn candidates_are_reused() {
    let mut candidates = Candidates::from_logits(&[0.0, 1.0]);
    let mut chain = SamplerChain::builder().top_k(1).greedy().build().unwrap();
    chain.apply(&mut candidates).unwrap();
    assert_eq!((candidates.len(), candidates.is_sorted(), selected(&candidates)), (1, true, 1));
    candidates.set_logits(&[3.0, 1.0, 2.0]);
    assert_eq!((candidates.len(), candidates.is_sorted(), candidates.selected()), (3, false, None));
    chain.apply(&mut candidates).unwrap();
    candidates.as_mut_slice()[0].logit = 9.0;
    assert_eq!((candidates.is_sorted(), candidates.selected()), (false, None));
    candidates.clear();
    candidates.push(token(8), -1.0);
    chain.apply(&mut candidates).unwrap();
    assert_eq!(selected(&candidates), 8);
}
