//! The dense weights and their optimizer state as a safetensors file.

use std::borrow::Cow;
use std::path::Path;

use safetensors::{Dtype, SafeTensors, View};

use super::misfit;
use crate::parameters::Entry;
use crate::{ModelError, Ranker};

/// A named f32 tensor to be written.
struct Slice<'a> {
    shape: Vec<usize>,
    values: &'a [f32],
}

impl View for Slice<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(bytemuck::cast_slice(self.values))
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

/// Name of an optimizer's state that belongs to a weight.
fn state_name(state: &str, entry: &Entry) -> String {
    format!("optimizer.{state}.{}", entry.name)
}

/// The file's bytes: each weight under its name, and `optimizer.<state>.<weight>`.
pub(super) fn serialize(ranker: &Ranker) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let mut tensors = Vec::new();
    let states = ranker.optimizer.state();
    for entry in ranker.parameters.entries() {
        let slice = |flat| -> Slice<'_> {
            let flat: &[f32] = flat;
            Slice { shape: entry.shape.clone(), values: &flat[entry.range()] }
        };
        tensors.push((entry.name.clone(), slice(ranker.parameters.values())));
        for &(name, state) in &states {
            tensors.push((state_name(name, entry), slice(state)));
        }
    }
    safetensors::serialize(tensors, None)
}

/// Checks that the file is a safetensors file.
pub(super) fn check(path: &Path) -> Result<(), ModelError> {
    let bytes = std::fs::read(path).map_err(ModelError::io("reading", path))?;
    parse(path, &bytes).map(drop)
}

/// The tensors of a file.
pub(super) fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<SafeTensors<'a>, ModelError> {
    SafeTensors::deserialize(bytes)
        .map_err(|error| misfit(path, "safetensors header", error.to_string(), "a readable one"))
}

/// Reads what [`serialize`] wrote into the model, after checking every name and shape.
pub(super) fn load(ranker: &mut Ranker, path: &Path, steps: u64) -> Result<(), ModelError> {
    let bytes = std::fs::read(path).map_err(ModelError::io("reading", path))?;
    let file = parse(path, &bytes)?;
    let entries = ranker.parameters.entries().to_vec();
    let read = |name: &str, entry: &Entry, flat: &mut [f32]| {
        let Ok(tensor) = file.tensor(name) else {
            let (found, expected) = ("no such tensor".to_owned(), format!("{:?}", entry.shape));
            return Err(misfit(path, &format!("`{name}`"), found, expected));
        };
        if tensor.dtype() != Dtype::F32 || tensor.shape() != entry.shape {
            let found = format!("{:?} {:?}", tensor.dtype(), tensor.shape());
            let expected = format!("F32 {:?}", entry.shape);
            return Err(misfit(path, &format!("`{name}`"), found, expected));
        }
        for (value, bytes) in flat[entry.range()].iter_mut().zip(tensor.data().chunks_exact(4)) {
            *value = f32::from_le_bytes(bytes.try_into().expect("chunks are four bytes long"));
        }
        Ok(())
    };
    let mut values = ranker.parameters.values().to_vec();
    let mut states: Vec<(&'static str, Vec<f32>)> =
        ranker.optimizer.state().into_iter().map(|(name, state)| (name, state.to_vec())).collect();
    for entry in &entries {
        read(&entry.name, entry, &mut values)?;
        for (name, state) in &mut states {
            read(&state_name(name, entry), entry, state)?;
        }
    }
    ranker.parameters.values_mut().copy_from_slice(&values);
    ranker.parameters.publish();
    let states: Vec<(&str, &[f32])> =
        states.iter().map(|(name, state)| (*name, state.as_slice())).collect();
    ranker.optimizer.load_state(steps, &states)?;
    Ok(())
}
