//! The dense weights and their optimizer state as a safetensors file.

use std::borrow::Cow;
use std::path::Path;

use safetensors::{Dtype, SafeTensors, View};

use super::misfit;
use crate::contrast::{Frequency, FrequencyState};
use crate::parameters::Entry;
use crate::{ModelError, Ranker};

/// A tensor to be written.
struct Slice<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: &'a [u8],
}

impl<'a> Slice<'a> {
    fn of<T: bytemuck::NoUninit>(dtype: Dtype, shape: Vec<usize>, values: &'a [T]) -> Self {
        Self { dtype, shape, bytes: bytemuck::cast_slice(values) }
    }
}

impl View for Slice<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Name of an optimizer's state that belongs to a weight.
fn state_name(state: &str, entry: &Entry) -> String {
    format!("optimizer.{state}.{}", entry.name)
}

/// Name of a part of what two towers know of how often items come by.
fn frequency_name(part: &str) -> String {
    format!("frequency.{part}")
}

/// The file's bytes: each weight under its name, and `optimizer.<state>.<weight>`. Of two towers also
/// the state of their frequency estimator: `frequency.samples` \[1\], and for each item seen
/// `frequency.item`, `.last`, `.interval` and `.count` \[items\].
pub(super) fn serialize(ranker: &Ranker) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let mut tensors = Vec::new();
    let states = ranker.optimizer.state();
    for entry in ranker.parameters.entries() {
        let slice = |flat| -> Slice<'_> {
            let flat: &[f32] = flat;
            Slice::of(Dtype::F32, entry.shape.clone(), &flat[entry.range()])
        };
        tensors.push((entry.name.clone(), slice(ranker.parameters.values())));
        for &(name, state) in &states {
            tensors.push((state_name(name, entry), slice(state)));
        }
    }
    let frequency = ranker.learning.contrast().map(|contrast| contrast.frequency.state());
    if let Some(FrequencyState { samples, ids, last, interval, count }) = &frequency {
        let shape = || vec![ids.len()];
        let parts = [
            ("samples", Slice::of(Dtype::U64, vec![1], std::slice::from_ref(samples))),
            ("item", Slice::of(Dtype::I64, shape(), ids)),
            ("last", Slice::of(Dtype::U64, shape(), last)),
            ("interval", Slice::of(Dtype::F64, shape(), interval)),
            ("count", Slice::of(Dtype::U64, shape(), count)),
        ];
        tensors.extend(parts.map(|(name, slice)| (frequency_name(name), slice)));
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
    let frequency = ranker.learning.contrast().map(|_| read_frequency(&file, path)).transpose()?;
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
    if let (Some(contrast), Some(frequency)) = (ranker.learning.contrast_mut(), frequency) {
        contrast.frequency = frequency;
    }
    Ok(())
}

fn read_frequency(file: &SafeTensors<'_>, path: &Path) -> Result<Frequency, ModelError> {
    let bytes = |part: &str, dtype: Dtype| {
        let name = frequency_name(part);
        let tensor = file.tensor(&name).map_err(|error| {
            misfit(path, &format!("`{name}`"), error.to_string(), format!("{dtype:?}"))
        })?;
        if tensor.dtype() != dtype || tensor.shape().len() != 1 {
            let found = format!("{:?} {:?}", tensor.dtype(), tensor.shape());
            return Err(misfit(path, &format!("`{name}`"), found, format!("{dtype:?} [items]")));
        }
        let eights = tensor.data().chunks_exact(8);
        Ok(eights.map(|eight| eight.try_into().expect("chunks are eight bytes long")))
    };
    let whole =
        |part| Ok::<_, ModelError>(bytes(part, Dtype::U64)?.map(u64::from_le_bytes).collect());
    let samples: Vec<u64> = whole("samples")?;
    let state = FrequencyState {
        samples: samples.first().copied().unwrap_or_default(),
        ids: bytes("item", Dtype::I64)?.map(i64::from_le_bytes).collect(),
        last: whole("last")?,
        interval: bytes("interval", Dtype::F64)?.map(f64::from_le_bytes).collect(),
        count: whole("count")?,
    };
    Frequency::from_state(&state)
        .map_err(|found| misfit(path, "`frequency`", found, "one state for each item"))
}
