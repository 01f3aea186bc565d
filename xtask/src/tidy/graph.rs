//! Checks which crate depends on which.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::Finding;
use crate::workspace;

/// A member of the workspace, as cargo sees it.
#[derive(Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) manifest_path: PathBuf,
    pub(super) description: Option<String>,
    pub(super) features: std::collections::BTreeMap<String, Vec<String>>,
    dependencies: Vec<Dependency>,
    /// The registries that it may be published on. An empty list means none, and no list means all.
    publish: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or nothing for an ordinary dependency.
    kind: Option<String>,
    /// Set for packages of this workspace.
    path: Option<PathBuf>,
}

impl Package {
    /// Returns the members of this workspace.
    pub(super) fn all() -> Result<Vec<Self>> {
        #[derive(Deserialize)]
        struct Metadata {
            packages: Vec<Package>,
        }
        let mut command = workspace::cargo();
        command.args(["metadata", "--format-version=1", "--no-deps"]);
        let printed = workspace::capture(&mut command)?;
        let metadata: Metadata =
            serde_json::from_str(&printed).context("cargo metadata printed something else")?;
        Ok(metadata.packages)
    }

    pub(super) fn is_published(&self) -> bool {
        self.publish.as_ref().is_none_or(|registries| !registries.is_empty())
    }

    /// Returns the manifest as a path relative to the workspace.
    pub(super) fn manifest(&self, root: &Path) -> PathBuf {
        self.manifest_path.strip_prefix(root).unwrap_or(&self.manifest_path).to_path_buf()
    }

    /// Returns the dependencies of the package itself, without those of its tests.
    fn built_from(&self) -> impl Iterator<Item = &Dependency> {
        self.dependencies
            .iter()
            .filter(|dependency| dependency.path.is_some() && dependency.kind.as_deref() != Some("dev"))
    }
}

pub(super) fn check(root: &Path, packages: &[Package]) -> Vec<Finding> {
    let published =
        |name: &str| packages.iter().find(|package| package.name == name).is_none_or(Package::is_published);
    let mut findings = Vec::new();
    for package in packages {
        for dependency in package.built_from() {
            let target = dependency.name.as_str();
            if let Some(sentence) = objection(package, target, published(target)) {
                findings.push(Finding::new(package.manifest(root), 1, sentence));
            }
        }
    }
    findings
}

/// Returns the objection to this dependency, if there is one.
fn objection(package: &Package, target: &str, target_is_published: bool) -> Option<String> {
    let name = package.name.as_str();
    if name == "xtask" && ["llama-sys", "llama-core", "llama-gen"].contains(&target) {
        return Some(format!("xtask depends on {target}: building xtask must not need llama.cpp"));
    }
    if !package.is_published() {
        return None;
    }
    if !target_is_published {
        return Some(format!(
            "{name} depends on {target}, which is not published: it may be a dev-dependency only"
        ));
    }
    if target == "llama-sys" && name != "llama-core" {
        return Some(format!("{name} depends on llama-sys: only llama-core may"));
    }
    if layer(target) >= layer(name) {
        return Some(format!(
            "{name} depends on {target}, which is not below it: llama-sys and llama-gguf, llama-core, llama-gen, leaves"
        ));
    }
    None
}

/// Returns the height of a published crate in the layers. Unlisted crates are leaves.
fn layer(name: &str) -> u8 {
    match name {
        "llama-sys" | "llama-gguf" | "test-models" => 0,
        "llama-core" => 1,
        "llama-gen" => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, published: bool, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependency = |&(name, kind): &(&str, Option<&str>)| Dependency {
            name: name.into(),
            kind: kind.map(str::to_owned),
            path: Some(name.into()),
        };
        Package {
            name: name.into(),
            manifest_path: format!("/w/crates/{name}/Cargo.toml").into(),
            description: None,
            features: Default::default(),
            dependencies: dependencies.iter().map(dependency).collect(),
            publish: if published { None } else { Some(vec![]) },
        }
    }

    fn sentences(packages: &[Package]) -> Vec<String> {
        check(Path::new("/w"), packages).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_layers_as_designed_pass() {
        let packages = [
            package("llama-sys", true, &[]),
            package("llama-gguf", true, &[]),
            package(
                "llama-core",
                true,
                &[("llama-sys", None), ("llama-gguf", None), ("test-models", Some("dev"))],
            ),
            package("llama-gen", true, &[("llama-core", None)]),
            package("llama-server", true, &[("llama-gen", None), ("llama-core", None)]),
            package("test-models", false, &[("llama-gguf", None)]),
            package("xtask", false, &[("test-models", None)]),
        ];
        assert_eq!(sentences(&packages), Vec::<String>::new());
    }

    #[test]
    fn each_wrong_direction_is_found() {
        let wrong = |name, target| sentences(&[package(name, true, &[(target, None)])]);
        for (name, target) in [
            ("llama-core", "llama-gen"),
            ("llama-sys", "llama-core"),
            ("llama-gguf", "llama-core"),
            ("llama-gen", "llama-sys"),
            ("llama-server", "llama-cli"),
        ] {
            let found = wrong(name, target);
            assert_eq!(found.len(), 1, "{name} -> {target}");
            assert!(
                found[0].starts_with(&format!("crates/{name}/Cargo.toml:1: {name} depends on {target}")),
                "{found:?}"
            );
        }
    }

    #[test]
    fn tests_may_use_what_is_not_published_and_the_crate_may_not() {
        let kit = || package("test-models", false, &[]);
        assert_eq!(sentences(&[package("llama-gen", true, &[("test-models", Some("dev"))]), kit()]).len(), 0);
        assert_eq!(sentences(&[package("llama-gen", true, &[("test-models", None)]), kit()]).len(), 1);
    }

    #[test]
    fn xtask_builds_without_llama_cpp() {
        for target in ["llama-sys", "llama-core", "llama-gen"] {
            assert_eq!(sentences(&[package("xtask", false, &[(target, None)])]).len(), 1);
        }
    }

    #[test]
    fn this_workspace_can_be_read() {
        assert!(Package::all().unwrap().iter().any(|package| package.name == "xtask"));
    }
}
