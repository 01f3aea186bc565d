//! Puts shared libraries and loadable backends into folders in which cargo looks for them when it runs a program.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cmake::Built;
use crate::config::Config;
use crate::link::Linker;

/// Copies them into cargo's folder of this build and returns it. `cargo run` and `cargo test` search only folders
/// inside cargo's own that a build script names.
pub(crate) fn place(config: &Config, built: &Built) -> Result<PathBuf, String> {
    let from = built.runtime_dir();
    let to = config.out_dir.join("runtime");
    let failed = |path: &PathBuf| {
        let path = path.display().to_string();
        move |error: std::io::Error| format!("{path}: {error}")
    };
    fs::create_dir_all(&to).map_err(failed(&to))?;
    for entry in fs::read_dir(&from).map_err(failed(&from))? {
        let path = entry.map_err(failed(&from))?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            // Written under a temporary name first, because a program may run from the old file.
            let target = to.join(name);
            let partial = to.join(format!("{}.partial", name.to_string_lossy()));
            fs::copy(&path, &partial).map_err(failed(&path))?;
            fs::rename(&partial, &target).map_err(failed(&target))?;
        }
    }
    if config.features.dynamic_backends {
        println!("cargo:rustc-env=LLAMA_SYS_BACKEND_DIR={}", to.display());
    }
    Ok(to)
}

/// Lets programs that cargo runs find the shared libraries of a folder among the tools: by links, because the libraries of
/// CUDA have half a gigabyte. The links that cannot be made are left out; the loader's error names the library.
pub(crate) fn find_at_run_time(config: &Config, linker: &mut Linker, folder: &Path) {
    let links = config.out_dir.join("libraries");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for library in entries.map(|entry| entry.path()).filter(|path| path.is_file()) {
        let name = library.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.contains(".so") {
            link_to(&library, &links.join(name));
        }
    }
    linker.search_existing(&links);
}

#[cfg(unix)]
fn link_to(library: &Path, link: &Path) {
    let made = link.parent().map_or(Ok(()), fs::create_dir_all);
    // Left by an earlier run of the build script, perhaps to another folder.
    let _ = fs::remove_file(link);
    let made = made.and_then(|()| std::os::unix::fs::symlink(library, link));
    if let Err(error) = made {
        println!("cargo:warning=could not link {} to {}: {error}", link.display(), library.display());
    }
}

/// Does nothing: links need special rights on Windows, and setup unpacks no toolkit there.
#[cfg(not(unix))]
fn link_to(_: &Path, _: &Path) {}
