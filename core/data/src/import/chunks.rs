//! Cuts a stream of text into chunks that end where a row ends.

use std::io::{self, Read};

/// Bytes per chunk: large enough that a chunk's overhead does not show, small enough that a few per
/// core stay in the tens of MiB.
pub(super) const CHUNK_BYTES: usize = 4 << 20;
/// No row is longer: an unclosed quote would otherwise take in the rest of the file.
const ROW_BYTES_MAX: usize = 64 << 20;
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whole rows of text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    /// The last row ends with the file, within a quoted field.
    pub(super) unclosed: bool,
}

/// Why there is no next chunk.
#[derive(Debug)]
pub(super) enum CutError {
    Read(io::Error),
    /// A row longer than [`ROW_BYTES_MAX`].
    RowTooLong,
}

/// Rows of a stream in chunks.
pub(super) struct Chunks {
    reader: Box<dyn Read + Send>,
    chunk_bytes: usize,
    /// The delimiter, if fields may be quoted and then hold line ends.
    quoted: Option<u8>,
    /// The start of the next chunk, which was read with the last one.
    carry: Vec<u8>,
    at_start: bool,
    at_end: bool,
}

impl Chunks {
    pub(super) fn new(
        reader: Box<dyn Read + Send>,
        chunk_bytes: usize,
        quoted: Option<u8>,
    ) -> Self {
        Self { reader, chunk_bytes, quoted, carry: Vec::new(), at_start: true, at_end: false }
    }

    /// The next chunk; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Chunk>, CutError> {
        let mut bytes = std::mem::take(&mut self.carry);
        let mut wanted = self.chunk_bytes.max(1);
        loop {
            self.fill(&mut bytes, wanted).map_err(CutError::Read)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            let (end, in_quotes) = self.last_row_end(&bytes);
            if self.at_end {
                return Ok(Some(Chunk { bytes, unclosed: in_quotes }));
            }
            if let Some(end) = end {
                self.carry = bytes.split_off(end);
                return Ok(Some(Chunk { bytes, unclosed: false }));
            }
            if bytes.len() >= ROW_BYTES_MAX {
                return Err(CutError::RowTooLong);
            }
            wanted = 2 * bytes.len().max(self.chunk_bytes);
        }
    }

    /// Reads until `bytes` holds `wanted` bytes or the stream ends.
    fn fill(&mut self, bytes: &mut Vec<u8>, wanted: usize) -> io::Result<()> {
        let missing = wanted.saturating_sub(bytes.len());
        if missing > 0 && !self.at_end {
            bytes.reserve_exact(missing);
            let read = (&mut self.reader).take(missing as u64).read_to_end(bytes)?;
            self.at_end = read < missing;
        }
        // The mark may come in pieces, so it is looked for once three bytes are there.
        if self.at_start && (bytes.len() >= UTF8_MARK.len() || self.at_end) {
            self.at_start = false;
            if bytes.starts_with(UTF8_MARK) {
                bytes.drain(..UTF8_MARK.len());
                if bytes.is_empty() && !self.at_end {
                    return self.fill(bytes, wanted);
                }
            }
        }
        Ok(())
    }

    /// Where the last whole row of `bytes`, which begin with a row, ends; and whether what follows
    /// ends within quotes.
    fn last_row_end(&self, bytes: &[u8]) -> (Option<usize>, bool) {
        match self.quoted {
            Some(delimiter) if bytes.contains(&b'"') => last_row_end_quoted(bytes, delimiter),
            _ => (bytes.iter().rposition(|&byte| byte == b'\n').map(|at| at + 1), false),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    FieldStart,
    Field,
    Quoted,
    /// After a quote within a quoted field: the field's end, or half of a doubled quote.
    QuoteInQuoted,
}

/// The rules of RFC 4180, as the csv crate reads them: a quote opens a quoted field only at the
/// field's start, and a doubled one does not close it.
fn last_row_end_quoted(bytes: &[u8], delimiter: u8) -> (Option<usize>, bool) {
    let mut place = Place::FieldStart;
    let mut end = None;
    for (at, &byte) in bytes.iter().enumerate() {
        place = match (place, byte) {
            (Place::Quoted, b'"') => Place::QuoteInQuoted,
            (Place::FieldStart | Place::QuoteInQuoted, b'"') | (Place::Quoted, _) => Place::Quoted,
            (_, b'\n') => {
                end = Some(at + 1);
                Place::FieldStart
            }
            (_, b'\r') => Place::FieldStart,
            (_, other) if other == delimiter => Place::FieldStart,
            _ => Place::Field,
        };
    }
    (end, place == Place::Quoted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(text: &[u8], chunk_bytes: usize, quoted: Option<u8>) -> Vec<Chunk> {
        let reader = Box::new(io::Cursor::new(text.to_vec()));
        let mut chunks = Chunks::new(reader, chunk_bytes, quoted);
        std::iter::from_fn(|| chunks.next().unwrap()).collect()
    }

    #[test]
    fn chunks_end_with_rows() {
        for chunk_bytes in 1..20 {
            let chunks = cut(b"\xef\xbb\xbfa\nbb\n\nccc", chunk_bytes, None);
            let joined: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.clone()).collect();
            assert_eq!(joined, b"a\nbb\n\nccc", "chunks of {chunk_bytes} bytes");
            for chunk in &chunks[..chunks.len() - 1] {
                assert_eq!(chunk.bytes.last(), Some(&b'\n'), "chunks of {chunk_bytes} bytes");
            }
        }
    }

    #[test]
    fn quoted_line_ends_are_no_row_ends() {
        let text = b"1,\"a\nb\"\n2,\"c\"\"\n\"\n3,d\"\n4,e\n";
        for chunk_bytes in 1..30 {
            for chunk in cut(text, chunk_bytes, Some(b',')) {
                assert!(chunk.bytes[0].is_ascii_digit(), "{chunk:?} of {chunk_bytes} bytes");
            }
        }
    }

    #[test]
    fn an_unclosed_quote_is_told() {
        let chunks = cut(b"1,a\n2,\"b\n3,c\n", 4, Some(b','));
        assert!(chunks.last().unwrap().unclosed);
        assert!(!cut(b"1,\"a\"", 4, Some(b',')).last().unwrap().unclosed);
    }

    fn rows(text: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
        let rows = reader.byte_records().map(Result::unwrap);
        rows.map(|row| row.iter().map(<[u8]>::to_vec).collect()).collect()
    }

    proptest! {
        #[test]
        fn cuts_never_change_what_the_csv_crate_reads(
            text in "[a\",\r\n]{0,40}", chunk_bytes in 1usize..12,
        ) {
            let whole = rows(text.as_bytes());
            let chunks = cut(text.as_bytes(), chunk_bytes, Some(b','));
            let cut: Vec<_> = chunks.iter().flat_map(|chunk| rows(&chunk.bytes)).collect();
            prop_assert_eq!(cut, whole);
        }
    }
}
