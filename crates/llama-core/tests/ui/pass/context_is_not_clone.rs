use llama_core::{Batch, Model};

fn twice(model: &Model, batch: &Batch) -> (Model, Batch) {
    (model.clone(), batch.clone())
}

fn main() {
    let _ = twice;
}
