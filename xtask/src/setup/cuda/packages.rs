//! The wheels of a CUDA toolkit, of one release whose parts fit one another.

use crate::setup::wheel::Wheel;

/// The release that the wheels are part of. A driver of this major version, 580 or newer, runs what they compile.
pub(super) const VERSION: &str = "13.0";

/// The wheels for Linux on x86_64.
pub(super) const PACKAGES: &[Wheel] = &[
    // The compiler's driver, and the programs that it runs.
    Wheel {
        requirement: "nvidia-cuda-nvcc==13.0.88",
        file: "nvidia_cuda_nvcc-13.0.88-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        size: 37_384_532,
        sha256: "56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03",
    },
    // The compiler of device code.
    Wheel {
        requirement: "nvidia-nvvm==13.0.88",
        file: "nvidia_nvvm-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
        size: 61_601_415,
        sha256: "c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0",
    },
    // Headers that the compiler includes by itself.
    Wheel {
        requirement: "nvidia-cuda-crt==13.0.88",
        file: "nvidia_cuda_crt-13.0.88-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        size: 134_086,
        sha256: "2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4",
    },
    Wheel {
        requirement: "nvidia-cuda-runtime==13.0.96",
        file: "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        size: 2_243_632,
        sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
    },
    // Headers of CUB, with which ggml sorts.
    Wheel {
        requirement: "nvidia-cuda-cccl==13.0.85",
        file: "nvidia_cuda_cccl-13.0.85-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        size: 3_120_526,
        sha256: "e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649",
    },
    Wheel {
        requirement: "nvidia-cublas==13.1.0.3",
        file: "nvidia_cublas-13.1.0.3-py3-none-manylinux_2_27_x86_64.whl",
        size: 423_133_236,
        sha256: "ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wheel_is_of_its_requirement() {
        for wheel in PACKAGES {
            let (name, version) = wheel.requirement.split_once("==").unwrap();
            let begins = format!("{}-{version}-", name.replace('-', "_"));
            assert!(wheel.file.starts_with(&begins), "{} is not {}", wheel.file, wheel.requirement);
            assert!(wheel.file.ends_with("_x86_64.whl") && wheel.sha256.len() == 64, "{}", wheel.file);
        }
    }
}
