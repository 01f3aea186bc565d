//! The version of glslc, which compiles ggml's shaders.

use std::path::Path;
use std::process::Command;

/// The oldest shaderc that compiles for Vulkan 1.3: year and number.
///
/// ggml's `CMakeLists.txt` tests for extensions with `--target-env=vulkan1.3`, and takes every other failure than a missing
/// extension for success.
const NEEDED: (u32, u32) = (2021, 4);

/// Returns the reason why a glslc cannot compile the shaders, or `None` when it can or prints no version.
pub(crate) fn refusal(glslc: &Path) -> Option<String> {
    let output = match Command::new(glslc).arg("--version").output() {
        Ok(output) if output.status.success() => output,
        Ok(output) => {
            return Some(format!("glslc in {} does not run: {}", glslc.display(), output.status));
        }
        Err(error) => return Some(format!("glslc in {} does not run: {error}", glslc.display())),
    };
    too_old(glslc, &String::from_utf8_lossy(&output.stdout))
}

/// Returns the reason when the version in the output of `glslc --version` is too old.
fn too_old(glslc: &Path, printed: &str) -> Option<String> {
    let (year, number) = version(printed)?;
    let (needed_year, needed_number) = NEEDED;
    ((year, number) < NEEDED).then(|| {
        format!(
            "glslc in {} has version {year}.{number}, but must have version {needed_year}.{needed_number} or newer, \
             which compiles for Vulkan 1.3",
            glslc.display()
        )
    })
}

/// Reads the version after `shaderc`, such as `v2023.2` or Debian's `2023.2-1`. Builds from a checkout may print no number.
fn version(printed: &str) -> Option<(u32, u32)> {
    let word = printed.lines().next()?.strip_prefix("shaderc ")?.split_whitespace().next()?;
    let word = word.strip_prefix('v').unwrap_or(word);
    let (year, rest) = word.split_once('.')?;
    let number = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((year.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_glslc_is_refused_with_both_versions() {
        let refusal = too_old(Path::new("/usr/bin/glslc"), "shaderc v2020.5 v2020.5\nspirv-tools v2020.7\n");
        assert_eq!(
            refusal.as_deref(),
            Some(
                "glslc in /usr/bin/glslc has version 2020.5, but must have version 2021.4 or newer, which compiles for \
                 Vulkan 1.3"
            )
        );
    }

    #[test]
    fn newer_and_unknown_versions_are_accepted() {
        assert_eq!(version("shaderc 2023.2-1\nspirv-tools 2022.4"), Some((2023, 2)));
        for printed in ["shaderc v2021.4 v2021.4", "shaderc 2023.2-1", "shaderc v2025.5-dirty", "glslc", ""] {
            assert_eq!(too_old(Path::new("glslc"), printed), None, "{printed}");
        }
    }

    #[test]
    fn a_glslc_that_does_not_start_is_refused() {
        let refusal = refusal(Path::new("/no/such/glslc")).unwrap();
        assert_eq!(refusal, "glslc in /no/such/glslc does not run: No such file or directory (os error 2)");
    }
}
