use llama_core::{Model, ModelParams, Vocab};

fn vocab_of_a_lost_model() -> Vocab<'static> {
    let model = Model::load("model.gguf", &ModelParams::default()).unwrap();
    model.vocab()
}

fn main() {}
