//! Compares the features of `llama-sys` with those of the layers above it, with the files of the backends, and with the
//! rows of the matrix.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::Finding;
use super::graph::Package;
use crate::{matrix, workspace};

/// The folder with a file for each backend.
const BACKENDS: &str = "crates/llama-sys/build/backend";

/// The source that names the features of a build in the report about it.
const REPORT: &str = "crates/llama-core/src/device/system.rs";

/// Features of `llama-sys` that are no backend.
const SWITCHES: [&str; 7] =
    ["bindgen", "common", "dynamic", "dynamic-backends", "native", "openmp", "shared"];

/// The layers above `llama-sys`: the crate, the crate that it passes features on to, and the features of `llama-sys`
/// that it does not have.
const LAYERS: [(&str, &str, &[&str]); 3] = [
    ("llama-core", "llama-sys", &["bindgen"]),
    // It has feature `chat` instead of `common`.
    ("llama-gen", "llama-core", &["bindgen", "common"]),
    ("llama-examples", "llama-gen", &["bindgen", "common"]),
];

type Features = BTreeMap<String, Vec<String>>;

pub(super) fn check(root: &Path, packages: &[Package]) -> Result<Vec<Finding>> {
    let of = |name: &str| packages.iter().find(|package| package.name == name);
    let Some(sys) = of("llama-sys") else { return Ok(Vec::new()) };
    let mut findings = unlike(sys, root, &workspace::rust_files(&root.join(BACKENDS))?);
    for (name, below, without) in LAYERS {
        let Some(layer) = of(name) else { continue };
        let sentences = not_passed_on(&sys.features, &layer.features, below, without);
        findings
            .extend(sentences.into_iter().map(|sentence| Finding::new(layer.manifest(root), 1, sentence)));
    }
    let report = root.join(REPORT);
    let report = fs::read_to_string(&report).with_context(|| format!("cannot read {}", report.display()))?;
    for feature in sys.features.keys().filter(|feature| is_backend(feature)) {
        if !report.contains(&format!("cfg!(feature = {feature:?})")) {
            let sentence = format!("the report about a build does not name the feature `{feature}`");
            findings.push(Finding::new(REPORT, 1, sentence));
        }
    }
    Ok(findings)
}

/// Whether a feature of `llama-sys` is a backend.
fn is_backend(feature: &str) -> bool {
    feature != "default" && !SWITCHES.contains(&feature)
}

/// Finds backends without a feature, and features without a backend or a row.
fn unlike(sys: &Package, root: &Path, files: &BTreeSet<String>) -> Vec<Finding> {
    let manifest = sys.manifest(root);
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !sys.features.contains_key(*file)) {
        let sentence = format!("the backend in build/backend/{file}.rs has no feature `{file}`");
        findings.push(Finding::new(&manifest, 1, sentence));
    }
    for feature in sys.features.keys() {
        if is_backend(feature) && !files.contains(feature) {
            let sentence = format!(
                "the feature `{feature}` has no build/backend/{feature}.rs and is not a switch of \
                 xtask/src/tidy/features.rs"
            );
            findings.push(Finding::new(&manifest, 1, sentence));
        }
        if feature != "default" && !matrix::has_feature(feature) {
            let sentence = format!("the feature `{feature}` is in no row of xtask/src/matrix/rows.rs");
            findings.push(Finding::new(&manifest, 1, sentence));
        }
    }
    findings
}

/// Returns a sentence for each feature of `llama-sys` that a layer does not pass on to the crate below it.
fn not_passed_on(sys: &Features, layer: &Features, below: &str, without: &[&str]) -> Vec<String> {
    let expected =
        sys.keys().map(String::as_str).filter(|name| *name != "default" && !without.contains(name));
    let missing = expected.filter(|name| {
        let passed_on = format!("{below}/{name}");
        !layer.get(*name).is_some_and(|parts| parts.contains(&passed_on))
    });
    missing
        .map(|name| {
            format!("the feature `{name}` of llama-sys is not passed on: {name} = [\"{below}/{name}\"]")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(features: &[(&str, &[&str])]) -> Package {
        let features: BTreeMap<_, _> = features.iter().copied().collect();
        serde_json::from_value(serde_json::json!({
            "name": "llama-sys", "manifest_path": "/w/crates/llama-sys/Cargo.toml", "description": "x",
            "features": features, "dependencies": [], "publish": null,
        }))
        .unwrap()
    }

    fn sentences(features: &[(&str, &[&str])], files: &[&str]) -> Vec<String> {
        let files = files.iter().map(|file| (*file).to_owned()).collect();
        let found = unlike(&package(features), Path::new("/w"), &files);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_backend_has_a_feature_a_file_and_a_row() {
        let good: &[(&str, &[&str])] = &[("cuda", &[]), ("default", &["openmp"]), ("openmp", &[])];
        assert_eq!(sentences(good, &["cuda"]), Vec::<String>::new());
        let found = sentences(&[("cuda", &[]), ("opencl", &[])], &["cuda", "sycl"]);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].ends_with("the backend in build/backend/sycl.rs has no feature `sycl`"));
        assert!(found[1].contains("the feature `opencl` has no build/backend/opencl.rs"));
        assert!(found[2].contains("the feature `opencl` is in no row"));
    }

    #[test]
    fn layers_pass_features_on() {
        let sys = package(&[("cuda", &[]), ("bindgen", &[]), ("default", &["cuda"])]).features;
        let layer = |parts: &[&str]| {
            not_passed_on(&sys, &package(&[("cuda", parts)]).features, "llama-sys", &["bindgen"])
        };
        assert_eq!(layer(&["llama-sys/cuda", "more"]), Vec::<String>::new());
        assert_eq!(
            layer(&["llama-core/cuda"]),
            ["the feature `cuda` of llama-sys is not passed on: cuda = [\"llama-sys/cuda\"]"]
        );
        assert_eq!(not_passed_on(&sys, &Features::new(), "llama-sys", &["bindgen"]).len(), 1);
    }

    #[test]
    fn this_workspace_passes() {
        let packages = Package::all().unwrap();
        assert_eq!(check(workspace::root(), &packages).unwrap(), []);
    }
}
