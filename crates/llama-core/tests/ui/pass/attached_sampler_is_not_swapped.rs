use llama_core::{Context, SamplerChain, SeqId};

fn copy(context: &mut Context) -> SamplerChain {
    let mut sampler = context.sampler_mut(SeqId::new(0)).unwrap();
    sampler.reset().unwrap();
    sampler.try_clone().unwrap()
}

fn main() {
    let _ = copy;
}
