use llama_core::{Context, SeqId};

fn keep_an_embedding(context: &mut Context) {
    let embedding = context.embeddings_seq(SeqId::new(0)).unwrap();
    context.memory().clear(true).unwrap();
    println!("{}", embedding[0]);
}

fn main() {}
