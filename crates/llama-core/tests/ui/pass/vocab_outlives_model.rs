use llama_core::{Context, Model, Vocab};

fn vocab_of_a_model(model: &Model) -> Vocab<'_> {
    model.vocab()
}

/// A context keeps its model.
fn vocab_of_a_context(context: &Context) -> Vocab<'_> {
    context.model().vocab()
}

fn main() {
    let _ = (vocab_of_a_model, vocab_of_a_context);
}
