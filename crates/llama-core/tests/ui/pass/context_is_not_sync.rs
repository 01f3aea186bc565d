use llama_core::{Context, Model, SamplerChain, Vocab};

fn send<T: Send>() {}
fn share<T: Sync>() {}

fn main() {
    send::<Context>();
    send::<SamplerChain>();
    send::<Model>();
    share::<Model>();
    send::<Vocab<'_>>();
    share::<Vocab<'_>>();
}
