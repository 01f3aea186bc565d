//! The versions of the Vulkan headers: which one a llama.cpp tree needs, and which ones the machine has.
//!
//! `cargo xtask setup vulkan` includes this file, so that setup and build agree.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The name that stands in ggml's sources, with the first version of the headers that declares it.
///
/// `vulkan_core.h` has `VkLayerSettingEXT` since 1.3.272. Everything newer is guarded in ggml's sources. The comparison of
/// a handle with `VK_NULL_HANDLE`, which ggml also needs, is unambiguous since 1.3.255.
const USES: &[(&str, Version)] = &[("vk::LayerSettingEXT", Version(1, 3, 272))];

/// The file of ggml's Vulkan backend that uses the newest names, inside a llama.cpp tree.
const BACKEND_SOURCE: &str = "ggml/src/ggml-vulkan/ggml-vulkan.cpp";

/// The folder of the headers that `cargo xtask setup vulkan` unpacks, inside the folder of tools.
pub(crate) const INSIDE_TOOLS: &str = "vulkan/include";

/// A version of the Vulkan headers: major, minor and `VK_HEADER_VERSION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Version {
    /// Reads the version from the text of `vulkan_core.h`.
    fn of_core_header(text: &str) -> Option<Self> {
        let define =
            |name: &str| text.lines().find_map(|line| line.strip_prefix("#define ")?.strip_prefix(name));
        let patch = define("VK_HEADER_VERSION ")?.trim().parse().ok()?;
        let complete = define("VK_HEADER_VERSION_COMPLETE ")?;
        let numbers = complete.split_once('(')?.1.split(',').map(|number| number.trim().parse::<u32>());
        // The variant comes first. Before 1.2.175 there was none: those versions are too old anyway.
        let mut numbers = numbers.skip(1);
        Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?, patch))
    }
}

/// The requirement of a llama.cpp tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needed {
    pub(crate) version: Version,
    /// The name in ggml's sources that makes this version necessary.
    pub(crate) name: &'static str,
}

impl Needed {
    /// Returns what the sources of a tree need, or `None` when every version will do.
    pub(crate) fn by_tree(tree: &Path) -> Option<Self> {
        Self::by_source(&fs::read_to_string(tree.join(BACKEND_SOURCE)).unwrap_or_default())
    }

    fn by_source(source: &str) -> Option<Self> {
        let used = USES.iter().filter(|(name, _)| source.contains(name));
        used.max_by_key(|(_, version)| *version).map(|&(name, version)| Self { version, name })
    }
}

/// A folder with Vulkan headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Headers {
    pub(crate) folder: PathBuf,
    /// `None` when `vulkan_core.h` is missing or names no version.
    pub(crate) version: Option<Version>,
}

impl Headers {
    /// Reads the headers of a folder, or returns `None` when it has no `vulkan/vulkan.hpp`.
    pub(crate) fn in_folder(folder: &Path) -> Option<Self> {
        if !folder.join("vulkan/vulkan.hpp").is_file() {
            return None;
        }
        let core = fs::read_to_string(folder.join("vulkan/vulkan_core.h")).unwrap_or_default();
        Some(Self { folder: folder.to_owned(), version: Version::of_core_header(&core) })
    }

    /// Whether a build with this requirement compiles with these headers.
    pub(crate) fn suffice(&self, needed: Option<Needed>) -> bool {
        needed.is_none_or(|needed| self.version.is_some_and(|version| version >= needed.version))
    }
}

/// Chooses the first headers that suffice. The error names the versions that were found and the one that is needed.
pub(crate) fn choose(folders: &[PathBuf], needed: Option<Needed>) -> Result<Headers, String> {
    let found: Vec<Headers> = folders.iter().filter_map(|folder| Headers::in_folder(folder)).collect();
    if let Some(headers) = found.iter().find(|headers| headers.suffice(needed)) {
        return Ok(headers.clone());
    }
    let requirement = needed.map_or_else(
        || "any version".to_owned(),
        |Needed { version, name }| format!("version {version} or newer, because ggml uses {name}"),
    );
    if found.is_empty() {
        return Err(format!(
            "the Vulkan headers (vulkan/vulkan.hpp) were not found in {}, but are needed: {requirement}",
            list(folders.iter().map(|folder| folder.display().to_string()))
        ));
    }
    let versions = found.iter().map(|headers| match headers.version {
        Some(version) => format!("version {version} in {}", headers.folder.display()),
        None => format!("no known version in {}", headers.folder.display()),
    });
    Err(format!("the Vulkan headers have {}, but must have {requirement}", list(versions)))
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(" and ")
}

/// Returns the system's folder with Vulkan headers: the first that the compiler would find.
pub(crate) fn system_folders() -> Vec<PathBuf> {
    let all = ["/usr/local/include", "/usr/include", "/opt/homebrew/include"].map(PathBuf::from);
    let first = all.iter().find(|folder| folder.join("vulkan/vulkan.hpp").is_file());
    first.map_or_else(|| vec![PathBuf::from("/usr/include")], |folder| vec![folder.clone()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: Option<Needed> = Some(Needed { version: Version(1, 3, 272), name: "vk::LayerSettingEXT" });

    /// Makes a folder with headers of a version.
    fn headers(inside: &Path, name: &str, version: &str, patch: &str) -> PathBuf {
        let folder = inside.join(name);
        fs::create_dir_all(folder.join("vulkan")).unwrap();
        fs::write(folder.join("vulkan/vulkan.hpp"), "").unwrap();
        let core = format!(
            "// Version of this file\n#define VK_HEADER_VERSION {patch}\n\n// Complete version of this file\n\
             #define VK_HEADER_VERSION_COMPLETE VK_MAKE_API_VERSION({version}, VK_HEADER_VERSION)\n"
        );
        fs::write(folder.join("vulkan/vulkan_core.h"), core).unwrap();
        folder
    }

    #[test]
    fn old_headers_are_refused_with_both_versions() {
        let home = tempfile::tempdir().unwrap();
        let old = headers(home.path(), "debian-12", "0, 1, 3", "239");
        let error = choose(std::slice::from_ref(&old), NEEDED).unwrap_err();
        assert_eq!(
            error,
            format!(
                "the Vulkan headers have version 1.3.239 in {}, but must have version 1.3.272 or newer, because ggml uses \
                 vk::LayerSettingEXT",
                old.display()
            )
        );
    }

    #[test]
    fn several_old_headers_are_all_named() {
        let home = tempfile::tempdir().unwrap();
        let sdk = headers(home.path(), "sdk", "0, 1, 3", "271");
        let system = headers(home.path(), "system", "0, 1, 2", "300");
        let error = choose(&[sdk.clone(), system.clone()], NEEDED).unwrap_err();
        assert_eq!(
            error,
            format!(
                "the Vulkan headers have version 1.3.271 in {} and version 1.2.300 in {}, but must have version 1.3.272 or \
                 newer, because ggml uses vk::LayerSettingEXT",
                sdk.display(),
                system.display()
            )
        );
    }

    #[test]
    fn missing_headers_are_refused_with_the_folders() {
        let home = tempfile::tempdir().unwrap();
        let error = choose(&[home.path().join("sdk"), home.path().join("system")], NEEDED).unwrap_err();
        assert_eq!(
            error,
            format!(
                "the Vulkan headers (vulkan/vulkan.hpp) were not found in {0}/sdk and {0}/system, but are needed: \
                 version 1.3.272 or newer, because ggml uses vk::LayerSettingEXT",
                home.path().display()
            )
        );
    }

    #[test]
    fn headers_without_a_version_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let folder = headers(home.path(), "odd", "0, 1, 3", "300");
        fs::write(folder.join("vulkan/vulkan_core.h"), "#pragma once\n").unwrap();
        let error = choose(std::slice::from_ref(&folder), NEEDED).unwrap_err();
        assert_eq!(
            error,
            format!(
                "the Vulkan headers have no known version in {}, but must have version 1.3.272 or newer, because ggml uses \
                 vk::LayerSettingEXT",
                folder.display()
            )
        );
    }

    #[test]
    fn the_first_headers_that_suffice_are_chosen() {
        let home = tempfile::tempdir().unwrap();
        let old = headers(home.path(), "old", "0, 1, 3", "239");
        let exact = headers(home.path(), "exact", "0, 1, 3", "272");
        let new = headers(home.path(), "new", "0, 1, 4", "9");
        let chosen = |folders: &[&PathBuf]| {
            let folders: Vec<PathBuf> = folders.iter().map(|&folder| folder.clone()).collect();
            choose(&folders, NEEDED).unwrap().folder
        };
        assert_eq!(chosen(&[&old, &new, &exact]), new);
        assert_eq!(chosen(&[&old, &exact, &new]), exact);
        assert_eq!(Headers::in_folder(&new).unwrap().version, Some(Version(1, 4, 9)));
    }

    #[test]
    fn a_tree_that_does_not_use_the_name_takes_every_version() {
        let home = tempfile::tempdir().unwrap();
        let old = headers(home.path(), "old", "0, 1, 3", "239");
        assert_eq!(Needed::by_source("vk::Device device;"), None);
        assert_eq!(choose(std::slice::from_ref(&old), None).unwrap().folder, old);
        assert_eq!(Needed::by_source("std::vector<vk::LayerSettingEXT> settings"), NEEDED);
        assert_eq!(Needed::by_tree(home.path()), None, "a tree without the backend");
    }
}
