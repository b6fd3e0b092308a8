//! The plan of the tables: predicted beside measured.

use super::data::{PlacementReport, ReportData};
use super::page::push;
use super::text::escaped;
use crate::plan::{bytes_text, grouped};

/// Appends the section, if there was a plan.
pub(super) fn section(page: &mut String, data: &ReportData) {
    let Some(placement) = &data.placement else { return };
    page.push_str(
        "<section><h2>Embedding plan: predicted and measured</h2>\n<div class=\"row\">\n",
    );
    phases(page, placement);
    tables(page, placement);
    page.push_str("</div>\n");
    let held = bytes_text(placement.rank_bytes_max);
    let limit = placement.memory_bytes_max.map_or_else(
        || "no limit was set".to_owned(),
        |limit| format!("{} were allowed for everything", bytes_text(limit)),
    );
    let steps = grouped(placement.steps);
    push(
        page,
        format_args!(
            "<p class=\"note\">milliseconds of a step; measured: median of the reports on {steps} steps on rank 0, \
             waiting for other ranks included, but not exchanges ahead of the step; at most {held} of tables on a rank, \
             {limit}</p>"
        ),
    );
    for note in &placement.notes {
        push(page, format_args!("<p class=\"note\">{}</p>", escaped(note)));
    }
    page.push_str("</section>\n");
}

fn phases(page: &mut String, placement: &PlacementReport) {
    page.push_str(
        "<table><tr><th>phase</th><th class=\"n\">predicted</th><th class=\"n\">measured</th>\
         <th class=\"n\">ratio</th></tr>",
    );
    for phase in &placement.phases {
        let measured = phase.measured_ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.3}"));
        let ratio = phase.measured_ms.filter(|_| phase.predicted_ms > 0.0);
        let ratio = ratio.map_or_else(
            || "–".to_owned(),
            |measured_ms| format!("{:.2}", measured_ms / phase.predicted_ms),
        );
        let (name, predicted_ms) = (escaped(&phase.name), phase.predicted_ms);
        push(
            page,
            format_args!(
                "<tr><td>{name}</td><td class=\"n\">{predicted_ms:.3}</td>\
                 <td class=\"n\">{measured}</td><td class=\"n\">{ratio}</td></tr>"
            ),
        );
    }
    page.push_str("</table>\n");
}

fn tables(page: &mut String, placement: &PlacementReport) {
    page.push_str(
        "<table><tr><th>table</th><th>place</th><th class=\"n\">rows planned</th>\
         <th class=\"n\">per rank</th><th class=\"n\">predicted</th></tr>",
    );
    for table in &placement.tables {
        let (name, place) = (escaped(&table.name), escaped(&table.place));
        let (rows, bytes) = (grouped(table.rows), bytes_text(table.rank_bytes_max));
        let ms = table.predicted_ms;
        push(
            page,
            format_args!(
                "<tr><td>{name}</td><td>{place}</td><td class=\"n\">{rows}</td>\
                 <td class=\"n\">{bytes}</td><td class=\"n\">{ms:.3}</td></tr>"
            ),
        );
    }
    page.push_str("</table>\n");
}

#[cfg(test)]
mod tests {
    use super::super::data::{PlacedTableRow, PredictedPhase};
    use super::*;

    #[test]
    fn predicted_stands_beside_measured() {
        let phase = |name: &str, predicted_ms, measured_ms| PredictedPhase {
            name: name.into(),
            predicted_ms,
            measured_ms,
        };
        let placement = PlacementReport {
            steps: 1_200,
            phases: vec![
                phase("lookup", 2.0, Some(3.0)),
                phase("exchange", 0.0, Some(0.5)),
                phase("all-reduce", 1.0, None),
            ],
            tables: vec![PlacedTableRow {
                name: "a<b".into(),
                place: "table_wise on 1".into(),
                rows: 12_345,
                rank_bytes_max: 1_000_000,
                predicted_ms: 0.25,
            }],
            rank_bytes_max: 2_000_000,
            memory_bytes_max: Some(4_000_000_000),
            notes: vec!["no sample".into()],
        };
        let mut page = String::new();
        section(&mut page, &ReportData::default());
        assert_eq!(page, "");
        section(&mut page, &ReportData { placement: Some(placement), ..ReportData::default() });
        for part in
            ["1.50</td>", "–</td>", "a&lt;b", "12,345", "1.0 MB", "4.0 GB", "no sample", "1,200"]
        {
            assert!(page.contains(part), "no {part} in {page}");
        }
        assert_eq!(page.matches('<').count(), page.matches('>').count());
        assert_eq!(page.matches("<section>").count(), page.matches("</section>").count());
    }
}
