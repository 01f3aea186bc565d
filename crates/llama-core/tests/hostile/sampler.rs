//! Samplers: impossible chains, and chains on rows that cannot be sampled from.

use llama_core::sampler::{
    AdaptiveP, Candidates, Dry, DynamicTemperature, Grammar, LazyTriggers, Mirostat, MirostatV2, Penalties,
    SamplerChainBuilder, SamplerConfig, Seed, Xtc,
};
use llama_core::{Model, Sampler, SamplerChain, Token};

use crate::Case;
use crate::poison::poison_chain;
use crate::subjects::{Named, Subjects, each_context, each_model};
use crate::values::{BOOLS, F32, I32, U32, USIZE, texts};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("SamplerChain::builder", |walk, _| _ = walk.call("", || SamplerChain::builder().build())),
    ("SamplerChainBuilder::build", |walk, _| {
        for perf in BOOLS {
            walk.call(perf, || SamplerChain::builder().perf(perf).greedy().greedy().build());
        }
    }),
    ("SamplerChainBuilder::push", push),
    ("SamplerChainBuilder::perf", |walk, _| {
        BOOLS.into_iter().for_each(|perf| check(walk, perf, |b| b.perf(perf)));
    }),
    ("SamplerChainBuilder::greedy", |walk, _| check(walk, "", SamplerChainBuilder::greedy)),
    ("SamplerChainBuilder::dist", |walk, _| {
        U32.into_iter().for_each(|seed| check(walk, seed, |b| b.dist(seed)));
    }),
    ("Seed::number", |walk, _| {
        U32.into_iter().for_each(|seed| assert_eq!(walk.run(seed, || Seed::Fixed(seed).number()), seed));
        assert_ne!(walk.run("random", || Seed::Random.number()), u32::MAX);
        check(walk, "random", |b| b.dist(Seed::Random));
    }),
    ("SamplerChainBuilder::top_k", |walk, _| U32.into_iter().for_each(|k| check(walk, k, |b| b.top_k(k)))),
    ("SamplerChainBuilder::top_p", |walk, _| F32.into_iter().for_each(|p| check(walk, p, |b| b.top_p(p)))),
    ("SamplerChainBuilder::min_p", |walk, _| F32.into_iter().for_each(|p| check(walk, p, |b| b.min_p(p)))),
    ("SamplerChainBuilder::typical_p", |walk, _| {
        F32.into_iter().for_each(|p| check(walk, p, |b| b.typical_p(p)));
    }),
    ("SamplerChainBuilder::temperature", |walk, _| {
        F32.into_iter().for_each(|t| check(walk, t, |b| b.temperature(t)));
    }),
    ("SamplerChainBuilder::temperature_ext", |walk, _| {
        triples(|a, b, c| check(walk, format!("{a} {b} {c}"), |builder| builder.temperature_ext(a, b, c)));
    }),
    ("SamplerChainBuilder::top_n_sigma", |walk, _| {
        F32.into_iter().for_each(|n| check(walk, n, |b| b.top_n_sigma(n)));
    }),
    ("SamplerChainBuilder::xtc", |walk, _| {
        triples(|a, b, _| check(walk, format!("{a} {b}"), |builder| builder.xtc(a, b, u32::MAX)));
    }),
    ("SamplerChainBuilder::mirostat", |walk, subjects| {
        each_model(walk, subjects, |walk, model| {
            triples(|a, b, _| check(walk, format!("{a} {b}"), |builder| builder.mirostat(model, a, b, 0)));
        });
    }),
    ("SamplerChainBuilder::mirostat_v2", |walk, _| {
        triples(|a, b, _| check(walk, format!("{a} {b}"), |builder| builder.mirostat_v2(a, b, 0)));
    }),
    ("SamplerChainBuilder::adaptive_p", |walk, _| {
        triples(|a, b, _| check(walk, format!("{a} {b}"), |builder| builder.adaptive_p(a, b, 0)));
    }),
    ("SamplerChainBuilder::penalties", penalties),
    ("SamplerChainBuilder::dry", dry),
    ("SamplerChainBuilder::logit_bias", logit_bias),
    ("SamplerChainBuilder::infill", |walk, subjects| {
        each_model(walk, subjects, |walk, model| {
            check(walk, "alone", |builder| builder.infill(model));
            check(walk, "after top-k", |builder| builder.top_k(9).infill(model));
        });
    }),
    ("SamplerChainBuilder::grammar", grammar),
    ("SamplerChainBuilder::grammar_lazy", grammar_lazy),
    ("SamplerChain::sample", sample),
    ("SamplerChain::sample_logits", sample_logits),
    ("SamplerChain::apply", apply),
    ("SamplerChain::accept", accept),
    ("SamplerChain::accept_prompt", accept_prompt),
    ("SamplerChain::reset", |walk, subjects| {
        each_chain(walk, subjects, |walk, chain| _ = walk.call("", || chain.reset()));
    }),
    ("SamplerChain::try_clone", |walk, subjects| {
        each_chain(walk, subjects, |walk, chain| _ = walk.call("", || chain.try_clone()));
    }),
    ("SamplerChain::samplers", |walk, subjects| plain(walk, subjects, |chain| _ = chain.samplers().to_vec())),
    ("SamplerChain::as_ptr", |walk, subjects| {
        plain(walk, subjects, |chain| assert!(!chain.as_ptr().is_null()));
    }),
    ("SamplerChain::len", |walk, subjects| plain(walk, subjects, |chain| _ = chain.len())),
    ("SamplerChain::is_empty", |walk, subjects| plain(walk, subjects, |chain| assert!(!chain.is_empty()))),
    ("SamplerChain::names", |walk, subjects| plain(walk, subjects, |chain| _ = chain.names())),
    ("SamplerChain::seed", |walk, subjects| plain(walk, subjects, |chain| _ = chain.seed())),
    ("SamplerChain::perf", |walk, subjects| plain(walk, subjects, |chain| _ = chain.perf())),
    ("SamplerChain::reset_perf", |walk, subjects| plain(walk, subjects, SamplerChain::reset_perf)),
    ("SamplerChain::is_poisoned", |walk, subjects| plain(walk, subjects, |chain| _ = format!("{chain:?}"))),
    ("Sampler::name", |walk, subjects| each_sampler(walk, subjects, |sampler| _ = sampler.name())),
    ("Sampler::model", |walk, subjects| each_sampler(walk, subjects, |sampler| _ = sampler.model().cloned())),
    ("Sampler::is_selecting", |walk, subjects| {
        each_sampler(walk, subjects, |sampler| _ = sampler.is_selecting());
    }),
    ("Sampler::config", |walk, subjects| each_sampler(walk, subjects, |sampler| _ = sampler.config())),
    ("SamplerConfig::with_model", |walk, subjects| {
        let configs = configs(subjects);
        each_model(walk, subjects, |walk, model| {
            for config in &configs {
                let sampler = walk.run(format!("{config:?}"), || config.clone().with_model(model));
                assert_eq!(sampler.config().as_ref(), Some(config));
            }
        });
    }),
    ("SamplerChainBuilder::configs", |walk, subjects| {
        let configs = configs(subjects);
        each_model(walk, subjects, |walk, model| {
            walk.call("all", || SamplerChain::builder().configs(model, configs.clone()).build());
            for config in &configs {
                walk.call(format!("{config:?}"), || {
                    SamplerChain::builder().configs(model, [config.clone()]).greedy().build()
                });
            }
        });
    }),
    ("Candidates::new", |walk, _| _ = walk.run("", Candidates::new)),
    ("Candidates::from_logits", |walk, _| {
        rows().iter().for_each(|row| _ = walk.run(row.len(), || Candidates::from_logits(row)));
    }),
    ("Candidates::set_logits", |walk, _| {
        let mut candidates = Candidates::new();
        rows().iter().for_each(|row| walk.run(row.len(), || candidates.set_logits(row)));
    }),
    ("Candidates::push", |walk, _| {
        let mut candidates = Candidates::new();
        for (id, logit) in I32.into_iter().zip(F32) {
            walk.run(id, || candidates.push(Token::new(id), logit));
        }
    }),
    ("Candidates::clear", |walk, _| each_candidates(walk, Candidates::clear)),
    ("Candidates::as_slice", |walk, _| each_candidates(walk, |it| _ = it.as_slice().len())),
    ("Candidates::as_mut_slice", |walk, _| each_candidates(walk, |it| it.as_mut_slice().reverse())),
    ("Candidates::len", |walk, _| each_candidates(walk, |it| _ = it.len())),
    ("Candidates::is_empty", |walk, _| each_candidates(walk, |it| _ = it.is_empty())),
    ("Candidates::is_sorted", |walk, _| each_candidates(walk, |it| _ = it.is_sorted())),
    ("Candidates::selected", |walk, _| each_candidates(walk, |it| assert!(it.selected().is_none()))),
];

/// Builds a chain, and if it can be built, samples from rows of every kind.
pub(crate) fn check(
    walk: &mut Walk,
    what: impl core::fmt::Display,
    add: impl FnOnce(SamplerChainBuilder) -> SamplerChainBuilder,
) {
    let built = walk.call(&what, || {
        let builder = add(SamplerChain::builder());
        builder.clone().build().or_else(|_| builder.dist(1).build())
    });
    let Some(mut chain) = built else { return };
    for row in rows() {
        walk.call(format!("{what}, a row of {}", row.len()), || chain.sample_logits(&row));
        assert!(!chain.is_poisoned());
    }
}

fn triples(mut with: impl FnMut(f32, f32, f32)) {
    for (index, first) in F32.into_iter().enumerate() {
        for (other, second) in F32.into_iter().enumerate() {
            with(first, second, F32[(index + other) % F32.len()]);
        }
    }
}

/// Returns rows of logits: empty, short, as long as the tiny models' vocabularies, and without numbers.
pub(crate) fn rows() -> Vec<Vec<f32>> {
    let mut rows = vec![vec![], F32.to_vec()];
    for n in [1, 2, 404, 507] {
        rows.extend(
            [0.0, 1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX].map(|value| vec![value; n]),
        );
        rows.push(std::iter::successors(Some(1e30), |value| Some(value * 1.5)).take(n).collect());
        let mut one = vec![f32::NEG_INFINITY; n];
        one[n / 2] = 0.0;
        rows.push(one);
    }
    rows
}

fn configs(subjects: &mut Subjects) -> Vec<SamplerConfig> {
    samplers(&subjects.models()[0].it).iter().filter_map(Sampler::config).collect()
}

fn push(walk: &mut Walk, subjects: &mut Subjects) {
    let samplers = samplers(&subjects.models()[0].it);
    for first in &samplers {
        for second in &samplers {
            check(walk, format!("{} {}", first.name(), second.name()), |b| {
                b.push(first.clone()).push(second.clone())
            });
        }
    }
}

/// Returns one of each sampler, with values at their limits.
pub(crate) fn samplers(model: &Model) -> Vec<Sampler> {
    let model = model.clone();
    let grammar = "root ::= [a-z]+".to_owned();
    let mut all = vec![
        Sampler::Greedy,
        Sampler::Dist { seed: u32::MAX.into() },
        Sampler::TopK { k: u32::MAX },
        Sampler::TopP { p: 1.0, min_keep: usize::MAX },
        Sampler::MinP { p: 1.0, min_keep: 0 },
        Sampler::Typical { p: 0.0, min_keep: usize::MAX },
        Sampler::Temperature { temperature: 0.0 },
        Sampler::DynamicTemperature(DynamicTemperature::default().temperature(0.0).delta(1e6).exponent(1e6)),
        Sampler::Xtc(Xtc::new(1.0, 1e-9).min_keep(usize::MAX).seed(0)),
        Sampler::TopNSigma { n: 1e6 },
        Sampler::Mirostat(Mirostat::new(&model, 100.0, 1.0).m(u32::MAX).seed(1)),
        Sampler::Mirostat(Mirostat::new(&model, 1e-9, 1.0).m(2).seed(1)),
        Sampler::MirostatV2(MirostatV2::new(1e-9, 1.0).seed(1)),
        Sampler::AdaptiveP(AdaptiveP::new(0.0, 0.99).seed(1)),
        Sampler::Penalties(Penalties::default().last_n(1 << 20).repeat(1e3).frequency(1e4).presence(-1e4)),
        Sampler::Dry { model: model.clone(), params: Dry::default().last_n(1 << 20).base(1e6) },
        Sampler::LogitBias { model: model.clone(), biases: vec![(Token::new(0), f32::NEG_INFINITY)] },
        Sampler::LogitBias { model: model.clone(), biases: Vec::new() },
        Sampler::Infill { model: model.clone() },
    ];
    all.push(Sampler::Grammar(Grammar::new(&model, grammar, "root")));
    all
}

fn each_sampler(walk: &mut Walk, subjects: &mut Subjects, run: impl Fn(&Sampler)) {
    for sampler in samplers(&subjects.models()[0].it) {
        walk.run(sampler.name(), || run(&sampler));
    }
}

fn penalties(walk: &mut Walk, _: &mut Subjects) {
    for last_n in U32 {
        check(walk, last_n, |builder| builder.penalties(Penalties::default().last_n(last_n)));
    }
    triples(|repeat, frequency, presence| {
        let penalties = Penalties::default().last_n(9).repeat(repeat).frequency(frequency).presence(presence);
        check(walk, format!("{repeat} {frequency} {presence}"), |builder| builder.penalties(penalties));
    });
}

fn dry(walk: &mut Walk, subjects: &mut Subjects) {
    let models = subjects.models();
    let few = [0, 2, models.len() - 1].map(|index| models[index].it.clone());
    for model in &few {
        for value in U32 {
            for dry in [
                Dry::default().last_n(value),
                Dry::default().allowed_length(value),
                Dry::default().last_n(value).breakers(Vec::<String>::new()),
            ] {
                check(walk, value, |builder| builder.dry(model, dry));
            }
        }
        for text in texts() {
            let breakers = vec![text.clone(), text.clone()];
            check(walk, text.len(), |builder| builder.dry(model, Dry::default().breakers(breakers)));
        }
        let breakers = (0..100).map(|number| number.to_string()).collect::<Vec<_>>();
        check(walk, "many", |builder| builder.dry(model, Dry::default().breakers(breakers)));
        triples(|multiplier, base, _| {
            let dry = Dry::default().multiplier(multiplier).base(base);
            check(walk, format!("{multiplier} {base}"), |builder| builder.dry(model, dry));
        });
    }
}

fn logit_bias(walk: &mut Walk, subjects: &mut Subjects) {
    each_model(walk, subjects, |walk, model| {
        for (id, bias) in I32.into_iter().zip(F32) {
            check(walk, format!("{id} {bias}"), |builder| {
                builder.logit_bias(model, [(Token::new(id), bias)])
            });
            check(walk, format!("{bias}"), |builder| builder.logit_bias(model, [(Token::new(0), bias)]));
        }
        let all = (0..2000).map(|id| (Token::new(id), 1.0));
        check(walk, "all", |builder| builder.logit_bias(model, all));
    });
}

/// Returns invalid grammars, and ones that take long or lead nowhere.
fn grammars() -> Vec<String> {
    let mut grammars = texts();
    grammars.extend(
        [
            "root ::= \"a\"",
            "root ::= root",
            "root ::= \"\"",
            "root ::= a\na ::= root",
            "root ::= ((((\"a\"*)*)*)*)*",
            "root ::= \"a\"{0,99999999}",
            "root ::= [\\x00-\\U0010ffff]*",
            "root ::= <[0]> <[-1]> <[99999999999]>",
            "root ::= !<s>",
            "root ::= .",
            "::=",
            "root ::= \"\\u0000\"",
        ]
        .map(str::to_owned),
    );
    grammars.push(format!("root ::= {}\"a\"{}", "(".repeat(5000), ")".repeat(5000)));
    grammars
}

fn grammar(walk: &mut Walk, subjects: &mut Subjects) {
    each_model(walk, subjects, |walk, model| {
        for (index, grammar) in grammars().iter().enumerate() {
            for root in ["root", "", "\0", "nowhere"] {
                check(walk, format!("{index} {}", root.len()), |builder| {
                    builder.grammar(model, grammar, root)
                });
            }
        }
    });
}

fn grammar_lazy(walk: &mut Walk, subjects: &mut Subjects) {
    let model = subjects.models()[0].it.clone();
    let mut lazy = |what: String, triggers: LazyTriggers| {
        check(walk, what, |builder| builder.grammar_lazy(&model, "root ::= \"a\"+", "root", triggers));
    };
    lazy("none".to_owned(), LazyTriggers::default());
    for text in
        texts().into_iter().chain(["(", "[", "a{999999}", "(a*)*b", "\\", "(?<x>a)"].map(str::to_owned))
    {
        let what = format!("{:.20} {}", text.escape_debug().to_string(), text.len());
        lazy(format!("word {what}"), LazyTriggers::default().words([text.clone()]));
        lazy(format!("pattern {what}"), LazyTriggers::default().patterns([text]));
    }
    for id in I32 {
        lazy(format!("token {id}"), LazyTriggers::default().tokens([Token::new(id)]));
    }
}

/// Returns chains of every selecting sampler, some that know their vocabulary, one of them poisoned.
fn chains(subjects: &mut Subjects) -> Vec<Named<SamplerChain>> {
    let model = subjects.models()[0].it.clone();
    let build = |name: &str, builder: SamplerChainBuilder| Named {
        name: name.to_owned(),
        it: builder.build().unwrap(),
    };
    let grammar = "root ::= [a-z ]*";
    let mut chains = vec![
        build("greedy", SamplerChain::builder().perf(true).greedy()),
        build("usual", SamplerChain::builder().top_k(40).top_p(0.9).temperature(0.8).dist(1)),
        build("mirostat", SamplerChain::builder().mirostat(&model, 5.0, 0.1, 1)),
        build("mirostat 2", SamplerChain::builder().mirostat_v2(5.0, 0.1, 1)),
        build("adaptive", SamplerChain::builder().adaptive_p(0.5, 0.9, 1)),
        build("penalties", SamplerChain::builder().penalties(Penalties::default().repeat(2.0)).greedy()),
        build("dry", SamplerChain::builder().dry(&model, Dry::default()).dist(1)),
        build("grammar", SamplerChain::builder().grammar(&model, grammar, "root").greedy()),
        build("infill", SamplerChain::builder().top_k(9).infill(&model).greedy()),
    ];
    chains.push(poisoned_chain(&model));
    chains
}

fn poisoned_chain(model: &Model) -> Named<SamplerChain> {
    let trigger = Token::new(9);
    let triggers = LazyTriggers::default().tokens([trigger]);
    let builder = SamplerChain::builder().grammar_lazy(model, "root ::= .*", "root", triggers);
    let mut chain = builder.greedy().build().unwrap();
    poison_chain(&mut chain, trigger);
    Named { name: "poisoned".to_owned(), it: chain }
}

pub(crate) fn each_chain(
    walk: &mut Walk,
    subjects: &mut Subjects,
    mut with: impl FnMut(&mut Walk, &mut SamplerChain),
) {
    let chains = chains(subjects);
    assert!(chains.last().is_some_and(|chain| chain.it.is_poisoned()));
    for mut chain in chains {
        walk.on(&chain.name, chain.it.is_poisoned());
        with(walk, &mut chain.it);
    }
}

/// Calls a function that cannot fail, also on a poisoned chain.
fn plain(walk: &mut Walk, subjects: &mut Subjects, run: impl Fn(&mut SamplerChain)) {
    each_chain(walk, subjects, |walk, chain| walk.run("", || run(chain)));
}

fn sample(walk: &mut Walk, subjects: &mut Subjects) {
    let mut chains = chains(subjects);
    each_context(walk, subjects, |walk, context| {
        for Named { name, it: chain } in &mut chains {
            if chain.is_poisoned() {
                continue;
            }
            for index in [None, Some(0), Some(2), Some(usize::MAX)] {
                walk.call(format!("{name} {index:?}"), || chain.sample(context, index));
            }
            walk.run(format!("{name} reset"), || chain.reset().unwrap());
        }
    });
    each_context(walk, subjects, |walk, context| {
        let poisoned = &mut chains.last_mut().unwrap().it;
        walk.run("poisoned chain", || assert!(poisoned.sample(context, 2).is_err()));
    });
}

fn sample_logits(walk: &mut Walk, subjects: &mut Subjects) {
    each_chain(walk, subjects, |walk, chain| {
        for row in rows() {
            let what = format!("{} of {:?}", row.len(), row.first());
            if walk.call(what, || chain.sample_logits(&row)).is_none() && !chain.is_poisoned() {
                walk.call("reset", || chain.reset());
            }
        }
    });
}

/// Returns candidates, some of which cannot be chosen from.
fn candidates() -> Vec<Candidates> {
    let mut all: Vec<Candidates> = rows().iter().map(|row| Candidates::from_logits(row)).collect();
    for id in I32 {
        all.push([(Token::new(id), 1.0)].into_iter().collect());
        all.push([(Token::new(5), 1.0), (Token::new(id), 2.0), (Token::new(id), 2.0)].into_iter().collect());
    }
    all
}

fn each_candidates(walk: &mut Walk, run: impl Fn(&mut Candidates)) {
    for mut candidates in candidates() {
        walk.run(candidates.len(), || run(&mut candidates));
    }
}

fn apply(walk: &mut Walk, subjects: &mut Subjects) {
    each_chain(walk, subjects, |walk, chain| {
        for mut candidates in candidates() {
            let what = format!("{} {:?}", candidates.len(), candidates.as_slice().first());
            let before = candidates.len();
            walk.call(what, || chain.apply(&mut candidates));
            assert!(candidates.len() <= before);
        }
    });
}

fn accept(walk: &mut Walk, subjects: &mut Subjects) {
    each_chain(walk, subjects, |walk, chain| {
        for id in I32 {
            walk.call(id, || chain.accept(Token::new(id)));
        }
    });
}

fn accept_prompt(walk: &mut Walk, subjects: &mut Subjects) {
    each_chain(walk, subjects, |walk, chain| {
        for id in I32 {
            for n in [0, 1, USIZE[3]] {
                let tokens = vec![Token::new(id); n];
                walk.call(format!("{n} of {id}"), || chain.accept_prompt(&tokens));
            }
        }
    });
}
