use llama_core::{Context, SeqId};

fn change_under_a_row(context: &mut Context) {
    let row = context.logits(0).unwrap();
    context.memory().seq_rm(SeqId::new(0), ..).unwrap();
    println!("{}", row[0]);
}

fn main() {}
