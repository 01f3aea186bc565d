//! Uses a model in other ways. `cargo run -p llama-examples --example modes -- MODE model.gguf TEXT...`: `answers`
//! and `beams` continue a text in several ways, `score` computes how likely it is, `infill` takes two texts and fills
//! the gap between them, and `lora` takes an adapter and a text.

#![allow(clippy::print_stdout, reason = "a command-line program talks to its user")]

use std::env;

use llama_gen::{BeamParams, Llama};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [mode, model, texts @ ..] = args.as_slice() else { anyhow::bail!("give a mode, a model and a text") };
    let llm = Llama::load(model)?;
    match (mode.as_str(), texts) {
        ("answers", [text]) => {
            // The prompt is computed once, and the answers are computed together.
            for completion in llm.generate(text).max_tokens(16).seed(1).completions(4)?.complete()? {
                println!("{:?}", completion.text());
            }
        }
        ("beams", [text]) => {
            let params = BeamParams::default().width(4);
            for beam in llm.generate(text).max_tokens(16).beam_search(&params)? {
                println!("{:.3} {:?}", beam.score, beam.text);
            }
        }
        ("score", [text]) => {
            let score = llm.score(text)?;
            for token in &score.tokens {
                let piece = String::from_utf8_lossy(&token.bytes);
                match token.log_probability {
                    Some(log_probability) => println!("{log_probability:8.3} {piece:?}"),
                    None => println!("       - {piece:?}"),
                }
            }
            println!("perplexity {:.3}", score.perplexity().unwrap_or(f64::NAN));
        }
        ("infill", [before, after]) => {
            let completion =
                llm.infill(before, after).generate()?.max_tokens(64).temperature(0.0).complete()?;
            println!("{before}{}{after}", completion.text());
        }
        ("lora", [adapter, text]) => {
            let adapter = llm.load_lora(adapter)?;
            for scale in [0.0, 0.5, 1.0] {
                let generate = llm.generate(text).max_tokens(16).temperature(0.0).lora(&adapter, scale);
                println!("{scale:.1} {:?}", generate.complete()?.text());
            }
        }
        _ => {
            anyhow::bail!("the modes are answers, beams, score, infill (two texts) and lora (adapter, text)")
        }
    }
    Ok(())
}
