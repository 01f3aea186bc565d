//! Writing a loaded model to a file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::ptr::NonNull;

use llama_gguf::{AtomicFile, Gguf, Writer};

use super::{Model, ModelParams, architecture};
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::guard::guarded;
use crate::ffi::string::path_to_c;
use crate::log;

impl Model {
    /// Writes the model from memory to a GGUF file. A model that was loaded from several files is written to one.
    ///
    /// The file appears under its name only when it is complete and llama.cpp has read its head back. Meanwhile this
    /// takes twice the model's size on the disk, and memory for its largest tensor. An existing file is replaced and
    /// keeps its mode; it may be the file from which the model was loaded. If the path is a symbolic link, its
    /// target is replaced.
    ///
    /// llama.cpp writes the data with which it computes: hyperparameters, vocabulary, tensors. Other values under
    /// `general.` and `tokenizer.` in the metadata, such as licences and chat templates, are added by this crate,
    /// except arrays. Tensors that llama.cpp did not load are not written, and LoRA adapters are not merged.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] for a model without weights, for a model that was loaded with
    /// [`use_extra_bufts`](ModelParams::use_extra_bufts), which is the default, because llama.cpp cannot read such
    /// weights back, and for an architecture or a vocabulary that llama.cpp cannot write completely.
    /// [`ErrorKind::Save`] if the file system fails. The target is then unchanged.
    ///
    /// Corresponds to `llama_model_save_to_file`.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.check_savable()?;
        let failed = |cause: llama_gguf::Error| Error::from(ErrorKind::Save { path: path.to_owned(), cause });
        // Never committed: dropping it deletes the file that C writes.
        let written = AtomicFile::create(path).map_err(|cause| failed(llama_gguf::Error::Write { cause }))?;
        let raw = written.temporary_path();
        log::explain(|| {
            self.write_raw(raw)?;
            // C does not report whether it wrote everything.
            let gguf = llama_gguf::validate_file(raw).map_err(failed)?;
            check_readable(raw)?;
            self.copy_with_remarks(raw, &gguf, path).map_err(failed)
        })
    }

    fn check_savable(&self) -> Result<()> {
        self.check_weights("saving")?;
        if self.params().use_extra_bufts {
            let reason = "its weights may have been rearranged for this CPU, and llama.cpp cannot read them back: load \
                          it with ModelParams::use_extra_bufts(false)"
                .to_owned();
            return Err(ErrorKind::Unsupported { operation: "saving", reason }.into());
        }
        architecture::check_savable(&self.architecture()?)?;
        self.check_embeddings()
    }

    /// Refuses an output matrix without a table of embeddings, as in drafts that use their target's table.
    /// llama.cpp's writer compares both without checking that the table exists (llama-model-saver.cpp,
    /// `add_tensors_from_model`).
    fn check_embeddings(&self) -> Result<()> {
        let has = |name: &str| self.origin().shape(name).is_some();
        if !has("output.weight") || has("token_embd.weight") {
            return Ok(());
        }
        let reason = "llama.cpp's writer needs the tensor token_embd.weight, which the model does not have: copy its file \
                      instead"
            .to_owned();
        Err(ErrorKind::Unsupported { operation: "saving", reason }.into())
    }

    fn write_raw(&self, path: &Path) -> Result<()> {
        let c_path = path_to_c(path)?;
        // SAFETY: the model is valid, and its weights are in buffers that can be read back (`check_savable`). The writer takes
        // the model as const and reads its hyperparameters, vocabulary and tensors (llama-model-saver.cpp,
        // `add_kv_from_model` and `add_tensors_from_model`), which nothing writes to once the model is loaded: see `Sync` of
        // `Handle`. It checks every pointer to a tensor before following it, except for the table of embeddings beside an
        // output matrix, which exists (`check_savable`). The path is NUL-terminated.
        let saved = unsafe { guarded!(llama_model_save_to_file(self.raw(), c_path.as_ptr())) };
        self.links().check()?;
        saved.map_err(|error| match error.kind() {
            // The writer asserts that it supports the architecture and the kinds of metadata (llama-model-saver.cpp). It
            // has not changed the model.
            ErrorKind::Internal { message, .. } => {
                let reason = format!("llama.cpp's writer does not support all of it ({message})");
                ErrorKind::Unsupported { operation: "saving", reason }.into()
            }
            _ => error,
        })
    }

    /// Writes the final file: the data that C wrote, and the metadata that it left out.
    fn copy_with_remarks(&self, from: &Path, gguf: &Gguf, to: &Path) -> Result<(), llama_gguf::Error> {
        let file = File::open(from).map_err(|cause| llama_gguf::Error::Read { offset: 0, cause })?;
        let mut writer = Writer::new();
        *writer.metadata_mut() = gguf.metadata().clone();
        for (key, value) in self.origin().remarks().iter() {
            if !gguf.metadata().contains(key) {
                writer.set(key.clone(), value.clone());
            }
        }
        for info in gguf.tensors() {
            let (mut file, start) = (&file, gguf.tensor_range(info).start);
            writer.tensor_with(info.name().clone(), info.tensor_type(), info.shape(), move |out| {
                file.seek(SeekFrom::Start(start))?;
                io::copy(&mut file.take(info.bytes()), out).map(drop)
            })?;
        }
        writer.write_file(to)
    }
}

/// Loads a file with llama.cpp without its weights. llama.cpp's writer silently leaves out what it does not support.
fn check_readable(path: &Path) -> Result<()> {
    let c_path = path_to_c(path)?;
    let mut params = ModelParams::default().n_gpu_layers(Some(0)).no_alloc(true).to_raw()?;
    // SAFETY: the path is NUL-terminated, and the parameters were created from llama.cpp's defaults.
    let raw = unsafe { guarded!(llama_model_load_from_file(c_path.as_ptr(), params.as_raw())) }?;
    let Some(raw) = NonNull::new(raw) else {
        let reason =
            "llama.cpp's writer does not write all of it, and llama.cpp could not load the file".to_owned();
        return Err(ErrorKind::Unsupported { operation: "saving", reason }.into());
    };
    // SAFETY: the model is valid, and this is its only owner.
    unsafe { guarded!(llama_model_free(raw.as_ptr())) }
}
