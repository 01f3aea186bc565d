//! The configuration of the build: cargo's features and the environment, read once, with contradictions refused.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::{backend, vars};

/// The crate's cargo features.
#[derive(Clone, Debug)]
pub(crate) struct Features {
    /// The features of backends that are on.
    backends: Vec<&'static str>,
    pub(crate) openmp: bool,
    pub(crate) native: bool,
    pub(crate) shared: bool,
    pub(crate) dynamic_backends: bool,
    pub(crate) common: bool,
    pub(crate) dynamic: bool,
    pub(crate) bindgen: bool,
}

/// The platform that is compiled for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) triple: String,
    pub(crate) os: String,
    pub(crate) env: String,
    pub(crate) arch: String,
    pub(crate) vendor: String,
}

impl Target {
    pub(crate) fn is_apple(&self) -> bool {
        self.vendor == "apple"
    }

    pub(crate) fn is_msvc(&self) -> bool {
        self.env == "msvc"
    }
}

/// All inputs of the build.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) features: Features,
    pub(crate) target: Target,
    pub(crate) host: String,
    pub(crate) out_dir: PathBuf,
    pub(crate) manifest_dir: PathBuf,
    pub(crate) lib_dir: Option<PathBuf>,
    pub(crate) include_dir: Option<PathBuf>,
    pub(crate) cpp_dir: Option<PathBuf>,
    pub(crate) no_build: bool,
    pub(crate) build_cache: Option<PathBuf>,
    pub(crate) tools: Option<PathBuf>,
    pub(crate) cmake_args: Vec<String>,
}

impl Config {
    /// Reads cargo's environment and refuses combinations that cannot work.
    pub(crate) fn from_environment() -> Result<Self, String> {
        for variable in vars::ALL {
            println!("cargo:rerun-if-env-changed={}", variable.name);
        }
        let config = Self {
            features: Features::from_environment(),
            target: Target {
                triple: required("TARGET")?,
                os: required("CARGO_CFG_TARGET_OS")?,
                env: env::var("CARGO_CFG_TARGET_ENV").unwrap_or_default(),
                arch: required("CARGO_CFG_TARGET_ARCH")?,
                vendor: env::var("CARGO_CFG_TARGET_VENDOR").unwrap_or_default(),
            },
            host: required("HOST")?,
            out_dir: required("OUT_DIR")?.into(),
            manifest_dir: required("CARGO_MANIFEST_DIR")?.into(),
            lib_dir: path(vars::LIB_DIR),
            include_dir: path(vars::INCLUDE_DIR),
            cpp_dir: path(vars::CPP_DIR),
            no_build: flag(vars::NO_BUILD) || env::var_os("DOCS_RS").is_some(),
            build_cache: path(vars::BUILD_CACHE),
            tools: path(vars::TOOLS),
            cmake_args: env::var(vars::CMAKE_ARGS)
                .map(|args| args.split_whitespace().map(str::to_owned).collect())
                .unwrap_or_default(),
        };
        config.refuse_contradictions()?;
        Ok(config)
    }

    /// Whether the build is tuned for the building machine: with feature `native`, unless the result is for other
    /// machines.
    pub(crate) fn is_native(&self) -> bool {
        self.features.native && !self.features.dynamic_backends && self.host == self.target.triple
    }

    /// Returns the value of a CMake definition that the user gives, the last one if there are several.
    pub(crate) fn cmake_definition(&self, name: &str) -> Option<&str> {
        self.cmake_args.iter().rev().find_map(|arg| {
            let (given, value) = arg.strip_prefix("-D")?.split_once('=')?;
            (given.split(':').next() == Some(name)).then_some(value)
        })
    }

    fn refuse_contradictions(&self) -> Result<(), String> {
        self.refuse_with_dynamic()?;
        backend::refuse_contradictions(self)?;
        if self.features.bindgen && self.lib_dir.is_some() && self.include_dir.is_none() {
            return Err(format!(
                "feature `bindgen` with {} also needs {}: the bindings are generated from its headers",
                vars::LIB_DIR,
                vars::INCLUDE_DIR
            ));
        }
        Ok(())
    }
}

impl Config {
    /// Refuses settings of a library that is built or linked when the program is to load one instead.
    fn refuse_with_dynamic(&self) -> Result<(), String> {
        let features = &self.features;
        if !features.dynamic {
            return Ok(());
        }
        let switches = [
            ("shared", features.shared && !features.dynamic_backends),
            ("dynamic-backends", features.dynamic_backends),
            ("bindgen", features.bindgen),
        ];
        let on = switches.iter().filter(|(_, on)| *on).map(|(name, _)| *name);
        if let Some(feature) = features.backends.iter().copied().chain(on).next() {
            return Err(format!(
                "features `dynamic` and `{feature}` contradict each other: with `dynamic` no llama.cpp is built, and the \
                 library that the program loads has the backends that it was built with. Leave one of them out"
            ));
        }
        if self.lib_dir.is_some() {
            return Err(format!(
                "{} is set, but with feature `dynamic` no library is linked: unset it, and name the library by \
                 LLAMA_LIBRARY when the program runs",
                vars::LIB_DIR
            ));
        }
        Ok(())
    }
}

impl Features {
    /// Whether the feature of a backend is on.
    pub(crate) fn has_backend(&self, feature: &str) -> bool {
        self.backends.contains(&feature)
    }

    fn from_environment() -> Self {
        let has = |name: &str| env::var_os(format!("CARGO_FEATURE_{name}")).is_some();
        let backends = backend::all().into_iter().map(|backend| backend.feature);
        Self {
            backends: backends.filter(|name| has(&name.to_ascii_uppercase())).collect(),
            openmp: has("OPENMP"),
            native: has("NATIVE"),
            shared: has("SHARED"),
            dynamic_backends: has("DYNAMIC_BACKENDS"),
            common: has("COMMON"),
            dynamic: has("DYNAMIC"),
            bindgen: has("BINDGEN"),
        }
    }
}

fn required(name: &str) -> Result<String, String> {
    env::var(name)
        .map_err(|_| format!("{name} is not set: this program is cargo's build script of llama-sys"))
}

fn set(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn path(name: &str) -> Option<PathBuf> {
    set(name).map(PathBuf::from)
}

fn flag(name: &str) -> bool {
    set(name).is_some_and(|value| value != "0")
}
