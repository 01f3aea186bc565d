use llama_core::{Context, SeqId};

fn change_after_a_row(context: &mut Context) {
    println!("{}", context.logits(0).unwrap()[0]);
    context.memory().seq_rm(SeqId::new(0), ..).unwrap();
}

fn main() {
    let _ = change_after_a_row;
}
