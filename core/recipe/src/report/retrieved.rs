//! What two towers retrieve: figures beside simple methods, parts of the test, examples, a map.

use std::fmt::Write as _;

use rectool_model::{Figure, RetrievalEvaluation};

use super::data::ReportData;
use super::text::escaped;
use crate::examples::{Example, MapPoint};
use crate::retrieval::RetrievalOutcome;

/// Metrics of the tables, in order.
const SHOWN: [(&str, &str); 5] = [
    ("recall", "recall"),
    ("ndcg", "NDCG"),
    ("hit_rate", "hit rate"),
    ("mrr", "MRR"),
    ("coverage", "coverage"),
];
/// The map's size, and the room around its points.
const MAP: (f32, f32, f32) = (640.0, 420.0, 12.0);
const SEGMENTS: [&str; 3] = ["head", "torso", "tail"];

pub(super) fn sections(page: &mut String, data: &ReportData) {
    for outcome in &data.retrieved {
        figures(page, outcome);
        sampled(page, outcome);
        segments(page, outcome);
    }
    examples(page, &data.examples);
    map(page, &data.map);
}

/// The cut-offs, as in `recall@20`, rising.
fn cut_offs(evaluation: &RetrievalEvaluation) -> Vec<usize> {
    let names = evaluation.metrics.keys().filter_map(|name| name.strip_prefix("recall@"));
    let mut found: Vec<usize> = names.filter_map(|k| k.parse().ok()).collect();
    found.sort_unstable();
    found
}

fn cell(figure: Option<&Figure>) -> String {
    figure.map_or_else(String::new, |figure| {
        let Figure { mean, low, high } = figure;
        format!("{mean:.4} <span class=\"set\">{low:.4} to {high:.4}</span>")
    })
}

fn figures(page: &mut String, outcome: &RetrievalOutcome) {
    let (users, items) = (outcome.full.users, outcome.full.items);
    let _ = write!(
        page,
        "<section><h2>What is found of '{}'</h2><p class=\"note\">all {items} items ranked for each \
         of {users} users; 95 % intervals over resampled users</p>",
        escaped(&outcome.split)
    );
    let own = ("this model", &outcome.full);
    let others = outcome.baselines.iter().map(|other| (other.name.as_str(), &other.full));
    let methods: Vec<(&str, &RetrievalEvaluation)> = std::iter::once(own).chain(others).collect();
    for k in cut_offs(&outcome.full) {
        let _ = write!(page, "<table><tr><th>{k} items</th>");
        for (_, words) in SHOWN {
            let _ = write!(page, "<th class=\"n\">{words}</th>");
        }
        page.push_str("</tr>");
        for (name, evaluation) in &methods {
            let _ = write!(page, "<tr><td>{}</td>", escaped(name));
            for (metric, _) in SHOWN {
                let key = format!("{metric}@{k}");
                let text = match evaluation.coverage.get(&key) {
                    Some(share) => format!("{:.1} %", share * 100.0),
                    None => cell(evaluation.metrics.get(&key)),
                };
                let _ = write!(page, "<td class=\"n\">{text}</td>");
            }
            page.push_str("</tr>");
        }
        page.push_str("</table>");
    }
    page.push_str("</section>\n");
}

fn sampled(page: &mut String, outcome: &RetrievalOutcome) {
    let Some(own) = &outcome.sampled else { return };
    let _ = write!(
        page,
        "<section><h2>Among sampled negatives</h2><p class=\"note\">{} test items, each ranked among \
         those listed for it: no estimate of the figures above</p><table><tr><th></th>",
        own.cases
    );
    for name in own.metrics.keys() {
        let _ = write!(page, "<th class=\"n\">{}</th>", escaped(name));
    }
    page.push_str("</tr>");
    let others = outcome.baselines.iter();
    let others = others.filter_map(|other| Some((other.name.as_str(), other.sampled.as_ref()?)));
    for (name, sampled) in std::iter::once(("this model", own)).chain(others) {
        let _ = write!(page, "<tr><td>{}</td>", escaped(name));
        for figure in sampled.metrics.values() {
            let _ = write!(page, "<td class=\"n\">{}</td>", cell(Some(figure)));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></section>\n");
}

/// Recall of parts of the test at the longest list.
fn segments(page: &mut String, outcome: &RetrievalOutcome) {
    let Some(k) = cut_offs(&outcome.full).pop() else { return };
    let _ = write!(
        page,
        "<section><h2>Who and what it is found for</h2><table><tr><th>part</th>\
         <th class=\"n\">users</th><th class=\"n\">recall in {k} items</th></tr>"
    );
    for part in &outcome.full.segments {
        let figure = cell(part.metrics.get(&format!("recall@{k}")));
        let _ = write!(
            page,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{figure}</td></tr>",
            escaped(&part.segment),
            part.users
        );
    }
    page.push_str(
        "</table><p class=\"note\">head: the most popular items with half of all training rows; torso: \
         up to 90 %; tail: the rest</p></section>\n",
    );
}

fn examples(page: &mut String, examples: &[Example]) {
    if examples.is_empty() {
        return;
    }
    page.push_str(
        "<section><h2>Some recommendations</h2><table><tr><th>user</th><th>has seen</th>\
         <th>is recommended</th><th>not found</th></tr>",
    );
    let list =
        |names: &[String]| names.iter().map(|name| escaped(name)).collect::<Vec<_>>().join("<br>");
    for example in examples {
        let more = example.seen_count.saturating_sub(example.seen.len());
        let more = if more > 0 { format!("<br>and {more} more") } else { String::new() };
        let recommended = example.recommended.iter().map(|(name, hit)| {
            let name = escaped(name);
            if *hit { format!("<b>{name} ✓</b>") } else { name }
        });
        let _ = write!(
            page,
            "<tr class=\"top\"><td>{}</td><td>{}{more}</td><td>{}</td><td>{}</td></tr>",
            example.user,
            list(&example.seen),
            recommended.collect::<Vec<_>>().join("<br>"),
            list(&example.missed)
        );
    }
    page.push_str("</table></section>\n");
}

fn map(page: &mut String, points: &[MapPoint]) {
    if points.is_empty() {
        return;
    }
    let (width, height, margin) = MAP;
    let range = |of: fn(&MapPoint) -> f32| {
        let values = || points.iter().map(of);
        (values().fold(f32::INFINITY, f32::min), values().fold(f32::NEG_INFINITY, f32::max))
    };
    let ((left, right), (low, high)) = (range(|at| at.x), range(|at| at.y));
    let place = |value: f32, from: f32, to: f32, length: f32| {
        let share = if to > from { (value - from) / (to - from) } else { 0.5 };
        margin + share * (length - 2.0 * margin)
    };
    page.push_str("<section><h2>Item vectors</h2>");
    let _ = write!(
        page,
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"Items by the two principal \
         components of their vectors\">"
    );
    for point in points {
        let x = place(point.x, left, right, width);
        let y = height - place(point.y, low, high, height);
        let segment = SEGMENTS[usize::from(point.segment).min(2)];
        let _ = write!(
            page,
            "<circle class=\"{segment}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"><title>{}</title>\
             </circle>",
            escaped(&point.name)
        );
    }
    page.push_str("</svg><p class=\"note\">");
    for segment in SEGMENTS {
        let _ = write!(page, "<span class=\"swatch {segment}\"></span>{segment} &nbsp; ");
    }
    let count = points.len();
    let _ = writeln!(
        page,
        "items by popularity; {count} of them along the two directions in which their vectors vary \
         most</p></section>"
    );
}
