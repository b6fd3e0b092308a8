//! FBGEMM in a Python process that waits for its turn.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::ids::CARDINALITIES;
use crate::{EPSILON, LEARNING_RATE};

pub(crate) struct Peer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    folder: PathBuf,
}

impl Peer {
    /// Starts it and waits until its tables are there. Shapes: `shape` [D, threads, B].
    pub(crate) fn start(
        python: &Path,
        shape: [usize; 3],
        batches: &[Vec<i64>],
        gradient: &[f32],
    ) -> Self {
        let folder = std::env::temp_dir().join(format!("embedding-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for ids");
        let ids: Vec<u8> = batches.iter().flatten().flat_map(|id| id.to_le_bytes()).collect();
        std::fs::write(folder.join("ids"), ids).expect("ids are written");
        let floats: Vec<u8> = gradient.iter().flat_map(|x| x.to_le_bytes()).collect();
        std::fs::write(folder.join("gradient"), floats).expect("a gradient is written");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/fbgemm_tbe.py");
        let mut command = Command::new(python);
        command.arg(script).arg(&folder).args(shape.map(|n| n.to_string()));
        command.args([batches.len().to_string(), LEARNING_RATE.to_string(), EPSILON.to_string()]);
        command.args(CARDINALITIES.map(|rows| rows.to_string()));
        command.env("OMP_NUM_THREADS", shape[1].to_string());
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("python starts");
        let to = child.stdin.take().expect("stdin is piped");
        let from = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut peer = Self { child, to, from, folder };
        assert_eq!(peer.answer(), "ready");
        peer
    }

    /// Takes steps; returns the milliseconds of each, on the clock and of all processors.
    pub(crate) fn run(&mut self, steps: usize) -> Vec<[f64; 2]> {
        writeln!(self.to, "{steps}").expect("the peer listens");
        serde_json::from_str(&self.answer()).expect("a list of numbers")
    }

    /// Ends it; returns the sum of the magnitudes of its last output.
    pub(crate) fn finish(mut self) -> f64 {
        writeln!(self.to, "end").expect("the peer listens");
        let sum = self.answer().parse().expect("a number");
        self.child.wait().expect("the peer ends");
        std::fs::remove_dir_all(&self.folder).expect("the folder is ours");
        sum
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("the peer answers");
        assert!(!line.is_empty(), "the peer failed: run benches/fbgemm_tbe.py by hand");
        line.trim().to_owned()
    }
}
