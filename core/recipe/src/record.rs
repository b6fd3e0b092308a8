//! What a training reports, kept for the report and written to `metrics.jsonl`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rectool_base::WholeFile;
use rectool_embedding::{PageFaults, TableTotals};
use rectool_model::{Evaluation, EvaluationReport, Observer, PhaseTimes, StepReport, TablesReport};
use serde::{Deserialize, Serialize};

use crate::placement::Placement;
use crate::report::SpeedLimit;
use crate::retriever::Retrieved;
use crate::step_times::typical_step;

/// Shows a run while it goes on. Only rank 0's is told anything.
///
/// ```
/// struct Steps(u64);
/// impl rectool_recipe::Progress for Steps {
///     fn on_step(&mut self, report: &rectool_model::StepReport) {
///         self.0 = report.step;
///     }
/// }
/// ```
pub trait Progress: Send {
    /// The run has a folder and is about to train or evaluate for the first time.
    fn started(&mut self, _run_dir: &Path) {}
    /// Some steps were done.
    fn on_step(&mut self, _report: &StepReport) {}
    /// The validation split was evaluated.
    fn on_evaluation(&mut self, _report: &EvaluationReport) {}
    /// A checkpoint is complete on disk.
    fn on_checkpoint(&mut self, _path: &Path, _step: u64) {}
    /// A training ended.
    fn trained(&mut self) {}
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Which `train` of the script, from 1.
    pub(crate) training: usize,
    #[serde(flatten)]
    pub(crate) event: Event,
}

/// What happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Event {
    Step(StepReport),
    Evaluation(EvaluationReport),
    Tables(TablesReport),
}

impl Line {
    fn step(&self) -> u64 {
        match &self.event {
            Event::Step(report) => report.step,
            Event::Evaluation(report) => report.step,
            Event::Tables(report) => report.step,
        }
    }
}

/// Everything a run's files say about its trainings.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) run_dir: Option<PathBuf>,
    /// Whether a checkpoint was loaded, or it was told why not.
    pub(crate) resumed: bool,
    pub(crate) lines: Vec<Line>,
    pub(crate) phases: PhaseTimes,
    /// Of the last split evaluated.
    pub(crate) evaluated: Option<Evaluation>,
    /// What `evaluate_retrieval` found, in order.
    pub(crate) retrieved: Vec<Retrieved>,
    pub(crate) samples_per_s: f64,
    pub(crate) limit: Option<SpeedLimit>,
    pub(crate) tables: Vec<TableTotals>,
    /// Of all ranks in this process's trainings, if the systems tell.
    pub(crate) page_faults: Option<PageFaults>,
    /// Of the last training.
    pub(crate) placed: Option<Placed>,
    pub(crate) device: String,
    pub(crate) threads: usize,
    pub(crate) warnings: Vec<String>,
}

impl Record {
    /// The typical step of training number `training` after step `first`.
    pub(crate) fn typical_step(&self, training: usize, first: u64) -> Option<PhaseTimes> {
        let reports = self.lines.iter().filter_map(|line| match &line.event {
            Event::Step(report) if line.training == training && report.step > first => Some(report),
            _ => None,
        });
        typical_step(reports, first)
    }
}

/// Where the tables of a training lived, and what its steps took on this rank.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) placement: Placement,
    /// Steps done by this process.
    pub(crate) steps: u64,
    /// The typical one of them.
    pub(crate) measured: Option<PhaseTimes>,
}

/// Watches one training on one rank.
pub(crate) struct Recorder<'a> {
    pub(crate) training: usize,
    pub(crate) record: &'a mut Record,
    /// On rank 0 alone.
    pub(crate) writer: Option<Writer>,
    pub(crate) progress: Option<&'a mut (dyn Progress + 'static)>,
    pub(crate) interrupted: Arc<AtomicBool>,
}

impl Recorder<'_> {
    fn keep(&mut self, event: Event) {
        let line = Line { training: self.training, event };
        if let Some(writer) = &mut self.writer
            && let Err(error) = writer.write(&line)
        {
            // The training is worth more than its log.
            let warning = format!("{}: {error}; no further lines", writer.path.display());
            tracing::warn!("{warning}");
            self.record.warnings.push(warning);
            self.writer = None;
        }
        self.record.lines.push(line);
    }
}

impl Observer for Recorder<'_> {
    fn on_step(&mut self, report: &StepReport) {
        self.record.phases.add(&report.phases);
        self.keep(Event::Step(report.clone()));
        if let Some(progress) = &mut self.progress {
            progress.on_step(report);
        }
    }

    fn on_evaluation(&mut self, report: &EvaluationReport) {
        self.keep(Event::Evaluation(report.clone()));
        self.record.evaluated = Some(report.evaluation.clone());
        if let Some(progress) = &mut self.progress {
            progress.on_evaluation(report);
        }
    }

    fn on_tables(&mut self, report: &TablesReport) {
        self.keep(Event::Tables(report.clone()));
    }

    fn on_warning(&mut self, text: &str) {
        // Once, and not by every rank.
        if self.progress.is_some() {
            tracing::warn!("{text}");
            self.record.warnings.push(text.to_owned());
        }
    }

    fn on_checkpoint(&mut self, path: &Path, step: u64) {
        if let Some(progress) = &mut self.progress {
            progress.on_checkpoint(path, step);
        }
    }

    fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

/// Writes `metrics.jsonl`.
pub(crate) struct Writer {
    path: PathBuf,
    file: File,
}

impl Writer {
    /// Opens the file of the run folder and gives the lines that are in it already: those of earlier
    /// trainings, and of this one up to `step`. Later ones are taken out, for their steps are about
    /// to be done again.
    pub(crate) fn open(
        run_dir: &Path,
        training: usize,
        step: u64,
    ) -> io::Result<(Self, Vec<Line>)> {
        let path = run_dir.join("metrics.jsonl");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let kept: Vec<Line> = lines
            .filter(|line| (line.training, line.step()) <= (training, step))
            .filter(|line| line.training < training || step > 0)
            .collect();
        let whole = WholeFile::at(&path);
        let mut file = File::create(whole.partial())?;
        for line in &kept {
            writeln!(file, "{}", serde_json::to_string(line)?)?;
        }
        whole.publish()?;
        Ok((Self { path, file }, kept))
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        // One write per line, so that a reader never sees half a line.
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        self.file.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(training: usize, step: u64) -> Line {
        let report = StepReport {
            step,
            steps_total: 9,
            epoch: 0,
            samples: step * 8,
            loss: 0.5 / step as f64,
            objective: None,
            heads: Vec::new(),
            rate: 1.0,
            calibration: Some(1.0),
            samples_per_s: 1e3,
            phases: PhaseTimes::default(),
        };
        Line { training, event: Event::Step(report) }
    }

    #[test]
    fn a_resumed_training_does_not_report_a_step_twice() {
        let folder = tempfile::tempdir().unwrap();
        let (mut writer, before) = Writer::open(folder.path(), 1, 0).unwrap();
        assert!(before.is_empty());
        for at in [line(1, 2), line(1, 4), line(2, 2), line(2, 4), line(2, 6)] {
            writer.write(&at).unwrap();
        }
        let steps = |lines: &[Line]| -> Vec<(usize, u64)> {
            lines.iter().map(|line| (line.training, line.step())).collect()
        };
        let (_, kept) = Writer::open(folder.path(), 2, 4).unwrap();
        assert_eq!(steps(&kept), [(1, 2), (1, 4), (2, 2), (2, 4)]);
        let text = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
        assert_eq!(text.lines().count(), 4);
        assert!(text.starts_with(r#"{"training":1,"kind":"step","step":2,"#), "{text}");
        let (_, kept) = Writer::open(folder.path(), 1, 0).unwrap();
        assert!(kept.is_empty());
    }
}
