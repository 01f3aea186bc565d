//! Fingerprints of models.

use xxhash_rust::xxh3::Xxh3Default;

use crate::error::Result;
use crate::model::Model;

/// Metadata keys that identify a model; all keys of the architecture are used too.
const NAMES: [&str; 7] = [
    "general.architecture",
    "general.name",
    "general.basename",
    "general.finetune",
    "general.version",
    "general.uuid",
    "general.file_type",
];

/// Returns a hash of llama.cpp's description of a loaded model: architecture, file type, hyperparameters and names
/// from the metadata, number of weights and their bytes, size of the vocabulary.
///
/// It is computed from the loaded model rather than from its file, so it is equal for a model in one file, in
/// several, or built in memory. Weights are not read: fine-tunes of one base model with equal names have equal
/// fingerprints. Texts that do not affect the memory, such as the chat template, are left out.
pub(crate) fn fingerprint(model: &Model) -> Result<u64> {
    let mut hash = Xxh3Default::new();
    let mut add = |name: &str, value: &str| {
        for text in [name, value] {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
    };
    let metadata = model.metadata()?;
    let architecture = metadata.iter().find(|(name, _)| name == NAMES[0]).map_or("", |(_, value)| value);
    for (name, value) in &metadata {
        let of_architecture = name.strip_prefix(architecture).is_some_and(|rest| rest.starts_with('.'));
        if of_architecture || NAMES.contains(&name.as_str()) {
            add(name, value);
        }
    }
    add("file type", &model.file_type().unwrap_or_default());
    add("parameters", &model.n_params().to_string());
    add("bytes", &model.size().to_string());
    add("tokens", &model.vocab().n_tokens().to_string());
    Ok(hash.digest())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelParams;
    use test_models::Tiny;

    #[test]
    fn models_differ_and_files_do_not_matter() {
        let of = |path: &std::path::Path| {
            fingerprint(&Model::load(path, &ModelParams::default()).unwrap()).unwrap()
        };
        let all: std::collections::BTreeSet<u64> = Tiny::ALL.iter().map(|tiny| of(&tiny.path())).collect();
        assert_eq!(all.len(), Tiny::ALL.len());
        let copy = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(copy.path(), Tiny::Llama.bytes()).unwrap();
        assert_eq!(of(copy.path()), of(&Tiny::Llama.path()));
    }
}
