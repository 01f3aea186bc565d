use llama_core::{Context, SamplerChain, SeqId};

fn swap(context: &mut Context, own: &mut SamplerChain) {
    std::mem::swap(own, &mut *context.sampler_mut(SeqId::new(0)).unwrap());
}

fn main() {
    let _ = swap;
}
