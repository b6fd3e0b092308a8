//! The metadata of a record batch, checked before arrow slices by it.

use arrow_ipc::RecordBatch;
use arrow_schema::{DataType, Field};

use super::Broken;

/// Text bytes of one compressed buffer: what offsets of 32 bits reach.
const TEXT_BYTES_MAX: i64 = 1 << 31;

/// What a buffer holds.
#[derive(Clone, Copy)]
enum Item {
    /// One bit per value.
    Bits,
    /// Items of so many bytes: one per value, or offsets, of which there is one more.
    Sized(usize),
    /// The bytes of texts, of any length.
    Bytes,
    /// As many buffers of such bytes as the message says.
    FurtherBytes,
}

impl Item {
    /// The greatest size of a buffer of `values` values; writers pad to 64 bytes.
    fn bytes_max(self, values: i64) -> i64 {
        match self {
            Self::Bits => 8 * (values + 1) + 64,
            Self::Sized(bytes) => bytes.max(8) as i64 * (values + 1) + 64,
            Self::Bytes | Self::FurtherBytes => TEXT_BYTES_MAX,
        }
    }
}

/// Checks every length and offset of the fields of `batch` that are read; the others, with `false`, are only
/// counted. Fields of a dictionary's values have as many rows as the batch says.
pub(super) fn check_batch<'a>(
    batch: RecordBatch<'_>,
    body: &[u8],
    fields: impl Iterator<Item = (&'a Field, bool)>,
    rows_max: u64,
) -> Result<(), Broken> {
    let rows = batch.length();
    if u64::try_from(rows).is_ok_and(|rows| rows > rows_max) || rows < 0 {
        return Err(Broken::new("rows", format!("at most {rows_max} more"), rows));
    }
    let mut nodes = batch.nodes().into_iter().flatten();
    let mut buffers = batch.buffers().into_iter().flatten();
    let mut views = batch.variadicBufferCounts().into_iter().flatten();
    let compressed = batch.compression().is_some();
    for (field, read) in fields {
        let in_column = |broken: Broken| Broken {
            what: format!("column `{}`: {}", field.name(), broken.what),
            ..broken
        };
        if !read {
            let parts = Parts::of(field.data_type());
            let further = views.by_ref().take(parts.views).map(|count| count.clamp(0, 1 << 32));
            let count = parts.buffers + further.sum::<i64>() as usize;
            nodes.by_ref().take(parts.nodes).for_each(drop);
            buffers.by_ref().take(count).for_each(drop);
            continue;
        }
        for (depth, items) in layout(field.data_type()).into_iter().enumerate() {
            let node = nodes.next().map(|node| (node.length(), node.null_count()));
            let values = check_node(node, (depth == 0).then_some(rows)).map_err(in_column)?;
            for item in items {
                let count = match item {
                    Item::FurtherBytes => further_buffers(views.next()).map_err(in_column)?,
                    _ => 1,
                };
                for _ in 0..count {
                    let buffer = buffers.next().map(|buffer| (buffer.offset(), buffer.length()));
                    let compressed = compressed.then_some(values);
                    check_buffer(buffer, body, *item, compressed).map_err(in_column)?;
                }
            }
        }
    }
    if nodes.next().is_some() || buffers.next().is_some() {
        return Err(Broken::new("message", "as many buffers as the schema needs", "more"));
    }
    Ok(())
}

/// How many buffers of texts a column of views has. Each of them is looked for in the message, which has
/// far fewer than this may say.
fn further_buffers(count: Option<i64>) -> Result<i64, Broken> {
    let count = count.ok_or_else(|| Broken::new("message", "a number of buffers", "none"))?;
    if count < 0 {
        return Err(Broken::new("number of buffers", "0 or more", count));
    }
    Ok(count)
}

/// What a column takes of the lists in a message.
#[derive(Clone, Copy)]
struct Parts {
    nodes: usize,
    buffers: usize,
    /// Numbers of further buffers.
    views: usize,
}

impl Parts {
    /// Of a column of any type.
    fn of(data_type: &DataType) -> Self {
        let (buffers, views) = match data_type {
            DataType::Null | DataType::RunEndEncoded(..) => (0, 0),
            DataType::Struct(_) | DataType::FixedSizeList(..) => (1, 0),
            DataType::Utf8 | DataType::ListView(_) => (3, 0),
            DataType::Utf8View => (2, 1),
            _ => (2, 0),
        };
        let of = |fields: &[&Field]| {
            let own = Self { nodes: 1, buffers, views };
            fields.iter().fold(own, |all, field| all.and(Self::of(field.data_type())))
        };
        match data_type {
            DataType::List(item) | DataType::ListView(item) | DataType::FixedSizeList(item, _) => {
                of(&[item])
            }
            DataType::RunEndEncoded(ends, values) => of(&[ends, values]),
            DataType::Struct(fields) => {
                of(&fields.iter().map(|field| &**field).collect::<Vec<_>>())
            }
            _ => of(&[]),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            nodes: self.nodes + other.nodes,
            buffers: self.buffers + other.buffers,
            views: self.views + other.views,
        }
    }
}

/// The buffers of each nesting level of a column, by what they hold.
fn layout(data_type: &DataType) -> Vec<&'static [Item]> {
    use Item::{Bits, Bytes, FurtherBytes, Sized};
    let (own, item): (&[Item], _) = match data_type {
        DataType::FixedSizeList(item, _) => (&[Bits], Some(item)),
        DataType::List(item) => (&[Bits, Sized(4)], Some(item)),
        DataType::LargeList(item) => (&[Bits, Sized(8)], Some(item)),
        DataType::Utf8 => (&[Bits, Sized(4), Bytes], None),
        DataType::LargeUtf8 => (&[Bits, Sized(8), Bytes], None),
        DataType::Utf8View => (&[Bits, Sized(16), FurtherBytes], None),
        DataType::Dictionary(key, _) => return layout(key),
        DataType::Boolean => (&[Bits, Bits], None),
        DataType::Int8 | DataType::UInt8 => (&[Bits, Sized(1)], None),
        DataType::Int16 | DataType::UInt16 | DataType::Float16 => (&[Bits, Sized(2)], None),
        DataType::Int32 | DataType::UInt32 | DataType::Float32 => (&[Bits, Sized(4)], None),
        _ => (&[Bits, Sized(8)], None),
    };
    let mut levels = vec![own];
    levels.extend(item.into_iter().flat_map(|item| layout(item.data_type())));
    levels
}

/// Returns the length. `exact` is that of a column as a whole; of the values of lists arrow checks
/// the length against the offsets.
fn check_node(node: Option<(i64, i64)>, exact: Option<i64>) -> Result<i64, Broken> {
    let (length, nulls) = node.ok_or_else(|| Broken::new("message", "a node", "none"))?;
    if let Some(expected) = exact.filter(|exact| *exact != length) {
        return Err(Broken::new("length", expected, length));
    }
    // Far above any file, and low enough that no product with a value's size overflows.
    if !(0..=1 << 48).contains(&length) {
        return Err(Broken::new("length", "0 to 2^48", length));
    }
    if !(0..=length).contains(&nulls) {
        return Err(Broken::new("nulls", format!("0 to {length}"), nulls));
    }
    Ok(length)
}

/// `compressed` is the number of values of the level, if its buffers are compressed.
fn check_buffer(
    buffer: Option<(i64, i64)>,
    body: &[u8],
    item: Item,
    compressed: Option<i64>,
) -> Result<(), Broken> {
    let (offset, length) = buffer.ok_or_else(|| Broken::new("message", "a buffer", "none"))?;
    let outside = || {
        let expected = format!("within the body of {} bytes", body.len());
        Broken::new("buffer", expected, format!("{length} bytes at {offset}"))
    };
    let start = usize::try_from(offset).map_err(|_| outside())?;
    let length = usize::try_from(length).map_err(|_| outside())?;
    let end = start.checked_add(length).filter(|end| *end <= body.len()).ok_or_else(outside)?;
    let size = match compressed {
        Some(values) if length > 0 => decompressed_size(&body[start..end], item.bytes_max(values))?,
        _ => length,
    };
    let Item::Sized(bytes) = item else { return Ok(()) };
    if !size.is_multiple_of(bytes) {
        // Arrow panics on offsets of such a size.
        return Err(Broken::new("size of buffer", format!("a multiple of {bytes}"), size));
    }
    Ok(())
}

/// The size stands in front: -1 if the rest is stored as it is.
fn decompressed_size(buffer: &[u8], size_max: i64) -> Result<usize, Broken> {
    let prefix = buffer.first_chunk::<8>();
    let prefix = prefix.ok_or_else(|| Broken::new("compressed buffer", "8 bytes", buffer.len()))?;
    let size = i64::from_le_bytes(*prefix);
    if size == -1 {
        return Ok(buffer.len() - 8);
    }
    if !(0..=size_max).contains(&size) {
        let expected = format!("a size up to {size_max}");
        return Err(Broken::new("compressed buffer", expected, size));
    }
    // A size that cannot be had must not reach arrow, which would abort the process.
    let reserved = Vec::<u8>::new().try_reserve_exact(size as usize);
    let fits = reserved.map(|()| size as usize);
    fits.map_err(|_| Broken::new("compressed buffer", "a size that fits into memory", size))
}
