//! A table larger than the memory that the process may have.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rectool_base::mix64;
use rectool_comm::Solo;

use super::case::{Case, content, feature, sgd, table};
use crate::{
    Backing, EmbeddingCollection, EmbeddingError, Ids, IndexKind, Layout, Mode, PageFaults,
    TableOptions,
};

/// Set for the child process to the folder of its files.
const FOLDER: &str = "RECTOOL_TEST_BEYOND_MEMORY";
const DIM: usize = 128;
/// 8 + 4 · 128 bytes each: 170 MB.
const ROWS: u64 = 1 << 18 | 1 << 16;
const BATCH: usize = 4096;
/// What the child may have beyond what it has when it starts.
const ALLOWED_BYTES: u64 = 40 << 20;

fn filed(folder: &Path) -> Backing {
    Backing::File { folder: folder.to_owned() }
}

/// Trains once on every row, as many as there are at a time; returns a hash of all bytes.
fn train(backing: Backing, rows: u64) -> Result<u64, EmbeddingError> {
    let index = IndexKind::Dense { rows };
    let options = TableOptions { index, backing, ..table("t", DIM, sgd(0.5)) };
    let mut tables =
        EmbeddingCollection::new(vec![options], vec![feature("f", "t")], 1, Arc::new(Solo))?;
    let layout = Layout::packed([DIM]);
    let mut out = vec![0.0; BATCH * DIM];
    let gradient: Vec<f32> = (0..BATCH * DIM).map(|at| at as f32 / 1e5).collect();
    let ids = |step: u64| -> Vec<i64> {
        // Scattered: an odd factor is one-to-one below a power of two.
        (0..BATCH as u64)
            .map(|at| (((step * BATCH as u64 + at) * 77_777) % (1 << 19)) as i64)
            .map(|id| id % rows as i64)
            .collect()
    };
    let prepare = |tables: &EmbeddingCollection, step| {
        let values = ids(step);
        tables.prepare(&[Ids::Fixed { values: &values, width: 1, at: 0 }], BATCH, 0)
    };
    let steps = (1 << 19) / BATCH as u64;
    let mut next = prepare(&tables, 0)?;
    for step in 0..steps {
        let mut batch = next;
        next = prepare(&tables, (step + 1) % steps)?;
        tables.read_ahead(&next)?;
        tables.forward(&mut batch, Mode::Train, &mut out, &layout)?;
        tables.backward(&mut batch, &gradient, &layout, 1.0)?;
        tables.recycle(batch);
    }
    let mut hash = 0;
    for rows in tables.export(0, 1000)? {
        for (key, values) in rows.keys.iter().zip(rows.values.chunks(DIM)) {
            let values = values.iter().map(|x| u64::from(x.to_bits()));
            hash = values.fold(mix64(hash ^ key), |hash, bits| mix64(hash ^ bits));
        }
    }
    Ok(hash)
}

#[test]
fn a_filed_table_holds_the_bytes_of_one_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..4 {
        let case = Case::draw(seed, 60);
        let mut other = case.clone();
        other.tables.iter_mut().for_each(|table| table.backing = filed(folder.path()));
        let runs = [case, other].map(|case| {
            let mut collection = case.collection(Arc::new(Solo));
            let outputs = case.train(&mut collection, |rows| 0..rows);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
            format!("{outputs:?} {:?}", content(&collection))
        });
        assert_eq!(runs[0], runs[1]);
    }
    let error = train(filed(&folder.path().join("lost")), 10).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("table `t`: no place in a file in `") && text.ends_with("0 rows"));
}

/// Memory of its own that this process has: what `RLIMIT_DATA` counts.
fn data_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

#[expect(unsafe_code, reason = "asks the system for a limit")]
fn limit_data(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: the structure is valid for the call, which keeps no reference to it.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) };
    assert_eq!(result, 0, "setrlimit");
}

/// What the child process does; prints lines for its parent.
fn under_the_limit(folder: &Path) {
    // Threads and their stacks are there before the limit is.
    train(Backing::Memory, 100).unwrap();
    limit_data(data_bytes() + ALLOWED_BYTES);
    let hash = train(filed(folder), ROWS).unwrap();
    let faults = PageFaults::of_process().unwrap();
    println!("\nfiled: {hash}");
    println!("faults: {} {}", faults.minor, faults.major);
    println!("memory: {}", train(Backing::Memory, ROWS).unwrap_err());
}

#[test]
#[cfg(target_os = "linux")]
fn a_table_four_times_the_memory_trains_from_a_file() {
    const NAME: &str = "tests::beyond_memory::a_table_four_times_the_memory_trains_from_a_file";
    const { assert!(ROWS * (8 + 4 * DIM as u64) > 4 * ALLOWED_BYTES) };
    if let Some(folder) = std::env::var_os(FOLDER) {
        return under_the_limit(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", NAME, "--nocapture", "--test-threads=1"]);
    let output = child.env(FOLDER, folder.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let found = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let expected = train(Backing::Memory, ROWS).unwrap();
    assert_eq!(found("filed: "), expected.to_string());
    assert!(found("memory: ").starts_with("table `t`: no memory for a row after "), "{text}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
