//! The part of a row that a pack is made of: features, variables and set-up.

use std::ffi::OsString;

use anyhow::{Result, bail};

use super::row::{Row, Suite, Value};
use super::rows::ROWS;
use crate::setup::Item;

/// The part of a row that a pack is made of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    /// The features of `llama-core`, without `native`: a pack is for another machine.
    pub(crate) features: Vec<&'static str>,
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// The items to set up before the build.
    pub(crate) items: Vec<Item>,
}

/// Returns what a pack of the row of this name is made of.
pub(crate) fn of_row(name: &str) -> Result<Packed> {
    match ROWS.iter().find(|row| row.name == name) {
        Some(row) => packed(row),
        None => bail!("no row is named {name:?}: `cargo xtask matrix --list` prints the names"),
    }
}

fn packed(row: &Row) -> Result<Packed> {
    if !matches!(row.suite, Suite::Test("llama-core") | Suite::Topics("llama-core", _))
        || row.target.is_some()
    {
        bail!("the row {:?} cannot be packed: it must run tests of llama-core on this platform", row.name);
    }
    let mut environment = Vec::new();
    for (name, value) in row.env {
        match value {
            Value::Text(text) => environment.push((*name, text.into())),
            _ => bail!("the row {:?} cannot be packed: it must build the pinned tree", row.name),
        }
    }
    let defaults = row.has_defaults().then_some("openmp");
    Ok(Packed {
        features: defaults.into_iter().chain(row.named_features()).filter(|name| *name != "native").collect(),
        environment,
        items: [Item::Pin, Item::Tools]
            .into_iter()
            .chain(row.needs.iter().flat_map(|need| need.items).copied())
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_has_the_features_of_its_row_for_another_machine() {
        let cuda = of_row("cuda").unwrap();
        assert_eq!(cuda.features, ["openmp", "cuda"]);
        assert_eq!(cuda.environment[0].0, "LLAMA_SYS_CMAKE_ARGS");
        assert_eq!(cuda.items, [Item::Pin, Item::Tools, Item::Cuda]);
        assert_eq!(of_row("openmp off").unwrap().features, Vec::<&str>::new());
        assert_eq!(of_row("cuda, module").unwrap().features, ["openmp", "cuda", "dynamic-backends"]);
    }

    #[test]
    fn a_row_without_tests_or_of_another_library_is_refused() {
        let refused = |name| of_row(name).unwrap_err().to_string();
        assert_eq!(refused("CUDA"), "no row is named \"CUDA\": `cargo xtask matrix --list` prints the names");
        assert_eq!(
            refused("hip"),
            "the row \"hip\" cannot be packed: it must run tests of llama-core on this platform"
        );
        assert_eq!(
            refused("prebuilt, static"),
            "the row \"prebuilt, static\" cannot be packed: it must build the pinned tree"
        );
    }
}
