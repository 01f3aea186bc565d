use llama_core::{Batch, Context};

fn decode_twice(context: &mut Context, batch: &Batch) {
    std::thread::scope(|scope| {
        scope.spawn(|| context.decode(batch).unwrap());
        scope.spawn(|| context.decode(batch).unwrap());
    });
}

fn main() {}
