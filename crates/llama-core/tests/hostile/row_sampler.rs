//! Impossible samplers for rows, and rows that cannot be sampled from.

use llama_core::sampler::{
    AnySampler, Choice, ParameterRange, Penalties, RowSampler, RowSamplerPool, SamplerChainBuilder, range,
};
use llama_core::{Sampler, SamplerChain, Token};

use crate::Case;
use crate::sampler::{rows, samplers};
use crate::subjects::{Subjects, each_context};
use crate::values::{F32, I32, USIZE};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("SamplerChainBuilder::build_row", build_row),
    ("SamplerChainBuilder::build_any", |walk, subjects| {
        each_any(walk, subjects, |_, _| {});
        walk.call("nothing", || SamplerChain::builder().build_any());
    }),
    ("AnySampler::sample", |walk, subjects| {
        each_context(walk, subjects, |walk, context| {
            let mut sampler = SamplerChain::builder().top_k(9).dist(1).build_any().unwrap();
            for index in USIZE {
                walk.call(index, || sampler.sample(context, index));
            }
            walk.call("none", || sampler.sample(context, None));
        });
    }),
    ("AnySampler::sample_logits", |walk, subjects| {
        each_any(walk, subjects, |walk, sampler| {
            for row in all_rows() {
                walk.call(row.len(), || sampler.sample_logits(&row));
            }
        });
    }),
    ("AnySampler::accept", |walk, subjects| {
        each_any(walk, subjects, |walk, sampler| {
            I32.map(Token::new).into_iter().for_each(|token| _ = walk.call(token, || sampler.accept(token)));
        });
    }),
    ("AnySampler::accept_prompt", |walk, subjects| {
        each_any(walk, subjects, |walk, sampler| {
            walk.call("many", || sampler.accept_prompt(&[Token::new(0); 10_000]));
            walk.call("of all kinds", || sampler.accept_prompt(&I32.map(Token::new)));
        });
    }),
    ("AnySampler::reset", |walk, subjects| {
        each_any(walk, subjects, |walk, sampler| _ = walk.call("", || sampler.reset()));
    }),
    ("AnySampler::is_finished", |walk, subjects| {
        each_any(walk, subjects, |walk, sampler| _ = walk.call("", || sampler.is_finished()));
    }),
    ("AnySampler::samplers", |walk, subjects| {
        each_any(walk, subjects, |walk, sampler| {
            assert!(walk.run("", || sampler.samplers().len()) > 1);
        });
    }),
    ("AnySampler::seed", |walk, subjects| {
        each_any(walk, subjects, |walk, sampler| _ = walk.run("", || sampler.seed()));
    }),
    ("ParameterRange::new", |walk, _| {
        for (min, max) in F32.into_iter().flat_map(|min| F32.map(|max| (min, max))) {
            let range = walk.run("new", || ParameterRange::new(min, max));
            assert_eq!(range.contains(min), min <= max, "{range}");
        }
    }),
    ("ParameterRange::above", |walk, _| {
        for (min, max) in F32.into_iter().flat_map(|min| F32.map(|max| (min, max))) {
            assert!(!walk.run("above", || ParameterRange::above(min, max)).contains(min));
        }
    }),
    ("ParameterRange::at_least", |walk, _| {
        for min in F32 {
            let range = walk.run(min, || ParameterRange::at_least(min));
            assert!(!range.contains(f32::INFINITY) && !range.contains(f32::NAN), "{range}");
        }
    }),
    ("ParameterRange::or", |walk, _| {
        for also in F32 {
            let range = walk.run(also, || ParameterRange::new(1.0, 0.0).or(also));
            assert_eq!(range.contains(also), !also.is_nan(), "{range}");
        }
    }),
    ("ParameterRange::contains", |walk, _| {
        F32.into_iter().for_each(|value| _ = walk.run(value, || range::TEMPERATURE.contains(value)));
    }),
    ("ParameterRange::max", |walk, _| _ = walk.run("", || range::TEMPERATURE.max())),
    ("RowSampler::sample", sample),
    ("RowSampler::sample_row", |walk, subjects| {
        each_sampler(walk, subjects, |walk, sampler| {
            for row in all_rows() {
                for _ in ["", "again"] {
                    walk.call(row.len(), || sampler.sample_row(&row)).inspect(|token| {
                        assert!(row[usize::try_from(token.get()).unwrap()] > f32::NEG_INFINITY);
                    });
                }
            }
        });
    }),
    ("RowSampler::choose", |walk, subjects| {
        let mut choice = Choice::default();
        each_sampler(walk, subjects, |walk, sampler| {
            for row in all_rows() {
                for n_top in USIZE {
                    walk.call(n_top, || sampler.choose(&row, n_top, &mut choice));
                    assert!(choice.log_probability <= 0.0 && choice.probability >= 0.0, "{choice:?}");
                }
            }
        });
    }),
    ("RowSampler::accept", |walk, subjects| {
        each_sampler(walk, subjects, |walk, sampler| {
            I32.map(Token::new).into_iter().for_each(|token| _ = walk.call(token, || sampler.accept(token)));
            walk.call("then a row", || sampler.sample_row(&[0.0; 2000]));
        });
    }),
    ("RowSampler::accept_prompt", |walk, subjects| {
        each_sampler(walk, subjects, |walk, sampler| {
            walk.call("many", || sampler.accept_prompt(&[Token::new(0); 10_000]));
            walk.call("of all kinds", || sampler.accept_prompt(&I32.map(Token::new)));
        });
    }),
    ("RowSampler::reset", |walk, subjects| {
        each_sampler(walk, subjects, |walk, sampler| walk.run("", || sampler.reset()));
    }),
    ("RowSampler::samplers", |walk, subjects| {
        each_sampler(walk, subjects, |walk, sampler| {
            let count = walk.run("of a copy", || sampler.clone().samplers().len());
            assert_eq!(count, sampler.samplers().len());
        });
    }),
    ("RowSampler::seed", |walk, subjects| {
        each_sampler(walk, subjects, |walk, sampler| _ = walk.run("", || sampler.seed()));
    }),
    ("RowSamplerPool::new", |walk, _| {
        for n_threads in USIZE.into_iter().filter(|n| !(3..=1024).contains(n)) {
            walk.call(n_threads, || RowSamplerPool::new(n_threads));
        }
    }),
    ("RowSamplerPool::n_threads", |walk, _| {
        assert_eq!(walk.run("", || RowSamplerPool::new(2).unwrap().n_threads()), 2);
    }),
    ("RowSamplerPool::sample", |walk, subjects| {
        let pool = RowSamplerPool::new(3).unwrap();
        each_sampler(walk, subjects, |walk, sampler| {
            let rows = all_rows();
            let mut samplers = vec![sampler.clone(); rows.len()];
            let mut jobs: Vec<_> = samplers.iter_mut().zip(rows.iter().map(Vec::as_slice)).collect();
            let results = walk.run("", || pool.sample(&mut jobs));
            assert_eq!(results.len(), rows.len());
        });
    }),
];

/// Returns rows of every kind, some of them too long for one array.
fn all_rows() -> Vec<Vec<f32>> {
    let mut all = rows();
    for value in F32 {
        all.push(vec![value; 1025]);
        all.push((0..2000_u16).map(|id| if id % 3 == 0 { value } else { f32::from(id) }).collect());
    }
    all
}

fn build_row(walk: &mut Walk, subjects: &mut Subjects) {
    let samplers = samplers(&subjects.models()[0].it);
    for first in &samplers {
        for second in &samplers {
            for last in [Sampler::Greedy, Sampler::Dist { seed: 0.into() }] {
                let what = format!("{} {} {}", first.name(), second.name(), last.name());
                let builder = SamplerChain::builder().push(first.clone()).push(second.clone()).push(last);
                let Some(mut sampler) = walk.call(&what, || builder.build_row()) else { continue };
                for length in [1, 507, 2000] {
                    walk.call(&what, || sampler.sample_row(&vec![1.5; length]));
                }
            }
        }
    }
    walk.call("nothing", || SamplerChain::builder().build_row());
}

/// A sampler of either form with each kind of sampler in it.
fn each_any(walk: &mut Walk, subjects: &mut Subjects, mut run: impl FnMut(&mut Walk, &mut AnySampler)) {
    let model = subjects.models()[0].it.clone();
    for sampler in samplers(&model).into_iter().filter(|sampler| !sampler.is_selecting()) {
        let builder = SamplerChain::builder().top_k(9).push(sampler.clone()).dist(7);
        let Some(mut any) = walk.call(sampler.name(), || builder.build_any()) else { continue };
        run(walk, &mut any);
    }
}

/// Samplers of all that have a form for rows, with values at their limits.
fn each_sampler(walk: &mut Walk, subjects: &mut Subjects, mut run: impl FnMut(&mut Walk, &mut RowSampler)) {
    let model = subjects.models()[0].it.clone();
    let all = samplers(&model).into_iter().filter(|sampler| !sampler.is_selecting());
    let of =
        |builder: SamplerChainBuilder| [builder.clone().greedy().build_row(), builder.dist(7).build_row()];
    let single = all.flat_map(|sampler| of(SamplerChain::builder().push(sampler))).flatten();
    let penalties = Penalties::default().last_n(5).repeat(1e3).frequency(1e4).presence(-1e4);
    let usual = SamplerChain::builder().penalties(penalties).top_n_sigma(1.0).temperature(1e-5);
    let usual =
        of(usual.clone().top_k(40).top_p(0.5).min_p(0.1)).into_iter().chain(of(usual.xtc(1.0, 0.1, 1)));
    for (index, mut sampler) in single.chain(usual.flatten()).enumerate() {
        walk.on(index, false);
        run(walk, &mut sampler);
    }
}

fn sample(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        let mut sampler = SamplerChain::builder().top_k(9).dist(1).build_row().unwrap();
        for index in USIZE {
            walk.call(index, || sampler.sample(context, index));
        }
        walk.call("none", || sampler.sample(context, None));
    });
}
