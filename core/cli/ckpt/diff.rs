//! What differs between two checkpoints, for people.

use rectool_model::{CheckpointDiff, TableDiff};

/// The text to print.
pub(super) fn text(diff: &CheckpointDiff, json: bool) -> String {
    if json {
        let text = serde_json::to_string_pretty(diff).expect("differences are plain data");
        return text + "\n";
    }
    let mut lines = Vec::new();
    for part in &diff.manifest {
        lines.push(format!("{:<22} differs", part.what));
    }
    for tensor in &diff.dense {
        let name = &tensor.name;
        lines.push(match (&tensor.a, &tensor.b) {
            (Some(a), Some(b)) if a == b => {
                let (values, greatest) = (tensor.values_changed, number(tensor.difference_max));
                format!("{name:<22} {values} values differ, by {greatest} at most")
            }
            (a, b) => {
                let side = |shape: &Option<String>| shape.clone().unwrap_or("nothing".to_owned());
                format!("{name:<22} is {} in A and {} in B", side(a), side(b))
            }
        });
    }
    for table in &diff.tables {
        if !table.is_equal() {
            lines.push(table_line(table));
        }
    }
    let rows: u64 = diff.tables.iter().map(|table| table.rows_equal).sum();
    lines.push(if diff.equal {
        format!("equal: {} tables, {rows} rows", diff.tables.len())
    } else {
        format!("different; {rows} rows of {} tables are equal", diff.tables.len())
    });
    lines.join("\n") + "\n"
}

fn table_line(table: &TableDiff) -> String {
    let side = |shape: Option<[usize; 2]>| match shape {
        Some([dim, state]) => format!("D {dim} with {state} floats of state"),
        None => "not there".to_owned(),
    };
    let shapes = if table.a == table.b {
        String::new()
    } else {
        format!(" is {} in A and {} in B;", side(table.a), side(table.b))
    };
    format!(
        "table {:<16}{shapes} rows: {} only in A, {} only in B, {} equal; values differ in {}, by {} at most{}; state in \
         {}, by {}; dates in {}; admission {}",
        table.name,
        table.rows_only_a,
        table.rows_only_b,
        table.rows_equal,
        table.values_changed,
        number(table.values_difference_max),
        table.values_difference_key.map(|key| format!(" (key {key})")).unwrap_or_default(),
        table.state_changed,
        number(table.state_difference_max),
        table.dates_changed,
        if table.filter_changed { "differs" } else { "equal" },
    )
}

fn number(difference: Option<f64>) -> String {
    difference.map_or("no number".to_owned(), |difference| format!("{difference:e}"))
}
