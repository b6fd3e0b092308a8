//! A placement as plain text.

use std::fmt::Write as _;

use rectool_base::{bytes_text, grouped};
use rectool_embedding::{PlacedTable, RankCost, RowsFrom, Sharding};

use crate::placement::Placement;

/// Ranks that are listed one by one.
const RANKS_LISTED: usize = 8;

impl Placement {
    /// Appends a table of tables and one of ranks.
    pub(crate) fn write(&self, dense_bytes: u64, out: &mut String) -> std::fmt::Result {
        let plan = &self.plan;
        if plan.ranks.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\nplacement                place                      rows  ids/step  distinct    \
             bytes/rank  prepare   lookup exchange   update ms"
        )?;
        let slowest_ms = plan.slowest_ms();
        for table in &plan.tables {
            write_table(table, slowest_ms, out)?;
        }
        let estimated = |from| plan.tables.iter().any(|table| table.rows_from == from);
        if estimated(RowsFrom::Sample) {
            writeln!(
                out,
                "  ~: from how fast new ids come in a sample; `rows_expected` says better"
            )?;
        }
        if estimated(RowsFrom::Bound) {
            writeln!(out, "  ≤: at most")?;
        }
        for note in &self.notes {
            writeln!(out, "  note: {note}")?;
        }
        self.write_ranks(dense_bytes, out)
    }

    fn write_ranks(&self, dense_bytes: u64, out: &mut String) -> std::fmt::Result {
        let plan = &self.plan;
        writeln!(
            out,
            "\nranks                      tables      rest       all  prepare   lookup exchange   \
             update    total ms per step"
        )?;
        let listed = plan.ranks.iter().enumerate().take(RANKS_LISTED);
        for (rank, cost) in listed {
            write_rank(&format!("rank {rank}"), cost, plan.reserved_bytes, out)?;
        }
        let slowest = plan.ranks.iter().max_by(|a, b| a.total_ms().total_cmp(&b.total_ms()));
        if let Some(slowest) = slowest.filter(|_| plan.ranks.len() > RANKS_LISTED) {
            write_rank("slowest", slowest, plan.reserved_bytes, out)?;
            let fullest = plan.ranks.iter().max_by_key(|rank| rank.bytes);
            write_rank("fullest", fullest.unwrap_or(slowest), plan.reserved_bytes, out)?;
        }
        let fullest = plan.ranks.iter().map(|rank| rank.bytes).max().unwrap_or(0);
        let required = bytes_text(fullest.saturating_add(plan.reserved_bytes));
        let limit = match plan.memory_bytes_max {
            Some(limit) => format!("of {} allowed", bytes_text(limit)),
            None => "no limit set (`memory_per_rank`)".to_owned(),
        };
        let dense = bytes_text(dense_bytes);
        let batch = bytes_text(plan.reserved_bytes.saturating_sub(dense_bytes));
        writeln!(
            out,
            "memory per rank: {required}, {limit}; the rest is {dense} of layers and {batch} of batch"
        )?;
        let (calls, threads) = (plan.exchange_calls_ms, self.threads);
        let plural = if threads == 1 { "" } else { "s" };
        writeln!(
            out,
            "predicted from a calibration with {threads} thread{plural} per rank; of the exchange \
             {calls:.3} ms are calls; all-reduce of the layers {:.3} ms",
            self.all_reduce_ms
        )?;
        if self.ahead {
            writeln!(out, "a batch is prepared while the step before it is computed")?;
        }
        Ok(())
    }
}

fn write_table(table: &PlacedTable, slowest_ms: f64, out: &mut String) -> std::fmt::Result {
    let mark = match table.rows_from {
        RowsFrom::Sample => '~',
        RowsFrom::Bound => '≤',
        RowsFrom::Index | RowsFrom::Recipe => ' ',
    };
    let place = place_text(&table.sharding);
    let (rows, ids) = (grouped(table.rows), grouped(table.ids.round() as u64));
    let keys = grouped(table.keys.round() as u64);
    let bytes = bytes_text(table.bytes.iter().copied().max().unwrap_or(0));
    writeln!(
        out,
        "  {:<22} {place:<20} {mark}{rows:>10} {ids:>9} {keys:>9} {bytes:>13} {:>8.3} {:>8.3} {:>8.3} \
         {:>8.3}",
        table.name, table.prepare_ms, table.lookup_ms, table.exchange_ms, table.update_ms
    )?;
    if table.alternatives.is_empty() {
        return Ok(());
    }
    let mut why = format!("    why: a step takes {slowest_ms:.3} ms");
    let mut joint = ";";
    for other in &table.alternatives {
        match (&other.slowest_ms, &other.refused) {
            (Some(ms), _) => write!(why, "{joint} {:.3} if {}", ms, other.kind.name())?,
            (None, Some(refused)) => write!(why, "{joint} not {}: {refused}", other.kind.name())?,
            (None, None) => {}
        }
        joint = ",";
    }
    writeln!(out, "{why}")
}

fn write_rank(name: &str, cost: &RankCost, rest: u64, out: &mut String) -> std::fmt::Result {
    let all = bytes_text(cost.bytes.saturating_add(rest));
    let (tables, rest) = (bytes_text(cost.bytes), bytes_text(rest));
    writeln!(
        out,
        "  {name:<20} {tables:>10} {rest:>9} {all:>9} {:>8.3} {:>8.3} {:>8.3} {:>8.3} {:>8.3}",
        cost.prepare_ms,
        cost.lookup_ms,
        cost.exchange_ms,
        cost.update_ms,
        cost.total_ms()
    )
}

/// `row_wise`, `table_wise on 3`, `column_wise on 0,2`.
pub(crate) fn place_text(place: &Sharding) -> String {
    let kind = place.kind();
    match place {
        Sharding::DataParallel | Sharding::RowWise => kind.to_owned(),
        Sharding::TableWise { rank } => format!("{kind} on {rank}"),
        Sharding::TableRowWise { first, ranks } => {
            format!("{kind} on {first}-{}", (first + ranks).saturating_sub(1))
        }
        Sharding::ColumnWise { ranks } => {
            let ranks: Vec<String> = ranks.iter().map(ToString::to_string).collect();
            format!("{kind} on {}", ranks.join(","))
        }
    }
}
