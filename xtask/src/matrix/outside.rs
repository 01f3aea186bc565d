//! A package outside the workspace that depends on `llama-gen` by its path, as a user's program does, in surroundings in
//! which builds often break.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::command::{self, Run};
use super::row::Row;
use crate::setup::{self, models::SMOLLM2};
use crate::workspace;

/// A folder of a file system that is not the one of the workspace, where Linux has it.
pub(super) const OTHER_FILE_SYSTEM: &str = "/dev/shm";

/// The name of folders where `unusual_names` holds.
const UNUSUAL: &str = "ein Ordner, größer als папка";

const NAME: &str = "outside";

/// The program: it fails to load a file that is no model, loads a model, and writes greedy text.
const PROGRAM: &str = r#"
use llama_gen::Llama;

fn main() -> Result<(), llama_gen::Error> {
    let error = Llama::load(file!()).err().expect("a source file is no model");
    eprintln!("{error}");
    let llm = Llama::load(std::env::args_os().nth(1).expect("a model"))?;
    for event in llm.generate("The capital of France is").max_tokens(6).temperature(0.0).stream()? {
        print!("{}", event?.text());
    }
    Ok(())
}
"#;

/// The beginning of the text that SmolLM2 writes.
const TEXT: &str = " Paris.";

/// The surroundings of a build outside the workspace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outside {
    /// Whether the sources, cargo's home and the build have names with spaces and letters beyond ASCII. llama.cpp is
    /// then built there, without the cache.
    pub(super) unusual_names: bool,
    /// Whether everything that cargo writes is on another file system than the sources.
    pub(super) other_file_system: bool,
    /// Whether `cargo install` builds the program, and not `cargo build`.
    pub(super) installs: bool,
    /// Whether the profile has `panic = "abort"`.
    pub(super) aborts: bool,
    /// Whether the network is out of reach.
    pub(super) offline: bool,
}

impl Outside {
    pub(super) const PLAIN: Self = Self {
        unusual_names: false,
        other_file_system: false,
        installs: false,
        aborts: false,
        offline: false,
    };

    /// Returns cargo's command that builds the program.
    pub(super) fn verb(&self) -> &'static str {
        if self.installs { "install" } else { "build" }
    }

    /// Returns the conditions in words, for the table of results.
    pub(super) fn conditions(&self) -> String {
        let conditions = [
            (self.unusual_names, "folders with spaces and letters beyond ASCII"),
            (self.other_file_system, "another file system"),
            (self.installs, "`cargo install`"),
            (self.aborts, "`panic = \"abort\"`"),
            (self.offline, "no network"),
        ];
        let named = conditions.iter().filter(|(holds, _)| *holds).map(|(_, name)| *name);
        let names = named.collect::<Vec<_>>().join(", ");
        if names.is_empty() { names } else { format!(": {names}") }
    }
}

/// The folders of one build.
struct Place {
    /// The folder that contains the others, and that is removed at the end.
    home: TempDir,
    package: PathBuf,
    /// The workspace, or a copy of it.
    sources: PathBuf,
}

/// Builds and runs the program, and returns its text.
pub(super) fn run(row: &Row, outside: &Outside, environment: &[(&'static str, OsString)]) -> Result<Run> {
    let place = Place::new(outside)?;
    place.write("", outside)?;
    let log = File::create(command::log(row))?;
    let cargo = |words: &[&str]| -> Result<Command> {
        let mut cargo = place.cargo(outside);
        cargo.args(words).envs(environment.iter().map(|(name, value)| (name, value)));
        cargo.stderr(log.try_clone()?);
        Ok(cargo)
    };
    let lock = if outside.offline { &["generate-lockfile", "--offline"][..] } else { &["generate-lockfile"] };
    succeed(&mut cargo(lock)?)?;
    let network = if outside.offline { &["--offline"][..] } else { &[] };
    let program = if outside.installs {
        let root = place.home.path().join("installed");
        let mut install = cargo(&[outside.verb(), "--debug", "--locked", "--path", ".", "--root"])?;
        succeed(install.arg(&root).args(network))?;
        root.join("bin").join(NAME)
    } else {
        succeed(cargo(&[outside.verb(), "--locked"])?.args(network))?;
        place.home.path().join("built/debug").join(NAME)
    };
    let mut program = Command::new(program.with_extension(env::consts::EXE_EXTENSION));
    program.arg(SMOLLM2.path()).stderr(log.try_clone()?);
    let text = succeed(&mut program)?;
    if !text.starts_with(TEXT) {
        bail!("the program wrote {text:?}, but must write a text that begins with {TEXT:?}");
    }
    Ok(Run { success: true, text })
}

/// Makes a package that depends on `llama-sys` in two versions, and lets cargo choose versions.
pub(super) fn two_versions(row: &Row) -> Result<Run> {
    let place = Place::new(&Outside::PLAIN)?;
    let other = place.package.join("other");
    fs::create_dir_all(other.join("src"))?;
    fs::write(other.join("src/lib.rs"), "")?;
    fs::write(other.join("build.rs"), "fn main() {}\n")?;
    let package = "[package]\nname = \"llama-sys\"\nversion = \"9.9.9\"\nlinks = \"llama\"\n";
    fs::write(other.join("Cargo.toml"), package)?;
    place.write("other = { package = \"llama-sys\", path = \"other\" }\n", &Outside::PLAIN)?;
    let mut cargo = place.cargo(&Outside::PLAIN);
    let output = cargo.args(["generate-lockfile", "--offline"]).output();
    let output = output.with_context(|| workspace::could_not_start(&cargo))?;
    fs::write(command::log(row), &output.stderr)?;
    Ok(Run { success: output.status.success(), text: String::from_utf8_lossy(&output.stderr).into_owned() })
}

impl Place {
    fn new(outside: &Outside) -> Result<Self> {
        let parent = if outside.other_file_system { OTHER_FILE_SYSTEM.into() } else { env::temp_dir() };
        let prefix = if outside.unusual_names { UNUSUAL } else { NAME };
        let home = tempfile::Builder::new().prefix(prefix).tempdir_in(&parent);
        let home = home.with_context(|| format!("cannot create a folder in {}", parent.display()))?;
        let package = home.path().join(if outside.unusual_names { UNUSUAL } else { "package" });
        fs::create_dir_all(package.join("src"))?;
        let sources = if outside.unusual_names {
            let copy = home.path().join(format!("sources of {UNUSUAL}"));
            copy_workspace(&copy)?;
            copy
        } else {
            workspace::root().to_owned()
        };
        Ok(Self { home, package, sources })
    }

    /// Writes the package, with these dependencies beside `llama-gen`.
    fn write(&self, dependencies: &str, outside: &Outside) -> Result<()> {
        let failed = || format!("cannot write {}", self.package.display());
        let manifest = manifest(&self.sources, dependencies, outside);
        fs::write(self.package.join("Cargo.toml"), manifest).with_context(failed)?;
        fs::write(self.package.join("src/main.rs"), PROGRAM).with_context(failed)
    }

    /// Returns cargo in the folder of the package, with folders of its own.
    fn cargo(&self, outside: &Outside) -> Command {
        let mut cargo = workspace::cargo();
        cargo.current_dir(&self.package).stdin(Stdio::null());
        cargo.env("CARGO_TARGET_DIR", self.home.path().join("built"));
        // A package outside the workspace does not see its `.cargo/config.toml`.
        cargo.env("LLAMA_SYS_TOOLS", workspace::target().join("tools"));
        if outside.unusual_names {
            cargo.env_remove("LLAMA_SYS_BUILD_CACHE").env("HOME", self.home.path());
            cargo.env("CARGO_HOME", self.home.path().join(format!("cargo's {UNUSUAL}")));
        } else {
            cargo.env("LLAMA_SYS_BUILD_CACHE", workspace::target().join("native"));
        }
        if outside.offline {
            for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
                cargo.env(name, "http://127.0.0.1:9");
            }
        }
        cargo
    }
}

/// Returns the manifest of the package, which is a workspace of its own.
fn manifest(sources: &Path, dependencies: &str, outside: &Outside) -> String {
    let path = sources.join("crates/llama-gen").display().to_string();
    let profile = if outside.aborts { "\n[profile.dev]\npanic = \"abort\"\n" } else { "" };
    format!(
        "[package]\nname = \"{NAME}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\nllama-gen = {{ path = {path:?} }}\n\
         {dependencies}\n[workspace]\n{profile}"
    )
}

/// Copies the files that git knows, and llama.cpp's sources.
fn copy_workspace(copy: &Path) -> Result<()> {
    let listed =
        workspace::capture(Command::new("git").args(["ls-files", "-z"]).current_dir(workspace::root()))?;
    for file in listed.split('\0').filter(|file| !file.is_empty()) {
        copy_file(&workspace::root().join(file), &copy.join(file))?;
    }
    copy_folder(&setup::pin::tree(), &copy.join("llama.cpp/upstream"))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if !entry.file_type()?.is_dir() {
            copy_file(&from, &to)?;
        } else if entry.file_name() != OsStr::new(".git") {
            copy_folder(&from, &to)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let failed = || format!("cannot copy {} to {}", from.display(), to.display());
    fs::create_dir_all(to.parent().unwrap_or(to)).with_context(failed)?;
    fs::copy(from, to).map(drop).with_context(failed)
}

/// Runs a command to its end and returns what it writes to its standard output.
fn succeed(command: &mut Command) -> Result<String> {
    let output = command.stdout(Stdio::piped()).spawn().and_then(std::process::Child::wait_with_output);
    let output = output.with_context(|| workspace::could_not_start(command))?;
    if !output.status.success() {
        bail!("`{}` failed ({})", workspace::command_line(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_keeps_quotes_and_spaces_of_its_path() {
        let text = manifest(Path::new("/a \"b\" ü"), "", &Outside { aborts: true, ..Outside::PLAIN });
        assert!(text.contains(r#"llama-gen = { path = "/a \"b\" ü"#), "{text}");
        assert!(text.ends_with("\n[workspace]\n\n[profile.dev]\npanic = \"abort\"\n"), "{text}");
    }

    #[test]
    fn a_folder_is_copied_without_its_history() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("ü to"));
        for file in ["a.txt", "b/c.txt", ".git/HEAD"] {
            fs::create_dir_all(from.join(file).parent().unwrap()).unwrap();
            fs::write(from.join(file), file).unwrap();
        }
        copy_folder(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("b/c.txt")).unwrap(), "b/c.txt");
        assert!(to.join("a.txt").is_file() && !to.join(".git").exists());
    }

    #[test]
    fn a_program_that_fails_is_named() {
        let error = succeed(Command::new("git").arg("no-such-command").stderr(Stdio::null())).unwrap_err();
        assert!(error.to_string().starts_with("`git no-such-command` failed ("), "{error}");
    }
}
