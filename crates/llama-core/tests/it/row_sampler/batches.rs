//! Several rows at once give the same results as one after the other, for any number of threads and any order.

use super::*;
use llama_core::sampler::RowSamplerPool;

const ROWS: usize = 12;

fn samplers() -> Vec<RowSampler> {
    let sampler = |seed: usize| {
        let seed = u32::try_from(seed).unwrap();
        let builder = SamplerChain::builder().penalties(equality::penalties());
        let builder = if seed.is_multiple_of(3) { builder.top_p(0.9) } else { builder.top_k(40) };
        builder.temperature(1.4).dist(seed).build_row().unwrap()
    };
    (0..ROWS).map(sampler).collect()
}

fn rows(step: u64) -> Vec<Vec<f32>> {
    // Of different lengths, so that some take longer.
    (0..ROWS).map(|row| rows::peaked(30_000 + row * 5000, step * 100 + row as u64)).collect()
}

#[test]
fn the_same_whatever_the_number_of_threads_and_the_order() {
    let mut one = samplers();
    let expected: Vec<Vec<Token>> = (0..4)
        .map(|step| one.iter_mut().zip(rows(step)).map(|(it, row)| it.sample_row(&row).unwrap()).collect())
        .collect();
    for n_threads in [1, 2, 3, 16] {
        let pool = RowSamplerPool::new(n_threads).unwrap();
        assert_eq!(pool.n_threads(), n_threads);
        for reversed in [false, true] {
            let mut samplers = samplers();
            for (step, expected) in (0..).zip(&expected) {
                let rows = rows(step);
                let mut jobs: Vec<_> = samplers.iter_mut().zip(rows.iter().map(Vec::as_slice)).collect();
                if reversed {
                    jobs.reverse();
                }
                let mut found: Vec<Token> = pool.sample(&mut jobs).into_iter().map(Result::unwrap).collect();
                if reversed {
                    found.reverse();
                }
                assert_eq!(found, *expected, "{n_threads} threads");
            }
        }
    }
}

#[test]
fn errors_are_where_their_rows_are() {
    let pool = RowSamplerPool::new(2).unwrap();
    let mut rows = rows(0);
    rows[3][17] = f32::NAN;
    rows[8].fill(f32::NEG_INFINITY);
    rows[11].clear();
    let mut samplers = samplers();
    let mut jobs: Vec<_> = samplers.iter_mut().zip(rows.iter().map(Vec::as_slice)).collect();
    let results = pool.sample(&mut jobs);
    let failed: Vec<usize> =
        results.iter().enumerate().filter(|(_, result)| result.is_err()).map(|(index, _)| index).collect();
    assert_eq!(failed, [3, 8, 11]);
    assert!(pool.sample(&mut []).is_empty());
}

#[test]
fn sizes_of_pools() {
    for n_threads in [0, 1025, usize::MAX] {
        let error = RowSamplerPool::new(n_threads).unwrap_err();
        assert_eq!(error.to_string(), format!("n_threads is {n_threads}, but must be from 1 to 1024"));
    }
}
