//! Samplers of rows: of samplers that have no such form, on rows that cannot be sampled from, and many at once.

use llama_core::{Choice, RowSampler, RowSamplerPool, SamplerChain, Token};

use crate::Case;
use crate::sampler::{rows, samplers};
use crate::subjects::{Subjects, each_context};
use crate::values::{I32, USIZE};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("SamplerChainBuilder::build_row", build_row),
    ("RowSampler::sample", |walk, subjects| {
        let mut all = all(subjects);
        each_context(walk, subjects, |walk, context| {
            for (number, sampler) in all.iter_mut().enumerate() {
                for index in [None, Some(0), Some(2), Some(usize::MAX)] {
                    walk.call(format!("{number} {index:?}"), || sampler.sample(context, index));
                }
            }
        });
    }),
    ("RowSampler::sample_row", |walk, subjects| {
        each(walk, subjects, |walk, sampler| {
            for row in rows() {
                let what = format!("{} of {:?}", row.len(), row.first());
                walk.call(what, || sampler.sample_row(&row));
            }
        });
    }),
    ("RowSampler::choose", |walk, subjects| {
        let mut choice = Choice::default();
        each(walk, subjects, |walk, sampler| {
            for (row, n) in rows().iter().flat_map(|row| USIZE.map(|n| (row, n))) {
                let what = format!("{n} of {} {:?}", row.len(), row.first());
                let chosen = walk.call(what, || sampler.choose(row, n, &mut choice));
                assert!(chosen.is_none_or(|token| choice.token == token && choice.top.len() <= row.len()));
            }
        });
    }),
    ("RowSampler::accept", |walk, subjects| {
        each(walk, subjects, |walk, sampler| {
            for id in I32 {
                walk.call(id, || sampler.accept(Token::new(id)));
            }
            walk.call("used", || sampler.sample_row(&[0.5; 9]));
        });
    }),
    ("RowSampler::accept_prompt", |walk, subjects| {
        each(walk, subjects, |walk, sampler| {
            for (id, n) in I32.into_iter().flat_map(|id| [0, 1, 10_000].map(|n| (id, n))) {
                walk.call(format!("{n} of {id}"), || sampler.accept_prompt(&vec![Token::new(id); n]));
            }
            walk.call("used", || sampler.sample_row(&[0.5; 9]));
        });
    }),
    ("RowSampler::reset", |walk, subjects| {
        each(walk, subjects, |walk, sampler| walk.run("", || (0..2).for_each(|_| sampler.reset())));
    }),
    ("RowSampler::samplers", |walk, subjects| {
        each(walk, subjects, |walk, sampler| _ = walk.run("", || sampler.samplers().to_vec()));
    }),
    ("RowSampler::seed", |walk, subjects| {
        each(walk, subjects, |walk, sampler| _ = walk.run("", || sampler.seed()));
    }),
    ("RowSamplerPool::new", |walk, _| {
        for n in [0, 1, 2, 1025, usize::MAX] {
            walk.call(n, || RowSamplerPool::new(n));
        }
    }),
    ("RowSamplerPool::n_threads", |walk, _| {
        walk.run("", || assert_eq!(RowSamplerPool::new(2).unwrap().n_threads(), 2));
    }),
    ("RowSamplerPool::sample", pool),
];

/// Alone, before a selecting sampler, and twice.
fn build_row(walk: &mut Walk, subjects: &mut Subjects) {
    let models = [0, 5, 12].map(|index| subjects.models()[index].it.clone());
    for sampler in models.iter().flat_map(samplers) {
        let alone = SamplerChain::builder().push(sampler.clone());
        let first = alone.clone().greedy();
        let twice = alone.clone().push(sampler.clone()).dist(1);
        for (what, builder) in [("alone", alone), ("first", first), ("twice", twice)] {
            let built = walk.call(format!("{what} {sampler:.30?}"), || builder.build_row());
            if let Some(mut built) = built {
                walk.call(format!("{what}, used"), || built.sample_row(&[0.5; 9]));
            }
        }
    }
}

/// One of each sampler that has a form for rows, and of several.
fn all(subjects: &mut Subjects) -> Vec<RowSampler> {
    let model = subjects.models()[0].it.clone();
    let single = samplers(&model).into_iter().flat_map(|sampler| {
        let first = SamplerChain::builder().push(sampler);
        [first.clone(), first.clone().greedy(), first.dist(1)].map(|builder| builder.build_row().ok())
    });
    let usual = SamplerChain::builder().top_k(40).top_p(0.9).min_p(0.05).temperature(0.8).dist(1);
    single.flatten().chain([usual.build_row().unwrap()]).collect()
}

fn each(walk: &mut Walk, subjects: &mut Subjects, mut with: impl FnMut(&mut Walk, &mut RowSampler)) {
    for (number, mut sampler) in all(subjects).into_iter().enumerate() {
        walk.on(number, false);
        with(walk, &mut sampler);
    }
}

/// None, one, and many jobs, most of which cannot be done.
fn pool(walk: &mut Walk, subjects: &mut Subjects) {
    let rows = rows();
    for n_threads in [1, 2, 5] {
        let pool = RowSamplerPool::new(n_threads).unwrap();
        for n in [0, 1, 3, 1000] {
            let mut samplers = all(subjects);
            samplers.truncate(n);
            let mut jobs: Vec<_> = samplers.iter_mut().zip(rows.iter().map(Vec::as_slice).cycle()).collect();
            let results = walk.run(format!("{n} with {n_threads}"), || pool.sample(&mut jobs));
            assert_eq!(results.len(), jobs.len());
            for result in results {
                walk.call("result", || result);
            }
        }
    }
}
