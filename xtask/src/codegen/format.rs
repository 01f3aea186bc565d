//! Formats generated code with the workspace's rustfmt configuration.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Formats Rust code as `cargo fmt` does in the workspace at `root`.
pub(super) fn rust(root: &Path, code: &str) -> anyhow::Result<String> {
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--emit", "stdout", "--config-path"])
        .arg(root.join("rustfmt.toml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("rustfmt could not be run; `rustup component add rustfmt` installs it")?;
    let mut stdin = rustfmt.stdin.take().context("rustfmt has no standard input")?;
    // On a separate thread, because rustfmt may fill its output pipe before it has read all of its input.
    let code = code.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(code.as_bytes()));
    let output = rustfmt.wait_with_output().context("rustfmt did not finish")?;
    let Ok(written) = writer.join() else { bail!("the writer to rustfmt panicked") };
    written.context("rustfmt did not read its input")?;
    if !output.status.success() {
        bail!("rustfmt failed with {}", output.status);
    }
    String::from_utf8(output.stdout).context("rustfmt printed something other than text")
}
