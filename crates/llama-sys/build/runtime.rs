//! Copies shared libraries and loadable backends to the folder in which cargo looks for them when it runs a program.

use std::fs;
use std::path::PathBuf;

use crate::cmake::Built;
use crate::config::Config;

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
