use llama_core::{Context, Logits};

fn leave_with_a_row(context: Context) -> Logits<'static> {
    context.logits(0).unwrap()
}

fn main() {}
