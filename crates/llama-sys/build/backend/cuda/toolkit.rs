//! The CUDA toolkit of a build: the first that is found.
//!
//! `cargo xtask setup cuda` includes this file, so that setup and build agree.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The toolkit that `cargo xtask setup cuda` unpacks, inside the folder of tools.
pub(crate) const INSIDE_TOOLS: &str = "cuda";

/// The folders of libraries inside a toolkit of NVIDIA or of a distribution, and those of its stub of the driver's library.
const LIBRARIES: [&str; 6] =
    ["lib64", "lib64/stubs", "lib/x64", "lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu/stubs", "lib"];

/// A CUDA toolkit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolkit {
    /// The folder with the compiler's folder, the headers and the libraries.
    pub(crate) root: PathBuf,
    pub(crate) nvcc: PathBuf,
    /// Whether the compiler is on `PATH`, where CMake finds it without being told.
    pub(crate) is_on_path: bool,
}

impl Toolkit {
    fn of(nvcc: &Path, is_on_path: bool) -> Option<Self> {
        if !nvcc.is_file() {
            return None;
        }
        let real = fs::canonicalize(nvcc).unwrap_or_else(|_| nvcc.to_owned());
        let program = if is_on_path { &real } else { nvcc };
        let root = program.parent().and_then(Path::parent)?.to_owned();
        Some(Self { root, nvcc: nvcc.to_owned(), is_on_path })
    }

    /// Returns the toolkit's folders of libraries that exist.
    pub(crate) fn library_folders(&self) -> Vec<PathBuf> {
        let folders = LIBRARIES.iter().map(|part| self.root.join(part));
        folders.filter(|folder| folder.is_dir()).collect()
    }

    /// Whether the driver's library, or a stub of it, is there to be linked.
    pub(crate) fn has_driver_library(&self) -> bool {
        let names = ["libcuda.so", "cuda.lib"];
        self.library_folders().iter().any(|folder| names.iter().any(|name| folder.join(name).is_file()))
    }
}

/// The places where a toolkit may be, in the order in which they are searched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// The compiler that the user names.
    compiler: Option<PathBuf>,
    /// The toolkit that the user names.
    root: Option<PathBuf>,
    /// The folders of programs.
    path: Vec<PathBuf>,
    /// The folders where NVIDIA and distributions install.
    usual: Vec<PathBuf>,
    /// The folder that setup fills.
    tools: Option<PathBuf>,
}

impl Places {
    /// Returns the places of this machine. The variables name a compiler and a toolkit.
    pub(crate) fn of_this_machine(compiler: &str, root: &str, tools: Option<&Path>) -> Self {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            compiler: set(compiler),
            root: set(root),
            path: env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect(),
            usual: ["/usr/local/cuda", "/opt/cuda"].map(PathBuf::from).to_vec(),
            tools: tools.map(|tools| tools.join(INSIDE_TOOLS)),
        }
    }

    /// Returns the first toolkit.
    pub(crate) fn find(&self) -> Option<Toolkit> {
        let program = format!("nvcc{}", env::consts::EXE_SUFFIX);
        let inside = |root: &PathBuf| Toolkit::of(&root.join("bin").join(&program), false);
        let given = self.compiler.as_ref().and_then(|nvcc| Toolkit::of(nvcc, false));
        let on_path = || self.path.iter().find_map(|folder| Toolkit::of(&folder.join(&program), true));
        given
            .or_else(|| self.root.as_ref().and_then(inside))
            .or_else(on_path)
            .or_else(|| self.usual.iter().find_map(inside))
            .or_else(|| self.tools.as_ref().and_then(inside))
    }

    /// Whether a toolkit is the one that setup unpacked.
    pub(crate) fn is_in_tools(&self, toolkit: &Toolkit) -> bool {
        self.tools.as_ref() == Some(&toolkit.root)
    }
}

/// Returns what a user does when there is no toolkit. The variables name a compiler and a toolkit.
pub(crate) fn missing(compiler: &str, root: &str) -> String {
    format!(
        "nvcc was not found on PATH. In the workspace run `cargo xtask setup cuda`, which brings a toolkit without root \
         on Linux; elsewhere install the CUDA toolkit (Debian: apt install nvidia-cuda-toolkit) or set {compiler} or {root}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a folder with a compiler, and returns its path.
    fn toolkit(inside: &Path, name: &str) -> PathBuf {
        let root = inside.join(name);
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("bin").join(format!("nvcc{}", env::consts::EXE_SUFFIX)), "").unwrap();
        root
    }

    #[test]
    fn what_the_user_names_comes_first_and_the_tools_come_last() {
        let home = tempfile::tempdir().unwrap();
        let home = fs::canonicalize(home.path()).unwrap();
        let make = |name: &str| toolkit(&home, name);
        let mut places = Places {
            compiler: Some(make("compiler").join("bin").join(format!("nvcc{}", env::consts::EXE_SUFFIX))),
            root: Some(make("root")),
            path: vec![home.join("nothing"), make("path").join("bin")],
            usual: vec![make("usual")],
            tools: Some(make("tools")),
        };
        let root = |places: &Places| places.find().map(|found| (found.root, found.is_on_path));
        assert_eq!(root(&places), Some((home.join("compiler"), false)));
        places.compiler = None;
        assert_eq!(root(&places), Some((home.join("root"), false)));
        places.root = None;
        assert_eq!(root(&places), Some((home.join("path"), true)));
        places.path.clear();
        assert_eq!(root(&places), Some((home.join("usual"), false)));
        places.usual.clear();
        assert_eq!(root(&places), Some((home.join("tools"), false)));
        assert!(places.is_in_tools(&places.find().unwrap()));
        places.tools = None;
        assert_eq!(places.find(), None);
    }

    #[test]
    fn the_driver_library_may_be_a_stub() {
        let home = tempfile::tempdir().unwrap();
        let root = toolkit(home.path(), "cuda");
        fs::create_dir_all(root.join("lib64/stubs")).unwrap();
        let found = Places { root: Some(root.clone()), ..Places::default() }.find().unwrap();
        assert_eq!(found.library_folders(), [root.join("lib64"), root.join("lib64/stubs")]);
        assert!(!found.has_driver_library());
        fs::write(root.join("lib64/stubs/libcuda.so"), "").unwrap();
        assert!(found.has_driver_library());
    }

    #[test]
    fn a_missing_toolkit_comes_with_the_command_that_brings_one() {
        assert_eq!(
            missing("CUDACXX", "CUDA_PATH"),
            "nvcc was not found on PATH. In the workspace run `cargo xtask setup cuda`, which brings a toolkit without root \
             on Linux; elsewhere install the CUDA toolkit (Debian: apt install nvidia-cuda-toolkit) or set CUDACXX or \
             CUDA_PATH"
        );
    }
}
