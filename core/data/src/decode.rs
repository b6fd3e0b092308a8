//! From the bytes of a shard to values by row, trusting none of them.
//!
//! The metadata of an Arrow IPC file is checked here before arrow sees it, because arrow slices by
//! the lengths it reads and panics where they are wrong.

mod message;

use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::{Block as FileBlock, Footer, Message, MetadataVersion};
use arrow_schema::{ArrowError, DataType, Field, Schema as ArrowSchema};
use rectool_base::{Schema, catch_panic};

use crate::DataError;
use crate::shard_schema::{check_schema, is_packed};
use crate::values::{Values, values_of};
use message::check_batch;

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
    if footer.dictionaries().is_some_and(|blocks| !blocks.is_empty()) {
        return Err(Broken::new("footer", "no dictionaries", "some"));
    }
    let all = (0..arrow.fields().len()).collect();
    let columns = FileColumns { schema: Arc::clone(arrow), read: all, dictionaries: Vec::new() };
    let mut blocks = Vec::new();
    let mut first = 0;
    each_batch(bytes, footer, &columns, rows, &mut |batch| {
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

/// The columns of a file.
pub(crate) struct FileColumns {
    /// Their types, those of columns that are not read only so far as it takes to skip them.
    pub(crate) schema: Arc<ArrowSchema>,
    /// Positions of those that are read, in the order in which they are wanted.
    pub(crate) read: Vec<usize>,
    /// Ids and types of the dictionaries that their values are in.
    pub(crate) dictionaries: Vec<(i64, DataType)>,
}

/// Hands every record batch of a file to `take`, with the columns that are read; together they have at most
/// `rows_max` rows.
pub(crate) fn each_batch(
    bytes: &Buffer,
    footer: Footer<'_>,
    columns: &FileColumns,
    rows_max: u64,
    take: &mut dyn FnMut(RecordBatch) -> Result<(), Broken>,
) -> Result<(), Broken> {
    let version = footer.version();
    if version != MetadataVersion::V4 && version != MetadataVersion::V5 {
        return Err(Broken::new("footer", "Arrow metadata V4 or V5", format!("{version:?}")));
    }
    let decoder = FileDecoder::new(Arc::clone(&columns.schema), version);
    let mut decoder = decoder.with_projection(columns.read.clone());
    let in_place = |name: &str, at: usize| {
        let name = format!("{name} {at}");
        move |broken: Broken| Broken { what: format!("{name}: {}", broken.what), ..broken }
    };
    for (at, block) in footer.dictionaries().into_iter().flatten().enumerate() {
        let read = read_dictionary(bytes, block, &mut decoder, columns, rows_max);
        read.map_err(in_place("dictionary", at))?;
    }
    let mut rows_left = rows_max;
    for (at, block) in footer.recordBatches().into_iter().flatten().enumerate() {
        let batch = decode_batch(bytes, block, &decoder, columns, rows_left);
        let batch = batch.map_err(in_place("record batch", at))?;
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
    columns: &FileColumns,
    rows_max: u64,
) -> Result<RecordBatch, Broken> {
    let (data, head) = data_of(bytes, block)?;
    let batch = header_of(&data, "a record batch", Message::header_as_record_batch)?;
    let fields = columns.schema.fields().iter().enumerate();
    let fields = fields.map(|(at, field)| (&**field, columns.read.contains(&at)));
    check_batch(batch, &data[head..], fields, rows_max)?;
    let batch = decoded("a record batch", || decoder.read_record_batch(block, &data))?;
    batch.ok_or_else(|| Broken::new("content", "a record batch", "nothing"))
}

/// Reads a dictionary, if a column that is read has its values there.
fn read_dictionary(
    bytes: &Buffer,
    block: &FileBlock,
    decoder: &mut FileDecoder,
    columns: &FileColumns,
    rows_max: u64,
) -> Result<(), Broken> {
    let (data, head) = data_of(bytes, block)?;
    let dictionary = header_of(&data, "a dictionary", Message::header_as_dictionary_batch)?;
    let known = columns.dictionaries.iter().find(|(id, _)| *id == dictionary.id());
    let Some((_, values)) = known else { return Ok(()) };
    let batch = dictionary.data();
    let batch = batch.ok_or_else(|| Broken::new("dictionary", "values", "none"))?;
    let values = Field::new("values", values.clone(), true);
    check_batch(batch, &data[head..], std::iter::once((&values, true)), rows_max)?;
    decoded("a dictionary", || decoder.read_dictionary(block, &data))
}

/// The bytes of a message with its body, and those before the body.
fn data_of(bytes: &Buffer, block: &FileBlock) -> Result<(Buffer, usize), Broken> {
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
    Ok((bytes.slice_with_length(offset, length), head))
}

/// The header of a message, which is to be `expected`.
fn header_of<'a, T>(
    data: &'a [u8],
    expected: &str,
    header: impl FnOnce(&Message<'a>) -> Option<T>,
) -> Result<T, Broken> {
    let skip = if data[..4] == [0xff; 4] { 8 } else { 4 };
    let message = arrow_ipc::root_as_message(&data[skip..]);
    let message = message.map_err(|error| Broken::new("message", "an Arrow message", error))?;
    let unlike = || Broken::new("message", expected, format!("{:?}", message.header_type()));
    header(&message).ok_or_else(unlike)
}

/// What check_batch has passed is not known to make arrow panic; a hole in that would end one rank and hang
/// the others, so it becomes an error all the same.
fn decoded<T>(expected: &str, decode: impl FnOnce() -> Result<T, ArrowError>) -> Result<T, Broken> {
    let found = match catch_panic(decode) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => format!("what the Arrow reader gives up on: {panic}"),
    };
    Err(Broken::new("content", expected, found))
}
