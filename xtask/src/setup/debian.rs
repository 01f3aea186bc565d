//! Brings files out of Debian packages without root: apt downloads a package of a named release with lists of its own, and
//! this program unpacks it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use lzma_rust2::XzReader;

use super::folder::{self, Folder};
use super::stamp;
use crate::progress::Step;
use crate::workspace;

/// The variable for a folder of Debian packages to use instead of downloading.
pub(crate) const XTASK_DEBS: &str = "XTASK_DEBS";

/// Debian's keys, which apt verifies the release with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A Debian package. Its files are the same for every processor, so that there is one checksum.
pub(crate) struct Deb {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// `all`, or `amd64` for a package that Debian builds for each processor.
    pub(crate) architecture: &'static str,
    /// The name of the release that contains the package.
    pub(crate) release: &'static str,
    /// The megabytes of the package together with the release's list of packages.
    pub(crate) megabytes: u32,
    pub(crate) size: u64,
    pub(crate) sha256: &'static str,
}

impl Deb {
    /// Returns the name of the file, as apt writes it.
    pub(crate) fn file(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version, self.architecture)
    }

    /// Returns the verified package on this disk. A package from an earlier run is not fetched again.
    pub(crate) fn obtain(&self) -> Result<PathBuf> {
        if let Some(folder) = workspace::folder_from_env(XTASK_DEBS) {
            let path = folder.join(self.file());
            if !path.is_file() {
                bail!(
                    "{XTASK_DEBS} is {}, where {} is missing: put it there, or unset the variable to download it",
                    folder.display(),
                    self.file()
                );
            }
            self.verify(&path)?;
            return Ok(path);
        }
        let folder = workspace::target().join("downloads");
        fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
        let path = folder.join(self.file());
        if path.is_file() && self.verify(&path).is_ok() {
            return Ok(path);
        }
        // The existing file is a broken download, which apt would keep.
        let _ = fs::remove_file(&path);
        self.download(&folder)?;
        if let Err(error) = self.verify(&path) {
            let _ = fs::remove_file(&path);
            return Err(error.context("the file was removed; run the command again to fetch it anew"));
        }
        Ok(path)
    }

    /// Makes apt download the package into `folder`.
    fn download(&self, folder: &Path) -> Result<()> {
        let system = Debian::of_this_machine()?;
        let step = Step::announce(format!(
            "downloading {} {} of Debian {} (about {} MB)",
            self.name, self.version, self.release, self.megabytes
        ));
        // Lists of its own, so that the system's packages and the user's view of them do not change.
        let private = tempfile::Builder::new()
            .prefix("apt-")
            .tempdir_in(folder)
            .with_context(|| format!("could not create a folder in {}", folder.display()))?;
        let apt = Apt::new(private.path(), &system.mirror, self.release)?;
        let fetched = workspace::run(apt.command().arg("update")).and_then(|()| {
            let package = format!("{}={}", self.name, self.version);
            workspace::run(apt.command().args(["download", &package]).current_dir(folder))
        });
        fetched.with_context(|| {
            format!(
                "could not download {} {} of Debian {}. If a signature was refused, upgrade the package \
                 debian-archive-keyring. Without access to Debian's packages, put {} into a folder and set {XTASK_DEBS} to it",
                self.name,
                self.version,
                self.release,
                self.file()
            )
        })?;
        step.done("downloaded");
        Ok(())
    }

    fn verify(&self, path: &Path) -> Result<()> {
        let found = stamp::sha256_of(path, &Step::bytes(format!("verifying {}", self.file()), self.size))?;
        if found != self.sha256 {
            bail!("{} has the sha256 {found}, but must have {}", path.display(), self.sha256);
        }
        Ok(())
    }
}

/// A folder of a package, and its place among the tools.
pub(crate) struct DebFolder {
    pub(crate) package: Deb,
    /// The folder in the package.
    pub(crate) from: &'static str,
    /// The folder's name among the tools.
    pub(crate) name: &'static str,
    /// The place of the files in that folder.
    pub(crate) inside: &'static str,
}

impl DebFolder {
    fn folder(&self) -> Folder {
        let packages = format!("{}\nsha256 {}\n", self.package.file(), self.package.sha256);
        Folder { name: self.name, stamp: ".deb", packages }
    }

    /// Returns the folder of the files.
    pub(crate) fn files(&self) -> PathBuf {
        self.folder().within(&folder::tools()).join(self.inside)
    }

    /// Whether all files of this very package are in place.
    pub(crate) fn is_complete(&self) -> bool {
        self.folder().is_complete(&folder::tools())
    }

    /// Obtains the package and unpacks it.
    pub(crate) fn bring(&self) -> Result<()> {
        let deb = self.package.obtain()?;
        let step = Step::spinner(format!("unpacking {}", self.package.file()));
        let fill = |fresh: &Path| unpack(&deb, self.from, &fresh.join(self.inside));
        let files = self.folder().install(&folder::tools(), fill)?;
        step.done(&format!("{files} files in {}", self.files().display()));
        Ok(())
    }
}

/// A Debian system, as far as the download needs it.
#[derive(Debug, PartialEq, Eq)]
struct Debian {
    /// The address from which the system fetches its own packages; every release is there.
    mirror: String,
}

impl Debian {
    fn of_this_machine() -> Result<Self> {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let targets = workspace::capture(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(RELEASE) $(COMPONENT) $(REPO_URI)",
            "Created-By: Packages",
        ]));
        Self::read(&release, &targets.unwrap_or_default())
    }

    /// Reads the system's release from the text of `/etc/os-release`, and its mirror from apt's list of sources.
    fn read(os_release: &str, targets: &str) -> Result<Self> {
        let fields: HashMap<&str, &str> = os_release
            .lines()
            .filter_map(|line| line.split_once('=').map(|(name, value)| (name, value.trim_matches('"'))))
            .collect();
        if fields.get("ID") != Some(&"debian") {
            bail!(
                "this system is {}, but packages can only be fetched on Debian",
                fields.get("PRETTY_NAME").unwrap_or(&"not known")
            );
        }
        let codename = fields.get("VERSION_CODENAME").copied().unwrap_or_default();
        let mut lines = targets.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mirror = lines.find_map(|words| match words[..] {
            [release, "main", address] if release == codename => Some(address.to_owned()),
            _ => None,
        });
        let mirror = mirror.with_context(|| {
            format!("apt has no source for main of {codename}, but one must be in /etc/apt/sources.list.d")
        })?;
        Ok(Self { mirror })
    }
}

/// The apt of the system, with lists, caches and sources in a private folder.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(folder: &Path, mirror: &str, release: &str) -> Result<Self> {
        let could_not = || format!("could not write to {}: is the disk full?", folder.display());
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part)).with_context(could_not)?;
        }
        let source = format!("deb [signed-by={KEYRING}] {mirror} {release} main\n");
        fs::write(folder.join("sources.list"), source).with_context(could_not)?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        let inside = |part: &str| self.folder.join(part).display().to_string();
        let options = [
            format!("Dir::Etc::SourceList={}", inside("sources.list")),
            "Dir::Etc::SourceParts=-".to_owned(),
            format!("Dir::State::Lists={}", inside("lists")),
            format!("Dir::Cache={}", inside("cache")),
            // Headers are the same for every processor, and so is the checksum.
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures=amd64".to_owned(),
            // The user that root's apt changes to may not enter the folder.
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Acquire::Retries=3".to_owned(),
        ];
        command.arg("--quiet");
        for option in options {
            command.args(["-o", &option]);
        }
        command
    }
}

/// Unpacks the files below a folder of a package to `target`, and returns their number. Links are left out.
pub(crate) fn unpack(deb: &Path, folder: &str, target: &Path) -> Result<usize> {
    let could_not = || format!("could not unpack {}", deb.display());
    let mut archive = ar::Archive::new(File::open(deb).with_context(could_not)?);
    while let Some(entry) = archive.next_entry() {
        let entry = entry.with_context(could_not)?;
        if entry.header().identifier() == b"data.tar.xz" {
            return unpack_files(XzReader::new(entry, false), folder, target).with_context(could_not);
        }
    }
    bail!("{} has no data.tar.xz, but a Debian package must have one", deb.display())
}

fn unpack_files(tar: impl Read, folder: &str, target: &Path) -> Result<usize> {
    let mut files = 0;
    for entry in tar::Archive::new(tar).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let path = path.strip_prefix(".").unwrap_or(&path);
        let Ok(inside) = path.strip_prefix(folder) else { continue };
        if !entry.header().entry_type().is_file() {
            continue;
        }
        if !inside.components().all(|part| matches!(part, Component::Normal(_))) {
            bail!("{} leaves the folder", path.display());
        }
        let file = target.join(inside);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        std::io::copy(&mut entry, &mut File::create(&file)?)
            .with_context(|| format!("could not write {}: is the disk full?", file.display()))?;
        files += 1;
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use lzma_rust2::{XzOptions, XzWriter};
    use std::io::Write as _;

    use super::*;

    const DEBIAN_12: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_CODENAME=bookworm\nID=debian\n";

    /// Makes a package with these files.
    fn package(folder: &Path, files: &[(&str, &str)]) -> PathBuf {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, text) in files {
            let mut header = tar::Header::new_gnu();
            // As bytes, because the crate refuses to write a path that leaves the folder.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(text.len() as u64);
            header.set_cksum();
            tar.append(&header, text.as_bytes()).unwrap();
        }
        let mut xz = XzWriter::new(Vec::new(), XzOptions::default()).unwrap();
        xz.write_all(&tar.into_inner().unwrap()).unwrap();
        let data = xz.finish().unwrap();
        let path = folder.join("some_1_amd64.deb");
        let mut deb = ar::Builder::new(File::create(&path).unwrap());
        for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("data.tar.xz", &data)] {
            deb.append(&ar::Header::new(name.into(), content.len() as u64), content).unwrap();
        }
        path
    }

    #[test]
    fn the_files_of_one_folder_are_unpacked() {
        let home = tempfile::tempdir().unwrap();
        let files = [("./usr/include/vulkan/vulkan.hpp", "// hpp"), ("./usr/share/doc/copyright", "text")];
        let deb = package(home.path(), &files);
        let target = home.path().join("include");
        assert_eq!(unpack(&deb, "usr/include", &target).unwrap(), 1);
        assert_eq!(fs::read_to_string(target.join("vulkan/vulkan.hpp")).unwrap(), "// hpp");
    }

    #[test]
    fn a_path_that_leaves_the_folder_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let deb = package(home.path(), &[("./usr/include/../../../evil", "text")]);
        let error = unpack(&deb, "usr/include", &home.path().join("include")).unwrap_err();
        assert!(format!("{error:#}").ends_with("usr/include/../../../evil leaves the folder"), "{error:#}");
        assert!(!home.path().join("evil").exists());
    }

    #[test]
    fn a_truncated_package_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let deb = package(home.path(), &[("./usr/include/vulkan/vulkan.hpp", "// hpp")]);
        let whole = fs::read(&deb).unwrap();
        fs::write(&deb, &whole[..whole.len() - 40]).unwrap();
        unpack(&deb, "usr/include", &home.path().join("include")).unwrap_err();
        fs::write(&deb, "<html>not a package</html>").unwrap();
        unpack(&deb, "usr/include", &home.path().join("include")).unwrap_err();
    }

    #[test]
    fn a_package_with_another_checksum_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = package(home.path(), &[]);
        fs::write(&path, "hello").unwrap();
        let deb = Deb {
            name: "some",
            version: "1",
            architecture: "all",
            release: "trixie",
            megabytes: 1,
            size: 5,
            sha256: "00",
        };
        assert_eq!(
            deb.verify(&path).unwrap_err().to_string(),
            format!(
                "{} has the sha256 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824, but must have 00",
                path.display()
            )
        );
    }

    #[test]
    fn the_mirror_is_the_one_of_the_system() {
        let targets = "bookworm-security main http://security/\nbookworm main http://mirror/debian/\n";
        assert_eq!(Debian::read(DEBIAN_12, targets).unwrap().mirror, "http://mirror/debian/");
        assert_eq!(
            Debian::read(DEBIAN_12, "").unwrap_err().to_string(),
            "apt has no source for main of bookworm, but one must be in /etc/apt/sources.list.d"
        );
    }

    #[test]
    fn another_system_is_refused_by_name() {
        let fedora = "NAME=\"Fedora Linux\"\nID=fedora\nPRETTY_NAME=\"Fedora Linux 42\"\n";
        assert_eq!(
            Debian::read(fedora, "").unwrap_err().to_string(),
            "this system is Fedora Linux 42, but packages can only be fetched on Debian"
        );
        assert_eq!(
            Debian::read("", "").unwrap_err().to_string(),
            "this system is not known, but packages can only be fetched on Debian"
        );
    }
}
