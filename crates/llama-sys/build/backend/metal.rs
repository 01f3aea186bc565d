//! Apple GPUs.

use super::{Backend, find_program};
use crate::config::Config;
use crate::link::Linker;

pub(crate) fn backend() -> Backend {
    Backend {
        feature: "metal",
        option: "GGML_METAL",
        library: "ggml-metal",
        defines,
        missing,
        link,
        contradiction,
    }
}

fn contradiction(config: &Config) -> Option<String> {
    (!config.target.is_apple()).then(|| {
        format!(
            "feature `metal` needs an Apple target, but the target is {}: leave it out, for example with \
             [target.'cfg(target_vendor = \"apple\")'.dependencies] in your Cargo.toml",
            config.target.triple
        )
    })
}

/// Embeds the shaders in the binary, so that it can be copied anywhere.
fn defines(_: &Config) -> Vec<(String, String)> {
    vec![("GGML_METAL_EMBED_LIBRARY".to_owned(), "ON".to_owned())]
}

fn missing(_: &Config) -> Vec<String> {
    if find_program("xcrun", &[]).is_some() {
        return Vec::new();
    }
    vec!["xcrun was not found. Install Xcode's command-line tools with `xcode-select --install`".to_owned()]
}

fn link(_: &Config, linker: &mut Linker) {
    for name in ["Foundation", "Metal", "MetalKit"] {
        linker.framework(name);
    }
}
