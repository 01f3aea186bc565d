//! Measures building a batch, the part of a decode step that is all Rust.

#![allow(missing_docs, reason = "criterion's macros make items without docs")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use llama_core::{Batch, Pos, SeqId, Token};

fn batch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch");
    for count in [1_usize, 512] {
        let tokens = vec![Token::new(1); count];
        let mut batch = Batch::with_capacity(count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("push_prompt", count), |bencher| {
            bencher.iter(|| {
                batch.clear();
                batch.push_prompt(&tokens, SeqId::new(0), Pos::new(0)).expect("positions are in range");
                batch.len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, batch);
criterion_main!(benches);
