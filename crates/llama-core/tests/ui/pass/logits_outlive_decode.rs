use llama_core::{Batch, Context};

fn keep_a_copy(context: &mut Context, batch: &Batch) {
    context.decode(batch).unwrap();
    let (row, other) = (context.logits(0).unwrap(), context.logits(1).unwrap());
    println!("{} {}", row[0], other[0]);
    let copy = row.to_vec();
    context.decode(batch).unwrap();
    println!("{}", copy[0]);
}

fn main() {
    let _ = keep_a_copy;
}
