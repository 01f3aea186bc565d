use llama_core::{Batch, Context, SeqId};

fn take_turns(context: &mut Context, batch: &Batch) {
    let mut memory = context.memory();
    memory.seq_rm(SeqId::new(0), ..).unwrap();
    context.decode(batch).unwrap();
    context.memory().seq_rm(SeqId::new(0), 5..).unwrap();
}

fn main() {
    let _ = take_turns;
}
