use llama_core::{Batch, Context, SeqId};

fn hold_the_memory(context: &mut Context, batch: &Batch) {
    let mut memory = context.memory();
    context.decode(batch).unwrap();
    memory.seq_rm(SeqId::new(0), ..).unwrap();
}

fn main() {}
