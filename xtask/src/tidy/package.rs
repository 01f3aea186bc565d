//! Checks the contents of published crates.

use std::fs;
use std::path::Path;

use super::Finding;
use super::graph::Package;

/// The document that explains every feature of the native build.
const BUILDING: &str = "docs/building.md";

pub(super) fn check(root: &Path, packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages.iter().filter(|package| package.is_published()) {
        findings.extend(missing_files(root, package));
    }
    if let Some(sys) = packages.iter().find(|package| package.name == "llama-sys") {
        let text = fs::read_to_string(root.join(BUILDING)).unwrap_or_default();
        let features = sys.features.keys().map(String::as_str);
        findings.extend(unexplained(features, &text));
    }
    findings
}

fn missing_files(root: &Path, package: &Package) -> Vec<Finding> {
    let manifest = package.manifest(root);
    let folder = package.manifest_path.parent().unwrap_or(root);
    let mut findings = Vec::new();
    for file in ["README.md", "CHANGELOG.md"] {
        if !folder.join(file).is_file() {
            findings.push(Finding::new(
                &manifest,
                1,
                format!("{} is published and has no {file}", package.name),
            ));
        }
    }
    if package.description.as_deref().unwrap_or_default().trim().is_empty() {
        findings.push(Finding::new(
            &manifest,
            1,
            format!("{} is published and has no description", package.name),
        ));
    }
    findings
}

/// Returns the features that the text does not name in backticks.
fn unexplained<'a>(features: impl Iterator<Item = &'a str>, text: &str) -> Vec<Finding> {
    let unnamed = features.filter(|feature| *feature != "default" && !text.contains(&format!("`{feature}`")));
    unnamed
        .map(|feature| {
            Finding::new(BUILDING, 1, format!("the feature `{feature}` of llama-sys is not explained"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_that_is_not_named_is_found() {
        let found =
            unexplained(["cuda", "default", "vulkan"].into_iter(), "| `cuda` | NVIDIA |\nvulkan in prose");
        assert_eq!(found, [Finding::new(BUILDING, 1, "the feature `vulkan` of llama-sys is not explained")]);
    }

    #[test]
    fn a_bare_crate_lacks_all_three() {
        let root = tempfile::tempdir().unwrap();
        let manifest = root.path().join("crates").join("some").join("Cargo.toml");
        fs::create_dir_all(manifest.parent().unwrap()).unwrap();
        let package = |description: &str| -> Package {
            serde_json::from_value(serde_json::json!({
                "name": "some", "manifest_path": manifest, "description": description,
                "features": {}, "dependencies": [], "publish": null,
            }))
            .unwrap()
        };
        assert_eq!(check(root.path(), &[package(" ")]).len(), 3);
        fs::write(manifest.with_file_name("README.md"), "").unwrap();
        fs::write(manifest.with_file_name("CHANGELOG.md"), "").unwrap();
        assert_eq!(check(root.path(), &[package("does something")]), []);
    }
}
