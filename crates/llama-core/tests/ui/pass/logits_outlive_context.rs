use llama_core::{Context, Logits, Token};

fn leave_with_a_row(context: &Context) -> Logits<'_> {
    context.logits(0).unwrap()
}

fn leave_with_a_token(context: Context) -> Token {
    context.logits(0).unwrap().argmax()
}

fn main() {
    let _ = (leave_with_a_row, leave_with_a_token);
}
