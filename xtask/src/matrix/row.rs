//! The description of a row: features, target, suite, environment, needs.

use super::outside::Outside;
use crate::setup::{self, Item};

/// A row of the matrix. A row without further settings runs on every machine, with the pinned tree.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// The arguments of cargo that choose features.
    pub(super) features: &'static str,
    /// The platform to compile for, unless it is the building machine's.
    pub(super) target: Option<&'static str>,
    pub(super) suite: Suite,
    /// Variables that are set for cargo and for the tests.
    pub(super) env: &'static [(&'static str, Value)],
    pub(super) needs: &'static [&'static Need],
    /// Expected minutes on two cores, with an empty native build cache.
    pub(super) minutes: u32,
    /// Whether the row runs only when it is named, because it takes too long for a run of all rows.
    pub(super) by_name: bool,
    /// The machine of the workflow that runs the row.
    pub(super) runner: Option<Runner>,
}

/// The work done for a set of features.
#[derive(Clone, Copy, Debug)]
pub(super) enum Suite {
    /// Runs the tests of a package.
    Test(&'static str),
    /// Runs the tests of a package whose names begin with one of these words.
    Topics(&'static str, &'static [&'static str]),
    /// Runs the tests of a package with `panic = "abort"`, each in its own process, without the tests of panics.
    Abort(&'static str, &'static [&'static str]),
    /// Only builds a package, for the reason that is given.
    Build(&'static str, &'static str),
    /// Only checks the Rust code of the workspace, or of one package, without native code.
    Check(Option<&'static str>),
    /// Expects the build to refuse the combination with this sentence.
    Refuse(&'static str),
    /// Builds and runs a program outside the workspace.
    Outside(Outside),
    /// Expects cargo to refuse a package that depends on two versions of `llama-sys`, with this sentence.
    TwoVersions(&'static str),
}

/// The value of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(&'static str),
    /// The folder of the pinned tree, which a row uses as a tree of the user's own.
    Tree,
    /// The folder `lib` of a library that is built with these features and then installed.
    Installed(&'static str),
    /// The folder `lib` of an installation that says it has this version and holds no code.
    OfVersion(&'static str),
}

/// A tool, library or machine that a row needs beyond a Rust and a C++ compiler.
pub(super) struct Need {
    /// The name in a list.
    pub(super) name: &'static str,
    /// The packages of Debian and Ubuntu that contain it.
    pub(super) debian: &'static [&'static str],
    /// The part that `cargo xtask setup` brings without root.
    pub(super) items: &'static [Item],
    pub(super) probe: Probe,
}

/// The way to find out whether a need is met.
pub(super) enum Probe {
    /// The build script of `llama-sys` looks for it and names what is missing.
    Build,
    /// pkg-config knows this package.
    PkgConfig(&'static str),
    /// The program is on PATH.
    Program(&'static str),
    /// The folder exists.
    Folder(&'static str),
    /// Rust's standard library is installed for this target.
    StandardLibrary(&'static str),
    /// The building machine is, or is not, made by Apple.
    Apple(bool),
}

/// A machine of the workflow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Runner {
    pub(super) os: &'static str,
    /// The container image, which may bring what the row needs.
    pub(super) image: Option<Image>,
    pub(super) rust: Rust,
    /// Whether the row is only built there, because no device is assumed.
    pub(super) build_only: bool,
}

/// A container image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) name: &'static str,
    /// Whether the needs of the row are part of the image.
    pub(super) is_complete: bool,
}

/// A version of the Rust compiler.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rust {
    /// The newest one, but for tests the one whose messages are in `tests/ui` of llama-core.
    Usual,
    /// The `rust-version` of the workspace.
    Oldest,
}

impl Row {
    /// Returns a row that takes this many minutes and runs in the workflow on Linux.
    pub(super) const fn new(name: &'static str, features: &'static str, suite: Suite, minutes: u32) -> Self {
        Self {
            name,
            features,
            target: None,
            suite,
            env: &[],
            needs: &[],
            minutes,
            by_name: false,
            runner: Some(Runner::LINUX),
        }
    }

    pub(super) const fn target(mut self, target: &'static str) -> Self {
        self.target = Some(target);
        self
    }

    pub(super) const fn env(mut self, env: &'static [(&'static str, Value)]) -> Self {
        self.env = env;
        self
    }

    pub(super) const fn needs(mut self, needs: &'static [&'static Need]) -> Self {
        self.needs = needs;
        self
    }

    pub(super) const fn by_name(mut self) -> Self {
        self.by_name = true;
        self
    }

    pub(super) const fn runner(mut self, runner: Option<Runner>) -> Self {
        self.runner = runner;
        self
    }

    /// Returns the name without characters that a file name or a job of the workflow cannot have.
    pub(super) fn slug(&self) -> String {
        let words = self.name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
    }

    /// Whether the default features are on.
    pub(super) fn has_defaults(&self) -> bool {
        !self.features.contains("--no-default-features")
    }

    /// Returns the features that the row names, beside the default ones.
    pub(super) fn named_features(&self) -> impl Iterator<Item = &'static str> {
        let named = self.features.split_once("--features ").map(|(_, names)| names.split(','));
        named.into_iter().flatten()
    }

    /// Whether the features of the row contain this one.
    pub(super) fn has_feature(&self, feature: &str) -> bool {
        self.features.split([' ', ',']).any(|word| word == feature)
    }

    /// Returns the items of `cargo xtask setup` without which the row cannot start.
    pub(super) fn inputs(&self) -> &'static [Item] {
        match self.suite {
            Suite::Test(_) | Suite::Topics(..) | Suite::Abort(..) => setup::ALL,
            Suite::Outside(_) => &[Item::Pin, Item::Tools, Item::Smollm2],
            Suite::Build(..) => &[Item::Pin, Item::Tools],
            Suite::Check(_) | Suite::Refuse(_) | Suite::TwoVersions(_) => &[],
        }
    }

    /// Returns the names of the needs, separated by commas.
    pub(super) fn need_names(&self) -> String {
        self.needs.iter().map(|need| need.name).collect::<Vec<_>>().join(", ")
    }

    /// Returns the packages of Debian that contain what the row needs.
    pub(super) fn debian(&self) -> Vec<&'static str> {
        self.needs.iter().flat_map(|need| need.debian.iter().copied()).collect()
    }
}

impl Suite {
    /// Returns the word for a successful row.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Test(_) | Self::Topics(..) | Self::Abort(..) | Self::Outside(_) => "run",
            Self::Build(..) => "built",
            Self::Check(_) => "checked",
            Self::Refuse(_) | Self::TwoVersions(_) => "refused",
        }
    }
}

impl Runner {
    pub(super) const LINUX: Self =
        Self { os: "ubuntu-24.04", image: None, rust: Rust::Usual, build_only: false };

    pub(super) const fn oldest_rust(mut self) -> Self {
        self.rust = Rust::Oldest;
        self
    }

    pub(super) const fn on(mut self, os: &'static str) -> Self {
        self.os = os;
        self
    }

    pub(super) const fn within(mut self, name: &'static str, is_complete: bool) -> Self {
        self.image = Some(Image { name, is_complete });
        self
    }

    pub(super) const fn build_only(mut self) -> Self {
        self.build_only = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_a_file_name() {
        let slug = |name| Row::new(name, "", Suite::Check(None), 1).slug();
        assert_eq!(slug("panic = abort, core"), "panic-abort-core");
        assert_eq!(slug("CUDA"), "cuda");
    }

    #[test]
    fn a_feature_is_a_whole_word() {
        let row = Row::new("x", "--no-default-features --features openmp,common", Suite::Check(None), 1);
        assert!(row.has_feature("openmp") && row.has_feature("common"));
        assert!(!row.has_feature("open") && !row.has_feature("rpc"));
    }
}
