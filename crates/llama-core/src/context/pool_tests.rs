//! Tests that after a contained failure no thread of a pool is inside a computation: the pool can be reused and
//! freed.

use test_models::Tiny;

use super::{Context, ContextParams};
use crate::error::ErrorKind;
use crate::model::{Model, ModelParams};
use crate::threadpool::ThreadpoolParams;
use crate::token::{Pos, SeqId, Token};
use crate::{Batch, Threadpool};

fn batch(n: i32) -> Batch {
    let mut batch = Batch::new();
    for pos in 0..n {
        batch.push(Token::new(5), Pos::new(pos), &[SeqId::new(0)], true).unwrap();
    }
    batch
}

#[test]
fn pools_of_failed_computations_remain_usable() {
    let model = Model::load(Tiny::Llama.path(), &ModelParams::default()).unwrap();
    let params = ContextParams::default().n_ctx(256).n_threads(2).n_outputs_max(2);
    let pool = Threadpool::new(&ThreadpoolParams::new(2).poll(0)).unwrap();
    let [mut first, mut second] = [0, 1].map(|_| {
        let mut context = Context::new(&model, &params).unwrap();
        context.attach_threadpool(&pool, None).unwrap();
        context.decode(&batch(2)).unwrap();
        context.memory().clear(false).unwrap();
        context
    });
    // More outputs than llama.cpp has room for, which is otherwise refused.
    first.limits.n_outputs_max = 100;
    let error = first.decode(&batch(3)).unwrap_err();
    let ErrorKind::Internal { message, .. } = error.kind() else { panic!("{error:?}") };
    assert!(message.contains("n_outputs_max <= cparams.n_outputs_max"), "{message}");
    assert!(first.is_poisoned());

    second.decode(&batch(2)).unwrap();
    // Joins the threads, both after the context that failed and after the other one.
    drop((first, second, pool));
}
