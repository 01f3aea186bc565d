//! Numbered cases: each number selects an architecture, a way to make the model, and its errors.

use core::fmt;
use std::path::Path;

use llama_core::{Error, Model, ModelParams, TensorType};
use llama_gguf::{Metadata, Writer};

use crate::random::Random;
use crate::tensors::{Tensor, data};
use crate::tree_names::ARCHITECTURES;
use crate::{base, metadata_changes, tensor_changes, tensors};

/// The way in which a model is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// `Model::from_metadata`: llama.cpp chooses names and shapes of the tensors.
    Metadata,
    /// A file, with the tensors that llama.cpp would choose, or some of them.
    File,
}

/// A model to try.
pub(crate) struct Case {
    pub(crate) architecture: &'static str,
    pub(crate) source: Source,
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) loads_mtp: bool,
    /// The differences from a model that should work.
    pub(crate) changes: Vec<String>,
}

/// Whether the case is an unchanged model. The first cases are, made in both ways.
pub(crate) fn is_plain(number: u64) -> bool {
    number < 2 * ARCHITECTURES.len() as u64
}

/// The description of a case, without the work of making its model.
#[derive(Clone, Copy)]
pub(crate) struct Named {
    pub(crate) architecture: &'static str,
    pub(crate) source: Source,
}

/// The first number of the cases that leave out one tensor of an unchanged model, in all layers.
pub(crate) const WITHOUT: u64 = 1 << 32;
/// An upper bound for the number of tensor names of an architecture, in both forms of fused ones.
pub(crate) const MAX_NAMES: u64 = 256;

impl Named {
    /// Selects a case. Neighbouring numbers have different architectures.
    pub(crate) fn new(number: u64) -> Self {
        if let Some(number) = number.checked_sub(WITHOUT) {
            let index = usize::try_from(number / MAX_NAMES).unwrap();
            return Self { architecture: ARCHITECTURES[index % ARCHITECTURES.len()], source: Source::File };
        }
        let count = ARCHITECTURES.len() as u64;
        let (round, index) = (number / count, usize::try_from(number % count).unwrap());
        let source = if round.is_multiple_of(2) { Source::Metadata } else { Source::File };
        Self { architecture: ARCHITECTURES[index], source }
    }
}

impl Case {
    /// Makes the case of a number.
    pub(crate) fn new(number: u64) -> Self {
        let Named { architecture, source } = Named::new(number);
        let left_out = number.checked_sub(WITHOUT).map(|number| number % MAX_NAMES);
        // Rounds decide on fused tensors and on scales.
        let round =
            left_out.map_or(number / ARCHITECTURES.len() as u64, |name| [1, 7][usize::from(name % 2 == 1)]);
        let metadata = base::metadata(architecture);
        let tensors = tensors::of(architecture, round);
        let mut case =
            Self { architecture, source, metadata, tensors, loads_mtp: number % 3 == 2, changes: Vec::new() };
        if let Some(name) = left_out {
            let change = tensor_changes::leave_out(&mut case.tensors, usize::try_from(name / 2).unwrap());
            case.changes.push(change);
        } else if !is_plain(number) {
            let mut random = Random::new(number);
            for _ in 0..=random.below(3) {
                case.change(&mut random);
            }
        }
        case
    }

    fn change(&mut self, random: &mut Random) {
        let of_metadata = self.tensors.is_empty() || random.once_in(2);
        let change = if of_metadata {
            metadata_changes::apply(random, self.architecture, &mut self.metadata)
        } else {
            tensor_changes::apply(random, self.source, &mut self.tensors)
        };
        self.changes.push(change);
    }

    /// Loads the model; files are written to `path`.
    pub(crate) fn load(&self, path: &Path) -> Result<Model, Error> {
        // Every third case with the layers that predict further tokens, where there are any.
        let params = ModelParams::default().use_extra_bufts(false).load_mtp(self.loads_mtp);
        match self.source {
            Source::Metadata => self.made_from_metadata(&params),
            Source::File => {
                self.write(path);
                Model::load(path, &params)
            }
        }
    }

    fn made_from_metadata(&self, params: &ModelParams) -> Result<Model, Error> {
        let types = self.tensors.iter().filter(|tensor| tensor.kind != TensorType::F32);
        let types = types.map(|tensor| (tensor.name.as_str(), tensor.kind));
        Model::from_metadata(&self.metadata, types, params, |view, bytes| {
            let special = self.tensors.iter().find(|tensor| tensor.name == view.name());
            let filling = special.map_or(tensors::Filling::Numbers, |tensor| tensor.filling);
            data(view.name(), view.tensor_type(), filling, bytes);
            Ok::<(), Error>(())
        })
    }

    fn write(&self, path: &Path) {
        let mut writer = Writer::new();
        *writer.metadata_mut() = self.metadata.clone();
        for tensor in &self.tensors {
            let elements: u64 = tensor.shape.iter().product();
            let Some(size) = (elements / tensor.kind.block_size()).checked_mul(tensor.kind.block_bytes())
            else {
                continue;
            };
            let mut bytes = vec![0; usize::try_from(size).unwrap()];
            data(&tensor.name, tensor.kind, tensor.filling, &mut bytes);
            // What the format does not allow, as a row that is no whole number of blocks, is not written.
            let _ = writer.tensor(tensor.name.as_str(), tensor.kind, &tensor.shape, bytes);
        }
        let mut file = Vec::new();
        writer.write_to(&mut file).unwrap();
        std::fs::write(path, file).unwrap();
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {:?}", self.architecture, self.source)?;
        self.changes.iter().try_for_each(|change| write!(f, "; {change}"))
    }
}
