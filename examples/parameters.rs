//! Shows the effective parameters of a request with a model, and generates with them.
//! `cargo run -p llama-examples --example parameters -- model.gguf "Once upon a time" '{"temp": 0.2, "n_predict": 16}'`.

#![allow(clippy::print_stdout, reason = "a command-line program talks to its user")]

use std::env;

use llama_gen::{GenerationParams, Llama, Preset};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [model, prompt, request] = args.as_slice() else {
        anyhow::bail!("give a model, a prompt, and parameters as JSON");
    };
    let llm = Llama::load(model)?;
    // The names are llama.cpp's and OpenAI's; any other name is an error.
    let mut params: GenerationParams = serde_json::from_str(request)?;
    // Unset values come from a preset, then from the model's makers, then from llama.cpp.
    params.sampling = params.sampling.or(&Preset::Precise.into());
    params.validate_for(llm.model())?;
    println!("{}", serde_json::to_string(&params.sampling.resolve(llm.model())?)?);
    println!("{}", params.sampling.to_chain(llm.model())?.names().join(" -> "));
    println!("{}", llm.generate(prompt).params(params).complete()?.text());
    Ok(())
}
