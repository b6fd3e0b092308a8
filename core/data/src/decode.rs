//! From the bytes of a shard to values by row, trusting none of them.
//!
//! The metadata of an Arrow IPC file is checked here before arrow sees it, because arrow slices by
//! the lengths it reads and panics where they are wrong.

use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::{Block as FileBlock, Footer, MessageHeader, MetadataVersion};
use arrow_schema::{DataType, Schema as ArrowSchema};
use rectool_base::{Schema, catch_panic};

use crate::DataError;
use crate::shard_schema::{check_schema, is_packed};
use crate::values::{Values, values_of};

/// One record batch of a shard.
#[derive(Debug)]
pub(crate) struct Block {
    /// Row of the shard that it starts with.
    pub(crate) first: u64,
    pub(crate) rows: u64,
    pub(crate) columns: Vec<Values>,
}

/// Why a file is not what it should be: the place, what was expected there, what was found.
pub(crate) struct Broken {
    pub(crate) what: String,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Broken {
    #[expect(clippy::needless_pass_by_value, reason = "texts, numbers and errors alike, once")]
    pub(crate) fn new(what: &str, expected: impl ToString, found: impl ToString) -> Self {
        Self { what: what.into(), expected: expected.to_string(), found: found.to_string() }
    }
}

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
}

impl Item {
    /// The greatest size of a buffer of `values` values; writers pad to 64 bytes.
    fn bytes_max(self, values: i64) -> i64 {
        match self {
            Self::Bits | Self::Sized(_) => 8 * (values + 1) + 64,
            Self::Bytes => TEXT_BYTES_MAX,
        }
    }
}

const MAGIC: &[u8; 6] = b"ARROW1";
/// Magic twice, padding and the footer's length: the least that a file has.
const FILE_BYTES_MIN: usize = 8 + 10;

/// Decodes the whole shard in `bytes`, whose values stay where they are unless compressed,
/// misaligned or null. `rows` is what the manifest says.
pub(crate) fn decode_shard(
    path: &Path,
    bytes: &Buffer,
    schema: &Schema,
    rows: u64,
) -> Result<Vec<Block>, DataError> {
    let broken = |broken: Broken| DataError::Shard {
        path: path.to_owned(),
        what: broken.what,
        expected: broken.expected,
        found: broken.found,
    };
    // A copy, because flatbuffers must be aligned and the footer need not be.
    let footer = footer_bytes(bytes).map_err(broken)?.to_vec();
    let footer = arrow_ipc::root_as_footer(&footer)
        .map_err(|error| broken(Broken::new("footer", "an Arrow footer", error)))?;
    let file_schema = footer.schema();
    let file_schema =
        file_schema.ok_or_else(|| broken(Broken::new("footer", "a schema", "none")))?;
    let arrow = check_schema(path, file_schema, schema)?;
    decode_blocks(bytes, footer, &arrow, schema, rows).map_err(broken)
}

/// The bytes of an Arrow file's footer, not aligned.
pub(crate) fn footer_bytes(bytes: &[u8]) -> Result<&[u8], Broken> {
    if bytes.len() < FILE_BYTES_MIN || &bytes[..6] != MAGIC {
        let found = format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(6)]));
        return Err(Broken::new("start of file", "`ARROW1`", found));
    }
    let end = bytes.len() - 10;
    let tail = bytes[end..].try_into().expect("ten bytes");
    let length = read_footer_length(tail);
    let length = length.map_err(|error| Broken::new("end of file", "an Arrow footer", error))?;
    let start = end.checked_sub(length).filter(|start| *start >= 8);
    let start = start.ok_or_else(|| {
        Broken::new("length of the footer", format!("less than {end} bytes"), length)
    })?;
    Ok(&bytes[start..end])
}

fn decode_blocks(
    bytes: &Buffer,
    footer: Footer<'_>,
    arrow: &Arc<ArrowSchema>,
    schema: &Schema,
    rows: u64,
) -> Result<Vec<Block>, Broken> {
    let mut blocks = Vec::new();
    let mut first = 0;
    each_batch(bytes, footer, arrow, rows, &mut |batch| {
        let columns = take_columns(&batch, schema)?;
        let batch_rows = batch.num_rows() as u64;
        if batch_rows > 0 {
            blocks.push(Block { first, rows: batch_rows, columns });
        }
        first += batch_rows;
        Ok(())
    })?;
    if first != rows {
        return Err(Broken::new("rows", rows, first));
    }
    Ok(blocks)
}

/// Hands every record batch of a file to `take`; together they have at most `rows_max` rows.
pub(crate) fn each_batch(
    bytes: &Buffer,
    footer: Footer<'_>,
    arrow: &Arc<ArrowSchema>,
    rows_max: u64,
    take: &mut dyn FnMut(RecordBatch) -> Result<(), Broken>,
) -> Result<(), Broken> {
    if footer.dictionaries().is_some_and(|blocks| !blocks.is_empty()) {
        return Err(Broken::new("footer", "no dictionaries", "some"));
    }
    let version = footer.version();
    if version != MetadataVersion::V4 && version != MetadataVersion::V5 {
        return Err(Broken::new("footer", "Arrow metadata V4 or V5", format!("{version:?}")));
    }
    let decoder = FileDecoder::new(Arc::clone(arrow), version);
    let mut rows_left = rows_max;
    for (at, block) in footer.recordBatches().into_iter().flatten().enumerate() {
        let batch = decode_batch(bytes, block, &decoder, arrow, rows_left);
        let batch = batch.map_err(|broken| Broken {
            what: format!("record batch {at}: {}", broken.what),
            ..broken
        })?;
        rows_left -= batch.num_rows() as u64;
        take(batch)?;
    }
    Ok(())
}

fn take_columns(batch: &RecordBatch, schema: &Schema) -> Result<Vec<Values>, Broken> {
    let columns = schema.columns().iter().zip(batch.columns());
    let values = columns.map(|(column, array)| {
        values_of(array, column.kind, is_packed(column)).ok_or_else(|| {
            let what = format!("column `{}`", column.name);
            Broken::new(&what, "values as the schema says", array.data_type())
        })
    });
    values.collect()
}

fn decode_batch(
    bytes: &Buffer,
    block: &FileBlock,
    decoder: &FileDecoder,
    arrow: &ArrowSchema,
    rows_max: u64,
) -> Result<RecordBatch, Broken> {
    let outside = || {
        let found = format!("{block:?}");
        Broken::new("place", format!("within the file's {} bytes", bytes.len()), found)
    };
    let offset = usize::try_from(block.offset()).map_err(|_| outside())?;
    let head = usize::try_from(block.metaDataLength()).map_err(|_| outside())?;
    let body = usize::try_from(block.bodyLength()).map_err(|_| outside())?;
    let length = head.checked_add(body).filter(|_| head >= 8).ok_or_else(outside)?;
    let end = offset.checked_add(length).filter(|end| *end <= bytes.len());
    end.ok_or_else(outside)?;
    let data = bytes.slice_with_length(offset, length);
    check_message(&data, head, arrow, rows_max)?;
    // What check_message has passed is not known to make arrow panic; a hole in that would end one
    // rank and hang the others, so it becomes an error all the same.
    let decoded = catch_panic(|| decoder.read_record_batch(block, &data));
    let decoded = decoded.map_err(|panic| {
        let found = format!("what the Arrow reader gives up on: {panic}");
        Broken::new("content", "a record batch", found)
    })?;
    let batch = decoded.map_err(|error| Broken::new("content", "a record batch", error))?;
    batch.ok_or_else(|| Broken::new("content", "a record batch", "nothing"))
}

/// Checks every length and offset in the message of a record batch. `head` bytes of metadata come
/// before the body.
fn check_message(
    data: &[u8],
    head: usize,
    arrow: &ArrowSchema,
    rows_max: u64,
) -> Result<(), Broken> {
    let skip = if data[..4] == [0xff; 4] { 8 } else { 4 };
    let message = arrow_ipc::root_as_message(&data[skip..])
        .map_err(|error| Broken::new("message", "an Arrow message", error))?;
    let batch = (message.header_type() == MessageHeader::RecordBatch)
        .then(|| message.header_as_record_batch())
        .flatten();
    let batch = batch.ok_or_else(|| {
        Broken::new("message", "a record batch", format!("{:?}", message.header_type()))
    })?;
    let rows = batch.length();
    if u64::try_from(rows).is_ok_and(|rows| rows > rows_max) || rows < 0 {
        return Err(Broken::new("rows", format!("at most {rows_max} more"), rows));
    }
    let mut nodes = batch.nodes().into_iter().flatten();
    let mut buffers = batch.buffers().into_iter().flatten();
    let body = &data[head..];
    let compressed = batch.compression().is_some();
    for field in arrow.fields() {
        let in_column = |broken: Broken| Broken {
            what: format!("column `{}`: {}", field.name(), broken.what),
            ..broken
        };
        for (depth, items) in layout(field.data_type()).into_iter().enumerate() {
            let node = nodes.next().map(|node| (node.length(), node.null_count()));
            let values = check_node(node, (depth == 0).then_some(rows)).map_err(in_column)?;
            for item in items {
                let buffer = buffers.next().map(|buffer| (buffer.offset(), buffer.length()));
                let compressed = compressed.then_some(values);
                check_buffer(buffer, body, *item, compressed).map_err(in_column)?;
            }
        }
    }
    if nodes.next().is_some() || buffers.next().is_some() {
        return Err(Broken::new("message", "as many buffers as the schema needs", "more"));
    }
    Ok(())
}

/// The buffers of each nesting level of a column, by what they hold.
fn layout(data_type: &DataType) -> Vec<&'static [Item]> {
    use Item::{Bits, Bytes, Sized};
    let (own, item): (&[Item], _) = match data_type {
        DataType::FixedSizeList(item, _) => (&[Bits], Some(item)),
        DataType::List(item) => (&[Bits, Sized(4)], Some(item)),
        DataType::LargeList(item) => (&[Bits, Sized(8)], Some(item)),
        DataType::Utf8 => (&[Bits, Sized(4), Bytes], None),
        DataType::LargeUtf8 => (&[Bits, Sized(8), Bytes], None),
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
