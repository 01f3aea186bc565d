//! All environment variables that the build reads. `docs/building.md` contains this table.

/// An environment variable and its meaning.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    #[allow(dead_code, reason = "read by xtask, which prints this table into docs/building.md")]
    pub(crate) meaning: &'static str,
}

pub(crate) const LIB_DIR: &str = "LLAMA_LIB_DIR";
pub(crate) const INCLUDE_DIR: &str = "LLAMA_INCLUDE_DIR";
pub(crate) const CPP_DIR: &str = "LLAMA_CPP_DIR";
pub(crate) const NO_BUILD: &str = "LLAMA_SYS_NO_BUILD";
pub(crate) const BUILD_CACHE: &str = "LLAMA_SYS_BUILD_CACHE";
pub(crate) const TOOLS: &str = "LLAMA_SYS_TOOLS";
pub(crate) const CMAKE_ARGS: &str = "LLAMA_SYS_CMAKE_ARGS";
pub(crate) const CMAKE: &str = "CMAKE";
pub(crate) const CUDACXX: &str = "CUDACXX";
pub(crate) const CUDA_PATH: &str = "CUDA_PATH";
pub(crate) const ROCM_PATH: &str = "ROCM_PATH";
pub(crate) const VULKAN_SDK: &str = "VULKAN_SDK";

/// The variables in the order of the documentation.
pub(crate) const ALL: &[Variable] = &[
    Variable {
        name: LIB_DIR,
        meaning: "Folder of a prebuilt libllama to link instead of building one (shared or static). First in \
                  the order of sources.",
    },
    Variable {
        name: INCLUDE_DIR,
        meaning: "Folder of the prebuilt library's headers; by default `include` beside `LLAMA_LIB_DIR`.",
    },
    Variable {
        name: CPP_DIR,
        meaning: "A llama.cpp tree of your own to build. Second in the order of sources. With another version \
                  than the pinned one, add feature `bindgen`.",
    },
    Variable {
        name: NO_BUILD,
        meaning: "`1`: build and link nothing native, for `cargo check` and documentation. Set by itself on \
                  docs.rs.",
    },
    Variable {
        name: BUILD_CACHE,
        meaning: "Folder for native builds that outlive cargo's own folders. Keyed by source, flags and \
                  compiler; shared by all profiles. Without it the build goes to cargo's `OUT_DIR`.",
    },
    Variable {
        name: TOOLS,
        meaning: "Folder with a `venv` in which cmake and ninja are looked for when `PATH` has none, and with \
                  `vulkan/include` for headers newer than the system's and `cuda` for a CUDA toolkit; `cargo xtask setup` \
                  fills it in this workspace.",
    },
    Variable {
        name: CMAKE_ARGS,
        meaning: "Further CMake definitions, separated by spaces, for example \
                  `-DGGML_AVX512=ON -DCMAKE_CUDA_ARCHITECTURES=86`. They win over the build's own.",
    },
    Variable { name: CMAKE, meaning: "The cmake program to use." },
    Variable { name: CUDACXX, meaning: "The nvcc program to use (feature `cuda`)." },
    Variable {
        name: CUDA_PATH,
        meaning: "Root of the CUDA toolkit (feature `cuda`). The compiler that `CUDACXX` names comes first, then this toolkit, \
                  then `PATH`, `/usr/local/cuda` and `/opt/cuda`, then the one of `LLAMA_SYS_TOOLS`.",
    },
    Variable { name: ROCM_PATH, meaning: "Root of ROCm (feature `hip`); `/opt/rocm` by default." },
    Variable {
        name: VULKAN_SDK,
        meaning: "Root of the Vulkan SDK (feature `vulkan`). Its headers come first, then the system's, then those of \
                  `LLAMA_SYS_TOOLS`; the first that are new enough are used.",
    },
];
