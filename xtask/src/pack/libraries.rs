//! The shared libraries that a program needs and that a bare machine may not have.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::workspace;

/// The libraries of the C library and of the driver, which are the machine's own.
const OF_THE_MACHINE: [&str; 8] = [
    "linux-vdso.",
    "ld-linux",
    "libc.so.",
    "libm.so.",
    "libdl.so.",
    "librt.so.",
    "libpthread.so.",
    "libcuda.so.",
];

/// A shared library: the name by which programs ask for it, and its file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Library {
    pub(super) name: String,
    pub(super) file: PathBuf,
}

/// Returns the libraries of a program or of a library, of which some are in these folders.
pub(super) fn of(file: &Path, folders: &[PathBuf]) -> Result<Vec<Library>> {
    let mut ldd = Command::new("ldd");
    ldd.arg(file);
    if let Ok(list) = env::join_paths(folders) {
        ldd.env("LD_LIBRARY_PATH", list);
    }
    read(&workspace::capture(&mut ldd)?)
}

/// Reads the list that `ldd` prints.
fn read(list: &str) -> Result<Vec<Library>> {
    let mut libraries = Vec::new();
    for line in list.lines().map(str::trim) {
        let Some((name, place)) = line.split_once(" => ") else { continue };
        if OF_THE_MACHINE.iter().any(|own| name.starts_with(own)) {
            continue;
        }
        if place == "not found" {
            bail!("{name} was not found, but the programs of the pack need it");
        }
        let file = place.split(" (").next().unwrap_or(place);
        libraries.push(Library { name: name.to_owned(), file: file.into() });
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_of_the_machine_stay_there() {
        let list = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibgomp.so.1 => /usr/lib/libgomp.so.1 (0x00007f)\n\
                    \tlibcuda.so.1 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x0)\n";
        let gomp = Library { name: "libgomp.so.1".to_owned(), file: "/usr/lib/libgomp.so.1".into() };
        assert_eq!(read(list).unwrap(), [gomp]);
        assert_eq!(
            read("\tlibcublas.so.13 => not found\n").unwrap_err().to_string(),
            "libcublas.so.13 was not found, but the programs of the pack need it"
        );
        assert_eq!(read("\tstatically linked\n").unwrap(), []);
    }
}
