use llama_core::{Batch, Pos, SeqId, Token};

fn main() {
    let mut batch = Batch::new();
    batch.push(Token::new(1), SeqId::new(0), &[Pos::new(0)], true).unwrap();
}
