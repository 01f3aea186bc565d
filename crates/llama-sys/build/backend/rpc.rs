//! Devices of other machines.

use super::Backend;
use crate::config::Config;
use crate::link::Linker;

pub(crate) fn backend() -> Backend {
    Backend { feature: "rpc", option: "GGML_RPC", library: "ggml-rpc", defines, link, ..Backend::PLAIN }
}

/// Turns RDMA off: ggml uses it whenever it is installed, and a binary should not depend on that.
fn defines(_: &Config) -> Vec<(String, String)> {
    vec![("GGML_RPC_RDMA".to_owned(), "OFF".to_owned())]
}

fn link(config: &Config, linker: &mut Linker) {
    if config.target.os == "windows" {
        linker.system("ws2_32");
    }
}
