use llama_core::{Batch, Context};

fn decode_in_two_contexts(left: &mut Context, right: &mut Context, batch: &Batch) {
    std::thread::scope(|scope| {
        scope.spawn(|| left.decode(batch).unwrap());
        scope.spawn(|| right.decode(batch).unwrap());
    });
}

fn main() {
    let _ = decode_in_two_contexts;
}
