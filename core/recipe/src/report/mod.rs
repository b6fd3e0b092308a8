//! `report.html`: one run as a page that needs nothing else.

mod chart;
mod data;
mod page;
mod placed;
mod retrieved;
mod scale;
mod text;

pub use data::{
    CalibrationBin, EvaluationPoint, LossPoint, PhaseTime, PlacedTableRow, PlacementReport,
    PredictedPhase, ReportData, RunStatus, SpeedLimit,
};
pub use page::render;
