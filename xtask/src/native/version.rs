//! The version of llama.cpp by the code of `llama-sys`'s build script, which is tested here because cargo runs no tests
//! of build scripts.

#[path = "../../../crates/llama-sys/build/version.rs"]
#[allow(dead_code, reason = "a file of the build script; only the version of the bindings is used here")]
mod build;

pub(crate) use build::BOUND;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::build::{BOUND, of_library, of_tree, refusal};

    fn folder_with(file: &str, content: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        folder
    }

    #[test]
    fn a_tree_has_its_version_in_three_lines() {
        let lines = "set(LLAMA_VERSION_MAJOR 1)\nset(LLAMA_VERSION_MINOR 22)\nset(LLAMA_VERSION_PATCH 3)\n";
        assert_eq!(of_tree(lines).as_deref(), Some("1.22.3"));
        assert_eq!(of_tree("project(x)"), None);
    }

    #[test]
    fn an_installed_library_has_its_version_in_files_beside_it() {
        let cmake = "set(PACKAGE_VERSION \"0.7.1-dev\")\nif(PACKAGE_VERSION VERSION_LESS X)\n";
        for (file, content) in [
            ("pkgconfig/llama.pc", "Name: llama\nVersion: 0.7.1-dev\n"),
            ("cmake/llama/llama-config-version.cmake", cmake),
        ] {
            assert_eq!(of_library(folder_with(file, content).path()).as_deref(), Some("0.7.1"), "{file}");
        }
        for (file, content) in [("libllama.a", ""), ("pkgconfig/llama.pc", "Version: @LLAMA_VERSION@\n")] {
            assert_eq!(of_library(folder_with(file, content).path()), None, "{file}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_shared_librarys_own_name_beats_the_files_beside_it() {
        for (file, link) in [("libllama.so.0.6.2", "libllama.so"), ("libllama.0.6.2.dylib", "libllama.dylib")]
        {
            let folder = folder_with("pkgconfig/llama.pc", "Version: 0.7.1\n");
            fs::write(folder.path().join(file), "").unwrap();
            std::os::unix::fs::symlink(file, folder.path().join(link)).unwrap();
            assert_eq!(of_library(folder.path()).as_deref(), Some("0.6.2"), "{file}");
        }
    }

    #[test]
    fn a_library_of_another_version_is_refused_with_both_versions() {
        let folder = Path::new("/opt/lib");
        assert_eq!(refusal("LLAMA_LIB_DIR", folder, BOUND), None);
        let sentence = refusal("LLAMA_LIB_DIR", folder, "0.0.1").unwrap();
        let begin =
            format!("LLAMA_LIB_DIR=/opt/lib holds llama.cpp 0.0.1, but the bindings are for {BOUND}: ");
        assert!(sentence.starts_with(&begin), "{sentence}");
    }
}
