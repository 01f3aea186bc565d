//! All rows of a batch's results, and computations on them.

use llama_core::embeddings::normalize_l2;
use llama_core::logits::{LogitsProcessor, LogitsProcessors};
use llama_core::{Batch, Context, Logits, Pos, SamplerChain, SeqId, Token};

use crate::Case;
use crate::subjects::{Subjects, each_context};
use crate::values::{F32, I32, USIZE};
use crate::walk::Walk;

pub(crate) const CASES: &[Case] = &[
    ("Context::logits_rows", logits_rows),
    ("Context::embeddings_rows", embeddings_rows),
    ("Context::logits_mut", |walk, subjects| {
        each_context(walk, subjects, |walk, context| {
            for index in USIZE.into_iter().map(Some).chain([None]) {
                walk.call(format!("{index:?}"), || context.logits_mut(index).map(|row| row.fill(f32::NAN)));
            }
        });
    }),
    ("Context::process_logits", |walk, subjects| {
        each_context(walk, subjects, |walk, context| {
            for (index, value) in USIZE.into_iter().flat_map(|index| F32.map(|value| (index, value))) {
                let mut fill = |row: &mut [f32]| row.fill(value);
                walk.call(format!("{index} {value}"), || context.process_logits(index, &mut fill));
            }
            sample(walk, context);
        });
    }),
    ("LogitsProcessors::new", |walk, _| _ = walk.run("", LogitsProcessors::new)),
    ("LogitsProcessors::push", |walk, _| {
        let mut all = LogitsProcessors::new();
        walk.run("", || F32.into_iter().for_each(|value| all.push(move |row: &mut [f32]| row.fill(value))));
        walk.run("none", || all.process(&mut []));
        walk.run("one", || all.process(&mut [0.0]));
    }),
    ("LogitsProcessors::len", |walk, _| assert_eq!(walk.run("", || LogitsProcessors::new().len()), 0)),
    ("LogitsProcessors::is_empty", |walk, _| assert!(walk.run("", || LogitsProcessors::new().is_empty()))),
    ("Logits::from_slice", |walk, _| {
        let (mut values, mut tokens) = (Vec::new(), Vec::new());
        for (value, n) in F32.into_iter().flat_map(|value| [0, 1, 2, 1000].map(|n| (value, n))) {
            let mut row = vec![value; n];
            row.extend(F32.iter().take(n));
            walk.run(format!("{n} of {value}"), || {
                let logits = Logits::from_slice(&row);
                logits.log_softmax(&mut values);
                logits.top_k(n, &mut tokens);
                (logits.argmax(), logits.log_probability(Token::new(1)))
            });
        }
    }),
    ("Logits::log_probability", |walk, subjects| {
        each_row(walk, subjects, |walk, row| {
            for token in I32.map(Token::new) {
                let found = walk.run(token, || row.log_probability(token));
                assert_eq!(found.is_some(), row.get(token).is_some());
                assert!(found.is_none_or(|value| value <= 0.0), "{found:?}");
            }
        });
    }),
    ("Logits::log_softmax", |walk, subjects| {
        let mut values = vec![7.0; 3];
        each_row(walk, subjects, |walk, row| {
            walk.run("", || row.log_softmax(&mut values));
            assert!(values.len() == row.len() && values.iter().all(|value| *value <= 0.0));
        });
    }),
    ("Logits::top_k", |walk, subjects| {
        let mut tokens = Vec::new();
        each_row(walk, subjects, |walk, row| {
            for k in USIZE {
                walk.run(k, || row.top_k(k, &mut tokens));
                assert_eq!(tokens.len(), k.min(row.len()));
            }
        });
    }),
    ("Logits::softmax", |walk, subjects| {
        each_row(walk, subjects, |walk, row| _ = walk.run("", || row.softmax()));
    }),
    ("Softmax::log_probability", |walk, subjects| {
        each_row(walk, subjects, |walk, row| {
            let softmax = row.softmax();
            for token in I32.map(Token::new) {
                let found = walk.run(token, || softmax.log_probability(token));
                assert_eq!(found, row.log_probability(token));
            }
        });
    }),
    ("Softmax::log_probabilities", |walk, subjects| {
        let mut values = vec![7.0; 3];
        each_row(walk, subjects, |walk, row| {
            walk.run("", || row.softmax().log_probabilities(&mut values));
            assert!(values.len() == row.len() && values.iter().all(|value| *value <= 0.0));
        });
    }),
    ("Softmax::top_k", |walk, subjects| {
        let mut tokens = Vec::new();
        each_row(walk, subjects, |walk, row| {
            for k in USIZE {
                walk.run(k, || row.softmax().top_k(k, &mut tokens));
                assert_eq!(tokens.len(), k.min(row.len()));
            }
        });
    }),
    ("normalize_l2", |walk, _| {
        for (value, n) in F32.into_iter().flat_map(|value| [0, 1, 2, 1000].map(|n| (value, n))) {
            let mut row = vec![value; n];
            row.extend(F32.iter().take(n));
            walk.run(format!("{n} of {value}"), || normalize_l2(&mut row));
        }
    }),
];

/// Computes the results of every token, which batches do not give otherwise.
fn fill_all(context: &mut Context, positions: [i32; 3]) {
    let mut batch = Batch::new();
    for pos in positions {
        batch.push(Token::new(5), Pos::new(pos), &[SeqId::new(0)], pos != 1).unwrap();
    }
    let _ = context.decode(&batch);
}

/// Samples from the row that a processor has changed.
fn sample(walk: &mut Walk, context: &mut Context) {
    let mut chain = SamplerChain::builder().top_k(200).top_p(0.9).dist(1).build().unwrap();
    for index in 0..3 {
        walk.call("sample", || chain.sample(context, index));
    }
}

fn logits_rows(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        for positions in [[3, 4, 5], [0, 1, 2], [7, 9, 11]] {
            let n_vocab = context.model().vocab().n_tokens();
            let rows = walk.call(format!("{positions:?}"), || {
                context.logits_rows().map(|rows| rows.map(|(at, row)| (at, row.len())).collect::<Vec<_>>())
            });
            assert!(rows.unwrap_or_default().iter().all(|(at, n)| *at < 3 && *n == n_vocab));
            fill_all(context, positions);
        }
    });
}

fn embeddings_rows(walk: &mut Walk, subjects: &mut Subjects) {
    each_context(walk, subjects, |walk, context| {
        for positions in [[3, 4, 5], [0, 1, 2], [7, 9, 11]] {
            let width = context.model().n_embd_out() as usize;
            let rows = walk.call(format!("{positions:?}"), || {
                let rows = context.embeddings_rows()?;
                Ok(rows.map(|(at, row)| (at, row.len())).collect::<Vec<_>>())
            });
            assert!(rows.unwrap_or_default().iter().all(|(at, n)| *at < 3 && *n == width));
            fill_all(context, positions);
        }
    });
}

fn each_row(walk: &mut Walk, subjects: &mut Subjects, mut with: impl FnMut(&mut Walk, Logits<'_>)) {
    each_context(walk, subjects, |walk, context| {
        if !walk.is_poisoned()
            && let Ok(row) = context.logits(2)
        {
            with(walk, row);
        }
    });
}
