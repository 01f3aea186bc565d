//! `cargo xtask demo`: sets everything up and streams text from a real model.

use std::path::PathBuf;

use anyhow::Result;

use crate::setup::{self, Item, models};
use crate::{native, progress, workspace};

/// Sets up what is missing, builds the demo and streams text. Standard output contains only the text.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The beginning of the text.
    #[arg(long, default_value = "Once upon a time, in a small village by the sea,")]
    prompt: String,
    /// A model file in the GGUF format; SmolLM2-135M-Instruct when none is given.
    #[arg(long)]
    model: Option<PathBuf>,
    /// The most tokens to generate.
    #[arg(long, default_value_t = 64)]
    max_tokens: u32,
    /// The randomness of the choice; 0 always takes the most likely token.
    #[arg(long, default_value_t = 0.8)]
    temperature: f32,
    /// The seed, which makes the choice of tokens repeatable.
    #[arg(long)]
    seed: Option<u32>,
    /// The number of computing threads; by default the processors that are available.
    #[arg(long)]
    threads: Option<u32>,
    /// Features of llama-gen to build with, separated by commas, for example `vulkan` or `cuda`, whose headers
    /// and tools are set up too.
    #[arg(long, value_delimiter = ',')]
    features: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(&args.items())?;
    if args.has("cuda") {
        progress::note(
            "cuda",
            "the first build takes more than an hour on two cores for each architecture of GPUs",
        );
    }
    let example = args.example();
    native::build("building the demo", workspace::cargo().arg("build").args(&example))?;
    let mut command = workspace::cargo();
    command.args(["run", "--quiet"]).args(&example).arg("--").args(args.forwarded());
    workspace::run_inheriting(&mut command)
}

impl Args {
    /// Returns the items that the build and the run need.
    fn items(&self) -> Vec<Item> {
        let mut items = vec![Item::Pin, Item::Tools];
        if self.model.is_none() {
            items.push(Item::Smollm2);
        }
        items.extend(self.has("vulkan").then_some(Item::Vulkan));
        items.extend(self.has("cuda").then_some(Item::Cuda));
        items
    }

    fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|named| named == feature)
    }

    /// Returns cargo's arguments that choose the demo and its features.
    fn example(&self) -> Vec<String> {
        let mut arguments =
            ["--release", "-p", "llama-examples", "--example", "demo"].map(str::to_owned).to_vec();
        for feature in &self.features {
            arguments.extend(["--features".to_owned(), format!("llama-gen/{feature}")]);
        }
        arguments
    }

    /// Returns the arguments of the demo itself. `=` prevents a value that begins with a dash from being read as an
    /// option.
    fn forwarded(&self) -> Vec<std::ffi::OsString> {
        let model = match &self.model {
            // The demo starts in the workspace root, which may differ from the user's folder.
            Some(model) => std::path::absolute(model).unwrap_or_else(|_| model.clone()),
            None => models::SMOLLM2.path(),
        };
        let mut model_argument = std::ffi::OsString::from("--model=");
        model_argument.push(model);
        let mut forwarded = vec![
            format!("--prompt={}", self.prompt).into(),
            model_argument,
            format!("--max-tokens={}", self.max_tokens).into(),
            format!("--temperature={}", self.temperature).into(),
        ];
        forwarded.extend(self.seed.map(|seed| format!("--seed={seed}").into()));
        forwarded.extend(self.threads.map(|threads| format!("--threads={threads}").into()));
        forwarded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_is_given_what_the_user_gave() {
        let args = Args {
            prompt: "-- The capital".into(),
            model: None,
            max_tokens: 8,
            temperature: 0.0,
            seed: Some(7),
            threads: None,
            features: vec!["vulkan".into(), "cuda".into()],
        };
        assert!(args.items() == [Item::Pin, Item::Tools, Item::Smollm2, Item::Vulkan, Item::Cuda]);
        assert_eq!(args.example()[5..], ["--features", "llama-gen/vulkan", "--features", "llama-gen/cuda"]);
        let forwarded: Vec<String> =
            args.forwarded().into_iter().map(|word| word.into_string().unwrap()).collect();
        assert_eq!(forwarded[0], "--prompt=-- The capital");
        assert!(forwarded[1].ends_with("SmolLM2-135M-Instruct.Q4_1.gguf"));
        assert_eq!(forwarded[2..], ["--max-tokens=8", "--temperature=0", "--seed=7"]);
    }
}
