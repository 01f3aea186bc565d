use llama_core::{Batch, Context};

fn stale(context: &mut Context, batch: &Batch) -> f32 {
    let sampled = context.sampled(0).unwrap();
    context.decode(batch).unwrap();
    sampled.logits()[0]
}

fn main() {
    let _ = stale;
}
