//! `cargo xtask docs`: generates the tables of `docs/building.md` from the manifest and the build script.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::workspace;

#[path = "../../crates/llama-sys/build/vars.rs"]
#[allow(dead_code, reason = "the build script's table; only its names and meanings are printed here")]
mod vars;

/// Writes the generated tables of docs/building.md: features and environment variables.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only check that they are up to date.
    #[arg(long)]
    pub(crate) check: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let path = workspace::root().join("docs/building.md");
    let old = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest = workspace::root().join("crates/llama-sys/Cargo.toml");
    let manifest =
        fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let new = replace_section(&old, "features", &feature_table(&manifest)?)?;
    let new = replace_section(&new, "variables", &variable_table())?;
    if new == old {
        eprintln!("docs/building.md is up to date");
        return Ok(());
    }
    if args.check {
        bail!("the tables of docs/building.md are not up to date: run `cargo xtask docs`");
    }
    fs::write(&path, new).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("wrote docs/building.md");
    Ok(())
}

/// Replaces the text between `<!-- name:begin -->` and `<!-- name:end -->`.
pub(crate) fn replace_section(text: &str, name: &str, content: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let parts = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let Some((before, after)) = parts else {
        bail!("no section between {} and {end}: put both lines back", begin.trim_end());
    };
    Ok(format!("{before}{begin}{content}{end}{after}"))
}

/// Renders the features of a manifest as a table, each with the comment above it.
fn feature_table(manifest: &str) -> Result<String> {
    let (_, features) = manifest.split_once("[features]\n").context("the manifest has no [features]")?;
    let features = features.split("\n[").next().unwrap_or_default();
    let default = features.lines().find_map(|line| line.strip_prefix("default = ")).unwrap_or_default();
    let mut table = "| feature | what it does |\n|---|---|\n".to_owned();
    let mut comment = String::new();
    for line in features.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            comment = if comment.is_empty() { text.to_owned() } else { format!("{comment} {text}") };
        } else if let Some((name, _)) = line.split_once(" = ").filter(|(name, _)| *name != "default") {
            if comment.is_empty() {
                bail!("feature `{name}` of llama-sys has no comment above it that says what it does");
            }
            let note = if default.contains(&format!("\"{name}\"")) { " (default)" } else { "" };
            writeln!(table, "| `{name}`{note} | {comment} |")?;
            comment.clear();
        }
    }
    Ok(table)
}

fn variable_table() -> String {
    let rows = vars::ALL.iter().map(|variable| format!("| `{}` | {} |\n", variable.name, variable.meaning));
    format!("| variable | meaning |\n|---|---|\n{}", rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_come_with_their_comments_and_defaults_are_marked() {
        let manifest =
            "[features]\ndefault = [\"a\"]\n# Does A.\na = []\n# Does B,\n# and more.\nb = [\"a\"]\n\n[x]\n";
        let table = feature_table(manifest).unwrap();
        assert!(table.ends_with("| `a` (default) | Does A. |\n| `b` | Does B, and more. |\n"), "{table}");
    }

    #[test]
    fn a_feature_without_a_comment_is_refused() {
        let error = feature_table("[features]\na = []\n").unwrap_err();
        assert!(error.to_string().contains("feature `a`"), "{error}");
    }

    #[test]
    fn a_section_is_replaced_between_its_marks() {
        let text = "x\n<!-- n:begin -->\nold\n<!-- n:end -->\ny";
        assert_eq!(
            replace_section(text, "n", "new\n").unwrap(),
            "x\n<!-- n:begin -->\nnew\n<!-- n:end -->\ny"
        );
        assert!(replace_section("nothing", "n", "").is_err());
    }
}
