//! The pipeline of the text formats: read and write on one thread while the others parse.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use rectool_base::Schema;

use super::chunks::{CHUNK_BYTES, Chunk, Chunks, CutError};
use super::parsed::Parsed;
use super::recode::Recoding;
use super::sink::{InputFile, Inputs, Sink};
use super::{ImportOptions, ImportSummary, OnProgress, SplitRule, input};
use crate::DataError;

/// Chunks parsed side by side. More would not raise the speed of one decompressing reader, and
/// each costs about ten MiB.
const CHUNKS_TOGETHER: usize = 8;
/// Bytes in which a file shows its format.
const FIRST_BYTES: usize = 64 << 10;

/// A text format: how a file begins and how its rows are parsed.
pub(super) trait TextFormat: Sync {
    fn schema(&self) -> &Schema;

    /// The delimiter, if quoted fields may hold line ends.
    fn quoted(&self) -> Option<u8>;

    /// What is changed in the text first.
    fn recoding(&self) -> Recoding {
        Recoding::default()
    }

    /// The parser of a file that begins with `first`, and how many bytes of it are header.
    fn parser(
        &self,
        path: &Path,
        first: &Chunk,
    ) -> Result<(Box<dyn RowParser + '_>, usize), DataError>;
}

/// Parses whole rows.
pub(super) trait RowParser: Sync {
    fn parse(&self, chunk: &Chunk, parsed: &mut Parsed);

    /// The number of records that [`RowParser::parse`] finds.
    fn count(&self, chunk: &Chunk) -> u64;
}

/// Where and how a text import runs.
pub(super) struct TextImport<'a> {
    pub(super) splits: &'a SplitRule,
    pub(super) out: &'a Path,
    pub(super) options: &'a ImportOptions,
    pub(super) on_progress: OnProgress<'a>,
    pub(super) chunk_bytes: usize,
}

impl<'a> TextImport<'a> {
    pub(super) fn new(
        splits: &'a SplitRule,
        out: &'a Path,
        options: &'a ImportOptions,
        on_progress: OnProgress<'a>,
    ) -> Self {
        Self { splits, out, options, on_progress, chunk_bytes: CHUNK_BYTES }
    }

    pub(super) fn run(&self, format: &dyn TextFormat) -> Result<ImportSummary, DataError> {
        let inputs = Inputs::new(self.splits)?;
        let files = inputs.files.clone();
        let needs_count = inputs.fractions.is_some();
        let mut sink = Sink::new(inputs, format.schema(), self.out, self.options)?;
        let mut read = || -> Result<(), DataError> {
            if needs_count {
                let mut records = 0;
                for file in &files {
                    records += self.count_file(format, file, &sink)?;
                }
                sink.set_records(records);
            }
            for file in &files {
                self.import_file(format, file, &mut sink)?;
            }
            Ok(())
        };
        let read = read();
        sink.finish(read)
    }

    fn open(
        &self,
        format: &dyn TextFormat,
        file: &InputFile,
        sink: &Sink,
    ) -> Result<FileChunks, DataError> {
        let reader = input::open(&file.path, sink.bytes_read())?;
        let chunks = Chunks::new(reader, self.chunk_bytes, format.quoted());
        let (recoding, path) = (format.recoding(), file.path.clone());
        Ok(FileChunks { chunks, recoding, first: None, path, line: 1 })
    }

    fn count_file(
        &self,
        format: &dyn TextFormat,
        file: &InputFile,
        sink: &Sink,
    ) -> Result<u64, DataError> {
        let mut chunks = self.open(format, file, sink)?;
        let Some((parser, _)) = chunks.begin(format)? else { return Ok(0) };
        let mut records = 0;
        let mut wave = chunks.wave()?;
        while !wave.is_empty() {
            let count = || wave.par_iter().map(|chunk| parser.count(chunk)).sum::<u64>();
            let (counted, next) = rayon::join(count, || chunks.wave());
            records += counted;
            wave = next?;
            sink.report(self.on_progress);
        }
        Ok(records)
    }

    fn import_file(
        &self,
        format: &dyn TextFormat,
        file: &InputFile,
        sink: &mut Sink,
    ) -> Result<(), DataError> {
        let mut chunks = self.open(format, file, sink)?;
        let Some((parser, line)) = chunks.begin(format)? else { return Ok(()) };
        sink.begin_file(line);
        let parse = |chunk: &Chunk| {
            let mut parsed = Parsed::new(format.schema());
            parser.parse(chunk, &mut parsed);
            parsed.lines = line_ends(&chunk.bytes);
            parsed
        };
        let mut wave = chunks.wave()?;
        let mut done: Vec<Parsed> = Vec::new();
        while !wave.is_empty() || !done.is_empty() {
            let (parsed, next) = rayon::join(
                || wave.par_iter().map(parse).collect::<Vec<_>>(),
                || {
                    for parsed in done.drain(..) {
                        sink.accept(file, &parsed)?;
                    }
                    chunks.wave()
                },
            );
            done = parsed;
            wave = match next {
                Ok(next) => next,
                Err(error) => {
                    // What was read before the place of the error may already be too bad.
                    for parsed in &done {
                        sink.accept(file, parsed)?;
                    }
                    return Err(error);
                }
            };
            sink.report(self.on_progress);
        }
        Ok(())
    }
}

#[expect(clippy::naive_bytecount, reason = "compiled to vector code, and no bottleneck")]
pub(super) fn line_ends(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// The lines without their ends, blank ones as well.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// The first lines of a file without quotes, from which its format is read.
pub(super) fn first_chunk(path: &Path, recoding: &Recoding) -> Result<Chunk, DataError> {
    let reader = input::open(path, &Arc::default())?;
    let input_error =
        |what: &str| DataError::Input { file: path.to_owned(), line: 1, what: what.to_owned() };
    let first = Chunks::new(reader, FIRST_BYTES, None).next().map_err(|error| match error {
        CutError::Read(source) => DataError::Io { path: path.to_owned(), source },
        CutError::RowTooLong => input_error("the first line is longer than 64 MiB"),
    })?;
    let first = first.ok_or_else(|| input_error("the file is empty"))?;
    Ok(Chunk { bytes: recoding.apply(first.bytes), ..first })
}

/// A file's parser and the line of its first row.
type Begun<'f> = (Box<dyn RowParser + 'f>, u64);

/// The chunks of one file, without its header.
struct FileChunks {
    chunks: Chunks,
    recoding: Recoding,
    first: Option<Chunk>,
    path: std::path::PathBuf,
    /// Line of the next chunk.
    line: u64,
}

impl FileChunks {
    /// Reads the header, if the format has one: the parser and the line of the first row, or `None`
    /// if the file is empty.
    fn begin<'f>(&mut self, format: &'f dyn TextFormat) -> Result<Option<Begun<'f>>, DataError> {
        let Some(mut first) = self.next()? else { return Ok(None) };
        let (parser, header) = format.parser(&self.path, &first)?;
        let line = 1 + line_ends(&first.bytes[..header]);
        first.bytes.drain(..header);
        self.first = Some(first);
        Ok(Some((parser, line)))
    }

    /// The next few chunks; none at the end.
    fn wave(&mut self) -> Result<Vec<Chunk>, DataError> {
        let count = rayon::current_num_threads().min(CHUNKS_TOGETHER);
        let mut wave: Vec<Chunk> = self.first.take().into_iter().collect();
        while wave.len() < count {
            match self.next()? {
                Some(chunk) => wave.push(chunk),
                None => break,
            }
        }
        Ok(wave)
    }

    fn next(&mut self) -> Result<Option<Chunk>, DataError> {
        let chunk = self.chunks.next().map_err(|error| match error {
            CutError::Read(source) => DataError::Io { path: self.path.clone(), source },
            CutError::RowTooLong => DataError::Input {
                file: self.path.clone(),
                line: self.line,
                what: "a row of more than 64 MiB, perhaps a quote that is never closed".into(),
            },
        })?;
        Ok(chunk.map(|chunk| {
            self.line += line_ends(&chunk.bytes);
            Chunk { bytes: self.recoding.apply(chunk.bytes), ..chunk }
        }))
    }
}
