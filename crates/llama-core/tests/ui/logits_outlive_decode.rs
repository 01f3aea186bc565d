use llama_core::{Batch, Context};

fn keep_a_row(context: &mut Context, batch: &Batch) {
    context.decode(batch).unwrap();
    let row = context.logits(0).unwrap();
    context.decode(batch).unwrap();
    println!("{}", row[0]);
}

fn main() {}
