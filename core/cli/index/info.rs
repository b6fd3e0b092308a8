//! `rectool index info`.

use rectool_ann::{Index, PartStats};
use rectool_base::{bytes_text, grouped};
use serde_json::json;

use super::{Target, effort_text, failure};
use crate::failure::{Exit, Failure};
use crate::output::print;

pub(super) fn run(target: &Target) -> Result<Exit, Failure> {
    let index = Index::open(&target.index).map_err(failure)?;
    print(&if target.json { as_json(&index) } else { text(target, &index) })?;
    Ok(Exit::Ok)
}

fn as_json(index: &Index) -> String {
    let value = json!({
        "metric": index.metric(), "dim": index.dim(), "options": index.options(),
        "stats": index.stats(), "curve": index.curve(),
    });
    format!("{}\n", serde_json::to_string_pretty(&value).expect("plain data"))
}

fn text(target: &Target, index: &Index) -> String {
    let (stats, options) = (index.stats(), index.options());
    let mut lines = vec![target.index.display().to_string()];
    let mut line = |name: &str, value: String| lines.push(format!("  {name:<8}  {value}"));
    let vectors = grouped(stats.vectors as u64);
    line("vectors", format!("{vectors} of width {}, {}", index.dim(), index.metric().name()));
    line("bytes", bytes_text(stats.bytes));
    line("searches", format!("aim at recall {}", options.recall_target));
    let heads = ["file", "kind", "built", "dead", "changed", "leaves", "drift", "bytes", "log", ""];
    line("parts", columns(&heads.map(str::to_owned)));
    for part in &stats.parts {
        line("", columns(&row(part)));
    }
    for (at, point) in index.curve().iter().enumerate() {
        let name = if at == 0 { "efforts" } else { "" };
        line(name, effort_text(point, &stats));
    }
    lines.join("\n") + "\n"
}

fn row(part: &PartStats) -> [String; 10] {
    [
        part.file.clone(),
        part.kind.to_owned(),
        grouped(part.built_rows as u64),
        grouped(part.dead_rows as u64),
        grouped(part.changed_rows as u64),
        grouped(part.leaves as u64),
        format!("{:.2}", part.drift),
        bytes_text(part.bytes),
        bytes_text(part.log_bytes),
        if part.rebuild_due { "rebuild due".to_owned() } else { String::new() },
    ]
}

fn columns(values: &[String; 10]) -> String {
    let [file, kind, built, dead, changed, leaves, drift, bytes, log, due] = values;
    let text = format!(
        "{file:<22} {kind:<5} {built:>11} {dead:>9} {changed:>9} {leaves:>8} {drift:>6} {bytes:>9} \
         {log:>9} {due}"
    );
    text.trim_end().to_owned()
}
