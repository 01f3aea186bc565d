use llama_core::{Batch, Context};

fn fresh(context: &mut Context, batch: &Batch) -> f32 {
    context.decode(batch).unwrap();
    let sampled = context.sampled(0).unwrap();
    sampled.logits()[0]
}

fn main() {
    let _ = fresh;
}
