use llama_core::SamplerChain;

fn share<T: Sync>() {}

fn main() {
    share::<SamplerChain>();
}
