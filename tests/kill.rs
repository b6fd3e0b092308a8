//! A training that is killed again and again ends where the one that is left alone does.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rectool::base::Stream;
use rectool::model::{Checkpoint, latest};

use crate::harness::{Dir, wait_until};

/// Kills in the ordinary tests; `RECTOOL_KILLS` asks for more.
const KILLS: u64 = 3;
/// Gaps between the test AUCs: ranks sum gradients in another order, nothing else differs.
const AUC_TOLERANCE: f64 = 1e-3;
/// Steps between checkpoints.
const EVERY: u64 = 10;
/// Longer than any step, start or end on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// A small training of so many epochs, with a checkpoint after every so many steps.
fn arguments(run: &str, (epochs, every): (u64, u64), more: &[&str]) -> Vec<String> {
    let script = Dir::script("dlrm.rhai");
    let fixed = ["run", &script, "--run-dir", run, "--threads", "1", "--set", "data=log"];
    let sizes = ["batch_size=100", "embedding_dim=4", "bottom=[8]", "top=[16]"];
    let (epochs, every) = (format!("epochs={epochs}"), format!("checkpoint_every={every}"));
    let sizes = sizes.into_iter().chain([&*epochs, &*every, "checkpoint_full_every=4"]);
    let sizes = sizes.flat_map(|size| ["--set", size]);
    fixed.into_iter().chain(sizes).chain(more.iter().copied()).map(str::to_owned).collect()
}

/// Starts a training under mpirun; `None` where there is none.
fn start(dir: &Dir, ranks: usize, run: &str, more: &[&str]) -> Option<Child> {
    let words = arguments(run, (2, EVERY), more);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut command = dir.mpirun_command(ranks, &words)?;
    Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// The processes that `parent` started.
fn children(parent: u32) -> Vec<String> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    let of = |thread: std::fs::DirEntry| {
        std::fs::read_to_string(thread.path().join("children")).unwrap_or_default()
    };
    let all: Vec<String> = threads.filter_map(|thread| thread.ok().map(of)).collect();
    all.join(" ").split_whitespace().map(str::to_owned).collect()
}

/// Ends one rank or all of them without a word; mpirun ends the rest.
fn kill(mut job: Child, all: bool) {
    let ranks = children(job.id());
    let victims = if all { &ranks[..] } else { &ranks[..ranks.len().min(1)] };
    if !victims.is_empty() {
        std::process::Command::new("kill").arg("-KILL").args(victims).status().unwrap();
    }
    let ended = wait_until(PATIENCE, || job.try_wait().unwrap().is_some());
    assert!(ended, "mpirun lives on without ranks");
}

/// Folders that were being written.
fn unfinished(checkpoints: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(checkpoints) else { return Vec::new() };
    let entries = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let hidden = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with('.');
    entries.filter(hidden).collect()
}

/// Waits for a checkpoint that is being written; on a fast disk that takes a few milliseconds.
fn wait_for_writing(checkpoints: &Path) {
    let started = std::time::Instant::now();
    while unfinished(checkpoints).is_empty() && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn step(checkpoints: &Path) -> u64 {
    let open = latest(checkpoints).and_then(|path| Checkpoint::open(&path).ok());
    open.map_or(0, |checkpoint| checkpoint.manifest().state.steps)
}

/// Every checkpoint that has its name can be used.
fn verify_all(checkpoints: &Path) -> (usize, usize) {
    let (mut full, mut deltas) = (0, 0);
    for entry in std::fs::read_dir(checkpoints).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with('.') {
            continue;
        }
        let checkpoint = Checkpoint::open(&path).unwrap();
        checkpoint.chain().unwrap().verify_rows().unwrap();
        if checkpoint.manifest().delta.is_some() { deltas += 1 } else { full += 1 }
    }
    (full, deltas)
}

#[test]
fn killed_runs_end_where_the_uninterrupted_one_does() {
    let kills = std::env::var("RECTOOL_KILLS").ok().and_then(|count| count.parse().ok());
    let kills: u64 = kills.unwrap_or(KILLS);
    let dir = Dir::new();
    // 12 steps of an epoch for each kill, two epochs, and then some.
    dir.synth("log", (1_500 * kills as usize).max(20_000));
    let Some(mut whole) = start(&dir, 2, "whole", &[]) else { return };
    assert!(whole.wait().unwrap().success());
    let auc = |run: &str| dir.result(run)["metrics"]["test_auc"].as_f64().unwrap();
    let total = step(&dir.join("whole/checkpoints"));

    let checkpoints = dir.join("killed/checkpoints");
    let mut draw = Stream::new(11, &[]);
    let (mut ranks, mut half_written, mut deltas_seen) = (2, 0, 0);
    for round in 0..kills {
        let before = step(&checkpoints);
        let resume: &[&str] = if round == 0 { &[] } else { &["--resume", "auto"] };
        let mut job = start(&dir, ranks, "killed", resume).unwrap();
        // Far enough to make progress, not so far that the training ends before the last kill.
        let room = (total - before) / EVERY / (kills - round + 1);
        let target = before + EVERY * (1 + draw.below(room.clamp(1, 5)));
        let there = wait_until(PATIENCE, || step(&checkpoints) >= target);
        assert!(there, "round {round}: no checkpoint of step {target}");
        if round % 3 == 2 {
            // While a checkpoint is written.
            wait_for_writing(&checkpoints);
        } else {
            std::thread::sleep(Duration::from_millis(draw.below(60)));
        }
        assert!(job.try_wait().unwrap().is_none(), "round {round}: it ended before it was killed");
        kill(job, round % 2 == 0);
        half_written += usize::from(!unfinished(&checkpoints).is_empty());
        let (full, deltas) = verify_all(&checkpoints);
        assert!(full > 0);
        deltas_seen += deltas;
        let killed_at = step(&checkpoints);
        println!("kill {}: {ranks} ranks, behind step {killed_at} of {total}", round + 1);
        ranks = [1, 2, 4][draw.below(3) as usize];
    }
    let mut job = start(&dir, ranks, "killed", &["--resume", "auto"]).unwrap();
    assert!(job.wait().unwrap().success());
    assert_eq!(step(&checkpoints), total);
    assert!(unfinished(&checkpoints).is_empty());
    assert!(deltas_seen > 0);
    let (whole, killed) = (auc("whole"), auc("killed"));
    println!(
        "{kills} kills, {half_written} while a checkpoint was written: test AUC {killed:.6}, \
         uninterrupted {whole:.6}"
    );
    assert!((whole - killed).abs() < AUC_TOLERANCE, "{whole} and {killed}");
}

/// One process that writes checkpoints most of the time, killed while it does.
#[test]
fn a_kill_while_writing_leaves_all_earlier_checkpoints_usable() {
    let dir = Dir::new();
    dir.synth("log", 20_000);
    let checkpoints = dir.join("out/checkpoints");
    let start_alone = |resume: &[&str]| {
        let words = arguments("out", (100, 1), resume);
        let mut command = dir.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let (mut during_full, mut during_delta) = (0, 0);
    // Three of four are deltas.
    for round in 0..16 {
        if during_full > 0 && during_delta > 1 {
            break;
        }
        let before = step(&checkpoints);
        let mut job = start_alone(if round == 0 { &[] } else { &["--resume", "auto"] });
        assert!(wait_until(PATIENCE, || step(&checkpoints) > before + 2 + round % 4));
        wait_for_writing(&checkpoints);
        job.kill().unwrap();
        job.wait().unwrap();
        let left = unfinished(&checkpoints);
        if left.iter().any(|path| path.to_str().unwrap().contains(".writing-")) {
            // A base is due after every four.
            let newest = Checkpoint::open(&latest(&checkpoints).unwrap()).unwrap();
            let sequence = newest.manifest().delta.as_ref().map_or(0, |delta| delta.sequence);
            if sequence == 3 { during_full += 1 } else { during_delta += 1 }
        }
        verify_all(&checkpoints);
    }
    println!("killed while writing: {during_full} whole ones, {during_delta} deltas");
    // The next start clears away what is left, and goes on.
    let stray = checkpoints.join(".writing-step-99999999");
    std::fs::create_dir_all(&stray).unwrap();
    let before = step(&checkpoints);
    let mut job = start_alone(&["--resume", "auto"]);
    assert!(wait_until(PATIENCE, || step(&checkpoints) > before));
    job.kill().unwrap();
    job.wait().unwrap();
    assert!(!stray.exists());
}
