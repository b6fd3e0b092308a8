//! Parquet files: row groups decoded side by side, rows taken in order.

mod convert;

use std::fs::File;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use crossbeam_channel::{Receiver, Sender, bounded};
use rectool_base::ColumnKind;

use super::columns::{ColumnSpec, Layout};
use super::parsed::Parsed;
use super::sink::{InputFile, Inputs, Sink};
use super::{ImportOptions, ImportSummary, OnProgress, SplitRule};
use crate::DataError;
use crate::guarded::guarded;

const BATCH_ROWS: usize = 8_192;
/// Bytes of decoded rows that wait for their turn, over all threads.
const WAITING_BYTES: usize = 128 << 20;
/// Row groups decoded side by side: each holds its compressed pages and its waiting rows.
const THREADS_MAX: usize = 8;

/// Imports Parquet files.
///
/// Numbers of any type become `f32` or, as ids, `i64` (`u64` keeps its bits; a float must be whole);
/// texts and dictionaries of them are hashed as in CSV, or kept where [`ColumnSpec`] says so; lists of
/// either become list columns, and so does a text column with separators. Null is missing. A row is bad if a value cannot be taken so.
///
/// # Errors
/// [`DataError::Parquet`] for a file that is not Parquet; [`DataError::Input`] for a column of another type;
/// [`DataError::Schema`] for columns that do not exist; and as [`super::criteo`].
///
/// # Determinism
/// The same shards for any number of threads.
pub fn parquet(
    spec: &ColumnSpec,
    splits: &SplitRule,
    out: &Path,
    options: &ImportOptions,
    on_progress: OnProgress,
) -> Result<ImportSummary, DataError> {
    let inputs = Inputs::new(splits)?;
    let mut files = Vec::new();
    for file in &inputs.files {
        files.push(ParquetFile::open(file)?);
    }
    let layout = Layout::resolve(spec, &files[0].names())?;
    for file in &mut files {
        file.positions = layout
            .positions(&file.names())
            .map_err(|error| input_error(&file.input.path, 0, &error.to_string()))?;
    }
    let mut sink = Sink::new(inputs, &layout.schema, out, options)?;
    sink.set_records(files.iter().map(ParquetFile::rows).sum());
    let read = import(&files, &layout, &mut sink, on_progress);
    let mut summary = sink.finish(read)?;
    summary.left_out = layout.left_out;
    Ok(summary)
}

fn input_error(path: &Path, row: u64, what: &str) -> DataError {
    DataError::Input { file: path.to_owned(), line: row + 1, what: what.to_owned() }
}

struct ParquetFile {
    input: InputFile,
    metadata: ArrowReaderMetadata,
    positions: Vec<usize>,
}

impl ParquetFile {
    fn open(input: &InputFile) -> Result<Self, DataError> {
        let file = File::open(&input.path).map_err(DataError::io(&input.path))?;
        let options = ArrowReaderOptions::default();
        let metadata = guarded(&input.path, 0, || ArrowReaderMetadata::load(&file, options))?;
        Ok(Self { input: input.clone(), metadata, positions: Vec::new() })
    }

    fn names(&self) -> Vec<String> {
        self.metadata.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    fn rows(&self) -> u64 {
        self.metadata.metadata().file_metadata().num_rows().max(0) as u64
    }
}

/// One row group: where it is, and where its rows go. The sender is taken by the thread that
/// decodes it; its end is the end of the row group.
struct Task {
    file: usize,
    group: usize,
    row_first: u64,
    bytes: u64,
    sender: Mutex<Option<Sender<Result<Parsed, DataError>>>>,
}

fn import(
    files: &[ParquetFile],
    layout: &Layout,
    sink: &mut Sink,
    on_progress: OnProgress,
) -> Result<(), DataError> {
    let threads = rayon::current_num_threads().min(THREADS_MAX);
    let (tasks, receivers) = plan(files, layout, threads);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || decode_tasks(files, layout, &Shared { tasks: &tasks, next: &next, stop: &stop });
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
        let taken = take_in_order(files, &tasks, receivers, sink, on_progress);
        stop.store(true, Ordering::Relaxed);
        taken
    })
}

struct Shared<'a> {
    tasks: &'a [Task],
    next: &'a AtomicUsize,
    stop: &'a AtomicBool,
}

fn plan(
    files: &[ParquetFile],
    layout: &Layout,
    threads: usize,
) -> (Vec<Task>, Vec<Receiver<Result<Parsed, DataError>>>) {
    let row_bytes: usize = layout
        .schema
        .columns()
        .iter()
        .map(|column| match column.kind {
            ColumnKind::F32 { width } => 4 * width,
            ColumnKind::I64 { width } => 8 * width,
            // A guess: how long lists are shows only later.
            _ => 64,
        })
        .sum();
    let waiting = (WAITING_BYTES / (threads * BATCH_ROWS * row_bytes)).clamp(2, 64);
    let (mut tasks, mut receivers) = (Vec::new(), Vec::new());
    for (file, of) in files.iter().enumerate() {
        let mut row_first = 0;
        for (group, metadata) in of.metadata.metadata().row_groups().iter().enumerate() {
            let (sender, receiver) = bounded(waiting);
            let bytes = metadata.compressed_size().max(0) as u64;
            let sender = Mutex::new(Some(sender));
            tasks.push(Task { file, group, row_first, bytes, sender });
            receivers.push(receiver);
            row_first += metadata.num_rows().max(0) as u64;
        }
    }
    (tasks, receivers)
}

/// Tasks are started in order, so the one whose rows are taken next is always being decoded.
fn decode_tasks(files: &[ParquetFile], layout: &Layout, shared: &Shared) {
    loop {
        let at = shared.next.fetch_add(1, Ordering::Relaxed);
        let Some(task) = shared.tasks.get(at) else { return };
        let sender = task.sender.lock().expect("no thread panics while it holds this").take();
        let sender = sender.expect("each task is taken once");
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let file = &files[task.file];
        if let Err(error) = decode(file, task, layout, &sender) {
            // Nobody listens any more if the import has failed elsewhere.
            let _ = sender.send(Err(error));
        }
    }
}

fn decode(
    file: &ParquetFile,
    task: &Task,
    layout: &Layout,
    sender: &Sender<Result<Parsed, DataError>>,
) -> Result<(), DataError> {
    let path = &file.input.path;
    let mut row = task.row_first;
    let input = File::open(path).map_err(DataError::io(path))?;
    let mut reader = guarded(path, row, || {
        let metadata = file.metadata.clone();
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(input, metadata);
        let wanted = file.positions.iter().copied();
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        let builder = builder.with_projection(mask).with_row_groups(vec![task.group]);
        builder.with_batch_size(BATCH_ROWS).build()
    })?;
    while let Some(batch) = guarded(path, row, || reader.next().transpose())? {
        let parsed = convert::rows_of(&batch, layout);
        let parsed = parsed.map_err(|what| input_error(path, row, &what))?;
        if sender.send(Ok(parsed)).is_err() {
            return Ok(());
        }
        row += batch.num_rows() as u64;
    }
    Ok(())
}

fn take_in_order(
    files: &[ParquetFile],
    tasks: &[Task],
    receivers: Vec<Receiver<Result<Parsed, DataError>>>,
    sink: &mut Sink,
    on_progress: OnProgress,
) -> Result<(), DataError> {
    let mut file_last = None;
    for (task, receiver) in tasks.iter().zip(receivers) {
        if file_last != Some(task.file) {
            sink.begin_file(1);
            file_last = Some(task.file);
        }
        for parsed in receiver {
            sink.accept(&files[task.file].input, &parsed?)?;
            sink.report(on_progress);
        }
        sink.bytes_read().fetch_add(task.bytes, Ordering::Relaxed);
    }
    Ok(())
}
