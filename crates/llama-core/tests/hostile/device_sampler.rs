//! Samplers that contexts run: invalid chains, and missing sequences and results.

use llama_core::sampler::{DynamicTemperature, Penalties, Sampled, SamplerChainBuilder};
use llama_core::{Context, ContextParams, Sampler, SamplerChain, SeqId, Token};

use crate::Case;
use crate::subjects::{Named, Subjects, each_context, three};
use crate::values::{I32, USIZE};
use crate::walk::Walk;

const SEQ: SeqId = SeqId::new(0);

pub(crate) const CASES: &[Case] = &[
    ("Context::set_sampler", set_sampler),
    ("Context::remove_sampler", remove_sampler),
    ("Context::n_samplers_for_device", |walk, subjects| {
        each_context(walk, subjects, |walk, context| {
            for builder in builders().into_iter().step_by(17) {
                let chain = builder.clone().build().unwrap();
                let n = walk.run(format!("{builder:?}"), || context.n_samplers_for_device(&chain));
                assert!(n <= chain.len());
            }
        });
    }),
    ("Context::sampler", |walk, subjects| {
        each_result(walk, subjects, |walk, context| {
            for id in I32 {
                let found = walk.run(id, || context.sampler(SeqId::new(id)).map(SamplerChain::names));
                assert!(id == 0 || found.is_none());
            }
        });
    }),
    ("Context::sampler_mut", |walk, subjects| {
        each_result(walk, subjects, |walk, context| {
            for id in I32 {
                let found = walk.run(id, || context.sampler_mut(SeqId::new(id)).map(|it| format!("{it:?}")));
                assert!(id == 0 || found.is_none());
            }
        });
    }),
    ("Context::sample", |walk, subjects| {
        each_sampled(walk, subjects, |walk, context| {
            for index in indices() {
                walk.call(format!("{index:?}"), || context.sample(index));
            }
        });
    }),
    ("Context::sampled", |walk, subjects| {
        each_sampled(walk, subjects, |walk, context| {
            for index in indices() {
                walk.call(format!("{index:?}"), || context.sampled(index).map(|it| it.token()));
            }
        });
    }),
    ("AttachedSampler::accept", |walk, subjects| {
        each_sampled(walk, subjects, |walk, context| {
            for id in I32 {
                let Some(mut sampler) = context.sampler_mut(SEQ) else { return };
                walk.call(id, || sampler.accept(Token::new(id)));
            }
            again(walk, context);
        });
    }),
    ("AttachedSampler::accept_prompt", |walk, subjects| {
        each_result(walk, subjects, |walk, context| {
            for tokens in [vec![], I32.map(Token::new).to_vec(), vec![Token::new(5); 10_000]] {
                let Some(mut sampler) = context.sampler_mut(SEQ) else { return };
                walk.call(tokens.len(), || sampler.accept_prompt(&tokens));
            }
            again(walk, context);
        });
    }),
    ("AttachedSampler::reset", |walk, subjects| {
        each_result(walk, subjects, |walk, context| {
            let Some(mut sampler) = context.sampler_mut(SEQ) else { return };
            walk.call("", || sampler.reset());
            again(walk, context);
        });
    }),
    ("SamplerChain::n_on_device", |walk, subjects| {
        each_result(walk, subjects, |walk, context| {
            let Some(chain) = context.sampler(SEQ) else { return };
            assert!((1..=chain.len()).contains(&walk.run("", || chain.n_on_device())));
            let copy = walk.call("a copy", || chain.try_clone()).unwrap();
            assert_eq!(copy.n_on_device(), 0);
        });
    }),
    ("Sampled::token", |walk, subjects| result(walk, subjects, |it| _ = it.token())),
    ("Sampled::tokens", |walk, subjects| {
        result(walk, subjects, |it| assert!(it.tokens().iter().all(|token| token.get() >= 0)));
    }),
    ("Sampled::logits", |walk, subjects| {
        result(walk, subjects, |it| assert_eq!(it.logits().len(), it.tokens().len()));
    }),
    ("Sampled::probabilities", |walk, subjects| {
        result(walk, subjects, |it| {
            assert!(it.probabilities().is_none_or(|all| all.len() == it.tokens().len()));
        });
    }),
    ("Sampled::iter", |walk, subjects| {
        result(walk, subjects, |it| assert_eq!(it.iter().count(), it.tokens().len()));
    }),
];

fn indices() -> impl Iterator<Item = Option<usize>> {
    USIZE.into_iter().map(Some).chain([None])
}

/// Returns chains with values at the ends of their ranges, in orders from which no graph is made.
fn builders() -> Vec<SamplerChainBuilder> {
    let penalties = |last_n, repeat| {
        Sampler::Penalties(Penalties::default().last_n(last_n).repeat(repeat).frequency(-1e4).presence(1e4))
    };
    let dynamic = |temperature, delta, exponent| {
        Sampler::DynamicTemperature(
            DynamicTemperature::default().temperature(temperature).delta(delta).exponent(exponent),
        )
    };
    let kinds = [
        Sampler::TopK { k: 1 },
        Sampler::TopK { k: u32::MAX },
        Sampler::TopP { p: 0.0, min_keep: 0 },
        Sampler::TopP { p: 0.999, min_keep: usize::MAX },
        Sampler::MinP { p: f32::MIN_POSITIVE, min_keep: 0 },
        Sampler::MinP { p: 1.0, min_keep: 1 },
        Sampler::Temperature { temperature: 0.0 },
        Sampler::Temperature { temperature: 1e-5 },
        Sampler::Temperature { temperature: f32::MAX },
        dynamic(0.0, 1e6, 1e6),
        dynamic(f32::MAX, 1e6, 1.0),
        penalties(1 << 16, 1e3),
        penalties(1, 1e-3),
    ];
    let start = |first: &Sampler| SamplerChain::builder().push(first.clone());
    let mut builders: Vec<SamplerChainBuilder> = vec![SamplerChain::builder()];
    builders.extend(kinds.iter().map(start));
    builders.extend(kinds.iter().flat_map(|first| {
        kinds.iter().step_by(2).map(move |second| start(first).push(second.clone()).push(first.clone()))
    }));
    let ended = |(n, builder): (usize, SamplerChainBuilder)| {
        if n.is_multiple_of(2) { builder.greedy() } else { builder.dist(7) }
    };
    builders.into_iter().enumerate().map(ended).collect()
}

/// Computes a batch from the beginning and samples from it, if the context samples.
fn again(walk: &mut Walk, context: &mut Context) {
    if context.has_memory() {
        walk.call("clear", || context.memory().clear(false));
    }
    if context.model().has_encoder() {
        walk.call("encode", || context.encode(&three()));
    }
    walk.call("decode", || context.decode(&three()));
    walk.call("sample", || context.sample(2));
}

fn clean(walk: &mut Walk, context: &mut Context) {
    walk.call("remove", || context.remove_sampler(SEQ));
}

fn chain(nth: usize) -> SamplerChain {
    let penalties = Penalties::default().repeat(1.1);
    let start = SamplerChain::builder();
    let builder =
        if nth.is_multiple_of(2) { start.penalties(penalties) } else { start.top_k(40).typical_p(0.9) };
    builder.dist(1).build().unwrap()
}

/// Calls a function with every context, with a sampler of its first sequence if possible, and its results.
fn each_sampled(walk: &mut Walk, subjects: &mut Subjects, mut with: impl FnMut(&mut Walk, &mut Context)) {
    let mut nth = 0;
    each_context(walk, subjects, |walk, context| {
        nth += 1;
        walk.call("set", || context.set_sampler(SEQ, chain(nth / 2)));
        again(walk, context);
        with(walk, context);
        clean(walk, context);
    });
}

/// Calls a function with two contexts whose first sequence has a sampler, for checks independent of the model.
fn each_result(walk: &mut Walk, subjects: &mut Subjects, mut with: impl FnMut(&mut Walk, &mut Context)) {
    let Named { name, it } = &subjects.models()[0];
    walk.on(name, false);
    for nth in 0..2 {
        let mut context = Context::new(it, &ContextParams::default().n_ctx(256).n_threads(1)).unwrap();
        context.set_sampler(SEQ, chain(nth)).unwrap();
        again(walk, &mut context);
        with(walk, &mut context);
    }
}

fn result(walk: &mut Walk, subjects: &mut Subjects, mut with: impl FnMut(Sampled<'_>)) {
    each_result(walk, subjects, |walk, context| {
        let sampled = context.sampled(2).unwrap();
        walk.run("", || with(sampled));
    });
}

fn set_sampler(walk: &mut Walk, subjects: &mut Subjects) {
    let mut nth = 0;
    each_context(walk, subjects, |walk, context| {
        for id in I32 {
            let greedy = || SamplerChain::builder().greedy().build();
            walk.call(id, || context.set_sampler(SeqId::new(id), greedy()?));
            walk.call(id, || context.remove_sampler(SeqId::new(id)));
        }
        again(walk, context);
        let mut foreign = SamplerChain::builder().dist(1).build().unwrap();
        foreign.accept(Token::new(i32::MAX - 1)).unwrap();
        walk.call("with a token of another model", || context.set_sampler(SEQ, foreign));
        // Others for every context.
        nth += 1;
        for builder in builders().into_iter().skip(nth % 23).step_by(23) {
            walk.call(format!("{builder:?}"), || context.set_sampler(SEQ, builder.clone().build()?));
            again(walk, context);
        }
        clean(walk, context);
    });
}

fn remove_sampler(walk: &mut Walk, subjects: &mut Subjects) {
    each_sampled(walk, subjects, |walk, context| {
        for id in I32 {
            walk.call(id, || context.remove_sampler(SeqId::new(id)));
        }
        again(walk, context);
    });
}
