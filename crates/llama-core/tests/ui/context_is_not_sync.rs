use llama_core::Context;

fn share<T: Sync>() {}

fn main() {
    share::<Context>();
}
