//! Changes of an index, and their bytes in the write-ahead log.

use crate::error::AnnError;
use crate::filter::ItemAttributes;
use crate::vectors::is_usable;

/// A vector to put into an index.
///
/// ```
/// let item = rectool_ann::Item::new(7, vec![0.5, 0.5]);
/// assert_eq!(item.id, 7);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its id: a vector that has it already is replaced.
    pub id: u64,
    /// The vector \[D\].
    pub vector: Vec<f32>,
    /// Its attributes.
    pub attributes: ItemAttributes,
}

impl Item {
    /// A vector without attributes.
    pub fn new(id: u64, vector: Vec<f32>) -> Self {
        Self { id, vector, attributes: ItemAttributes::default() }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Upsert(Item),
    Delete(u64),
}

const UPSERT: u8 = 1;
const DELETE: u8 = 2;

impl Change {
    /// The id that it is about.
    pub(crate) fn id(&self) -> u64 {
        match self {
            Self::Upsert(item) => item.id,
            Self::Delete(id) => *id,
        }
    }

    /// Checks that it fits an index of width `dim`.
    pub(crate) fn check(&self, dim: usize, at: usize) -> Result<(), AnnError> {
        let Self::Upsert(item) = self else { return Ok(()) };
        if item.vector.len() != dim {
            let (found, expected) = (item.vector.len(), dim.to_string());
            return Err(AnnError::Shape { what: "values of a vector", found, expected });
        }
        if !is_usable(&item.vector) {
            return Err(AnnError::NotFinite { what: "vector", row: at });
        }
        Ok(())
    }

    /// Appends its bytes: kind u8, id u64, and for an upsert D u32, f32 [D], length u32 and JSON of
    /// the attributes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Delete(id) => {
                out.push(DELETE);
                out.extend(id.to_le_bytes());
            }
            Self::Upsert(Item { id, vector, attributes }) => {
                out.push(UPSERT);
                out.extend(id.to_le_bytes());
                out.extend((vector.len() as u32).to_le_bytes());
                for value in vector {
                    out.extend(value.to_le_bytes());
                }
                let json = serde_json::to_vec(attributes).expect("attributes are plain data");
                out.extend((json.len() as u32).to_le_bytes());
                out.extend(json);
            }
        }
    }

    /// Reads one change from the front of `bytes`; `None` if that is no change.
    pub(crate) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let kind = *take(bytes, 1)?.first()?;
        let id = u64::from_le_bytes(take(bytes, 8)?.try_into().ok()?);
        match kind {
            DELETE => Some(Self::Delete(id)),
            UPSERT => {
                let dim = read_u32(bytes)? as usize;
                let values = take(bytes, dim.checked_mul(4)?)?.chunks_exact(4);
                let value = |bytes: &[u8]| Some(f32::from_le_bytes(bytes.try_into().ok()?));
                let vector = values.map(value).collect::<Option<Vec<f32>>>()?;
                let length = read_u32(bytes)? as usize;
                let attributes = serde_json::from_slice(take(bytes, length)?).ok()?;
                Some(Self::Upsert(Item { id, vector, attributes }))
            }
            _ => None,
        }
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (front, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(front)
}

fn read_u32(bytes: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(bytes, 4)?.try_into().ok()?))
}
