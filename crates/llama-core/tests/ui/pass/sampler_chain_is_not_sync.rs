use llama_core::SamplerChain;

fn main() {
    let chain = SamplerChain::builder().greedy().build().unwrap();
    std::thread::spawn(move || drop(chain)).join().unwrap();
}
