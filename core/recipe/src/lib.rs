//! Rhai recipes: params, typed options, planning, runs and their reports.
//!
//! [`run`] runs a script on every rank; [`check`] goes through the same script and only plans. The
//! script's functions build plain options for [`rectool_model`], which does the work. This is the
//! only crate that knows Rhai.

mod bytes;
mod calibrated;
mod call;
mod chained;
mod dataset;
mod decode;
mod engine;
mod error;
mod evaluation;
mod examples;
mod executor;
mod features;
mod functions;
mod id_features;
mod imports;
pub mod index;
mod job;
mod join;
mod library;
mod losses;
mod network;
mod optimize;
mod options;
mod outcome;
mod params;
mod placement;
mod placement_text;
mod plan;
mod plugin;
mod rankers;
mod record;
mod report;
mod retrieval;
mod retriever;
mod run;
mod run_dir;
mod runner;
mod sampling;
mod session;
mod step_times;
mod table_options;
#[cfg(test)]
mod tests;
mod towers;
mod translate;
mod values;
mod wishes;

pub use calibrated::Calibrate;
pub use error::{Cause, Place, RecipeError};
pub use examples::{Example, MapPoint};
pub use params::Parameter;
pub use placement::Placement;
pub use plan::{IndexPlan, Plan, PluginPlan, TablePlan, TrainingPlan};
pub use record::{Progress, Silent};
pub use report::{
    CalibrationBin, EvaluationPoint, LossPoint, PhaseTime, PlacedTableRow, PlacementReport,
    PredictedPhase, ReportData, RunStatus, SpeedLimit, render as render_report,
};
pub use retrieval::{BaselineOutcome, RetrievalOutcome};
pub use run::{RecipeOptions, RunOptions, RunOutcome, check, check_on, run};
pub use run_dir::Resume;
