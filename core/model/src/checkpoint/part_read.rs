//! Reading a part, trusting none of its bytes.
//!
//! Parts have one fixed layout, so every offset and length is checked here and the values are copied
//! out; Arrow's own reader would panic on some damaged files.

use std::path::{Path, PathBuf};

use arrow_ipc::reader::read_footer_length;
use arrow_ipc::{Footer, MessageHeader, MetadataVersion, Precision};
use rectool_base::MappedFile;
use rectool_embedding::Rows;

use super::misfit;
use super::part::{Item, PartLayout};
use crate::ModelError;

const MAGIC: &[u8; 6] = b"ARROW1";
/// Magic twice, padding and the footer's length: the least that a file has.
const FILE_BYTES_MIN: usize = 8 + 10;

/// Where a record batch lies.
#[derive(Clone, Copy)]
struct Block {
    start: usize,
    /// Bytes of metadata, before the body.
    head: usize,
    end: usize,
}

/// What does not fit: place, found, expected.
type Broken = (String, String, String);

#[expect(clippy::needless_pass_by_value, reason = "texts, numbers and errors alike, once")]
fn broken(what: &str, found: impl ToString, expected: impl ToString) -> Broken {
    (what.to_owned(), found.to_string(), expected.to_string())
}

/// The rows of a part, one record batch at a time.
pub(super) struct PartReader {
    path: PathBuf,
    layout: PartLayout,
    file: MappedFile,
    blocks: std::vec::IntoIter<Block>,
    /// Rows that are still to come.
    rows: u64,
}

impl PartReader {
    /// Opens a part of `rows` rows.
    pub(super) fn open(path: &Path, layout: PartLayout, rows: u64) -> Result<Self, ModelError> {
        let file = MappedFile::open(path).map_err(ModelError::io("reading", path))?;
        let blocks = blocks(file.bytes(), layout).map_err(|broken| named(path, broken))?;
        Ok(Self { path: path.to_owned(), layout, file, blocks: blocks.into_iter(), rows })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next rows; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<Rows>, ModelError> {
        let Some(block) = self.blocks.next() else {
            if self.rows == 0 {
                return Ok(None);
            }
            let expected = format!("{} more", self.rows);
            return Err(misfit(&self.path, "rows", "the end of the file", expected));
        };
        let data = &self.file.bytes()[block.start..block.end];
        let rows = batch(data, block.head, self.layout, self.rows)
            .map_err(|broken| named(&self.path, broken))?;
        self.rows -= rows.keys.len() as u64;
        Ok(Some(rows))
    }
}

fn named(path: &Path, (what, found, expected): Broken) -> ModelError {
    misfit(path, &what, found, expected)
}

/// Checks footer and schema; gives the record batches.
fn blocks(bytes: &[u8], layout: PartLayout) -> Result<Vec<Block>, Broken> {
    if bytes.len() < FILE_BYTES_MIN || &bytes[..6] != MAGIC {
        return Err(broken("start of file", "something else", "`ARROW1`"));
    }
    let end = bytes.len() - 10;
    let tail = bytes[end..].try_into().expect("ten bytes");
    let length = read_footer_length(tail)
        .map_err(|error| broken("end of file", error, "an Arrow footer"))?;
    let start = end.checked_sub(length).filter(|start| *start >= 8);
    let start = start.ok_or_else(|| broken("length of the footer", length, "a smaller one"))?;
    // A copy, because flatbuffers must be aligned and the footer need not be.
    let footer = bytes[start..end].to_vec();
    let footer = arrow_ipc::root_as_footer(&footer)
        .map_err(|error| broken("footer", error, "an Arrow footer"))?;
    if footer.version() != MetadataVersion::V4 && footer.version() != MetadataVersion::V5 {
        return Err(broken("footer", format!("{:?}", footer.version()), "metadata V4 or V5"));
    }
    check_schema(footer, layout)?;
    let block = |block: &arrow_ipc::Block| {
        let start = usize::try_from(block.offset()).ok()?;
        let head = usize::try_from(block.metaDataLength()).ok().filter(|head| *head >= 8)?;
        let body = usize::try_from(block.bodyLength()).ok()?;
        let end = start.checked_add(head)?.checked_add(body)?;
        (end <= bytes.len()).then_some(Block { start, head, end })
    };
    let within = format!("within the file's {} bytes", bytes.len());
    let listed = footer.recordBatches().into_iter().flatten();
    let listed = listed.map(|at| {
        block(at).ok_or_else(|| broken("place of a record batch", format!("{at:?}"), &within))
    });
    listed.collect()
}

fn check_schema(footer: Footer<'_>, layout: PartLayout) -> Result<(), Broken> {
    let schema = footer.schema().ok_or_else(|| broken("footer", "no schema", "a schema"))?;
    let fields: Vec<_> = schema.fields().into_iter().flatten().collect();
    let columns = layout.columns();
    let fits = |field: &arrow_ipc::Field<'_>, item: Item| match item {
        Item::U64 | Item::U32 => field.type_as_int().is_some_and(|int| {
            int.bitWidth() == if item == Item::U64 { 64 } else { 32 } && !int.is_signed()
        }),
        Item::Floats(width) => {
            let size = field.type_as_fixed_size_list().map(|list| list.listSize());
            let items: Vec<_> = field.children().into_iter().flatten().collect();
            let [item] = items[..] else { return false };
            let float = item.type_as_floating_point();
            size.is_some_and(|size| i64::from(size) == width as i64)
                && float.is_some_and(|float| float.precision() == Precision::SINGLE)
                && item.dictionary().is_none()
        }
    };
    let fit = fields.len() == columns.len()
        && fields.iter().zip(&columns).all(|(field, (name, item))| {
            field.name() == Some(name) && field.dictionary().is_none() && fits(field, *item)
        });
    if fit {
        return Ok(());
    }
    let found: Vec<_> = fields
        .iter()
        .map(|field| {
            let list = field.type_as_fixed_size_list();
            let width = list.map(|list| format!("[{}]", list.listSize())).unwrap_or_default();
            format!("{} {:?}{width}", field.name().unwrap_or_default(), field.type_type())
        })
        .collect();
    Err(broken("columns", found.join(", "), format!("{columns:?}")))
}

/// The rows of a record batch of at most `rows_max` rows; `head` bytes of metadata come before its
/// body.
fn batch(data: &[u8], head: usize, layout: PartLayout, rows_max: u64) -> Result<Rows, Broken> {
    let skip = if data[..4] == [0xff; 4] { 8 } else { 4 };
    let message = data[skip..head].to_vec();
    let message = arrow_ipc::root_as_message(&message)
        .map_err(|error| broken("message", error, "an Arrow message"))?;
    let batch = (message.header_type() == MessageHeader::RecordBatch)
        .then(|| message.header_as_record_batch())
        .flatten();
    let batch = batch.ok_or_else(|| {
        broken("message", format!("{:?}", message.header_type()), "a record batch")
    })?;
    if batch.compression().is_some() {
        return Err(broken("record batch", "compressed", "not compressed"));
    }
    let rows = usize::try_from(batch.length()).ok().filter(|rows| *rows as u64 <= rows_max);
    let rows = rows.ok_or_else(|| {
        broken("rows of a record batch", batch.length(), format!("at most {rows_max} more"))
    })?;
    let nodes = batch.nodes().into_iter().flatten();
    let buffers = batch.buffers().into_iter().flatten();
    let mut body = Body {
        bytes: &data[head..],
        rows,
        nodes: nodes.map(|node| (node.length(), node.null_count())).collect::<Vec<_>>().into_iter(),
        buffers: buffers.map(|at| (at.offset(), at.length())).collect::<Vec<_>>().into_iter(),
    };
    let mut found = Rows { columns: 0..layout.dim, ..Rows::default() };
    for (name, item) in layout.columns() {
        let values = body.column(item).map_err(|(what, found, expected)| {
            (format!("column `{name}`: {what}"), found, expected)
        })?;
        match name {
            "key" => found.keys = values.chunks_exact(8).map(u64_of).collect(),
            "values" => found.values = values.chunks_exact(4).map(f32_of).collect(),
            "state" => found.state = values.chunks_exact(4).map(f32_of).collect(),
            "last_seen" => found.last_seen = values.chunks_exact(4).map(u32_of).collect(),
            _ => found.counts = values.chunks_exact(4).map(u32_of).collect(),
        }
    }
    if body.nodes.next().is_some() || body.buffers.next().is_some() {
        return Err(broken("message", "more buffers", "as many as the columns need"));
    }
    if !layout.dated {
        (found.last_seen, found.counts) = (vec![0; rows], vec![0; rows]);
    }
    Ok(found)
}

/// A record batch's body and what its message says of it.
struct Body<'a> {
    bytes: &'a [u8],
    rows: usize,
    /// Length and nulls of each level of each column.
    nodes: std::vec::IntoIter<(i64, i64)>,
    /// Offset and length.
    buffers: std::vec::IntoIter<(i64, i64)>,
}

impl<'a> Body<'a> {
    /// The values of the next column.
    fn column(&mut self, item: Item) -> Result<&'a [u8], Broken> {
        let (width, size) = match item {
            Item::U64 => (1, 8),
            Item::U32 => (1, 4),
            Item::Floats(width) => (width, 4),
        };
        let items = self.rows.checked_mul(width).filter(|items| *items <= self.bytes.len());
        let items = items.ok_or_else(|| broken("rows", self.rows, "fewer"))?;
        let own: &[usize] = if matches!(item, Item::Floats(_)) { &[self.rows] } else { &[] };
        for length in own.iter().chain([&items]) {
            let node = self.nodes.next();
            if node != Some((*length as i64, 0)) {
                let expected = format!("{length} values, none null");
                return Err(broken("length and nulls", format!("{node:?}"), expected));
            }
            // The bits that say what is null.
            self.buffers.next().ok_or_else(|| broken("buffer", "none", "one"))?;
        }
        let buffer = self.buffers.next();
        let values = buffer.and_then(|buffer| slice(self.bytes, buffer, items * size));
        values.ok_or_else(|| {
            let expected = format!("{} bytes within {}", items * size, self.bytes.len());
            broken("buffer", format!("{buffer:?}"), expected)
        })
    }
}

/// The first `bytes` bytes of a buffer, if it has them.
fn slice(body: &[u8], (offset, length): (i64, i64), bytes: usize) -> Option<&[u8]> {
    let (offset, length) = (usize::try_from(offset).ok()?, usize::try_from(length).ok()?);
    let buffer = body.get(offset..offset.checked_add(length)?)?;
    buffer.get(..bytes)
}

fn u64_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("chunks are eight bytes long"))
}

fn u32_of(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("chunks are four bytes long"))
}

/// A float of four bytes.
pub(super) fn f32_of(bytes: &[u8]) -> f32 {
    f32::from_bits(u32_of(bytes))
}
