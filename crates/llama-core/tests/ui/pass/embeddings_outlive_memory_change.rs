use llama_core::{Context, SeqId};

fn use_an_embedding(context: &mut Context) {
    let embedding = context.embeddings_seq(SeqId::new(0)).unwrap();
    println!("{}", embedding[0]);
    context.memory().clear(true).unwrap();
}

fn main() {
    let _ = use_an_embedding;
}
