use llama_core::Context;

fn twice(context: &Context) -> Context {
    context.clone()
}

fn main() {}
