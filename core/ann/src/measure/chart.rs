//! The recall–QPS curve as a page that needs nothing else.

use std::fmt::Write as _;

use super::run::Measured;
use crate::file::IndexKind;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const MARGIN: f64 = 64.0;

/// A page with the curve and its table: recall to the right, on a scale of the share that is missed;
/// queries a second upwards, on a scale of tens. `kind` is that of the index.
pub fn chart(title: &str, kind: IndexKind, measured: &[Measured]) -> String {
    let [leaves_name, candidates_name] = Measured::effort_names(kind);
    let title = title.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let svg = chart_svg(measured);
    let mut rows = String::new();
    for m in measured {
        let Measured { leaves, candidates, recall, single_qps, p50_us, p99_us, batch_qps } = m;
        let _ = writeln!(
            rows,
            "<tr><td>{recall:.4}<td>{leaves}<td>{candidates}<td>{single_qps:.0}<td>{p50_us:.0}\
             <td>{p99_us:.0}<td>{batch_qps:.0}"
        );
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\n\
         <style>body{{font:14px system-ui,sans-serif;margin:2em;color:#1f2937}}\
         td,th{{text-align:right;padding:2px 12px}}svg{{max-width:100%}}</style>\n\
         <h1>{title}</h1>\n<p><span style=\"color:#2563eb\">●</span> one query at a time, one thread \
         <span style=\"color:#d97706\">●</span> in batches, all threads</p>\n\
         {svg}\
         <table>\n<tr><th>recall<th>{leaves_name}<th>{candidates_name}<th>queries/s<th>p50 µs<th>p99 µs\
         <th>batch queries/s\n{rows}</table>\n</html>\n"
    )
}

/// The curve alone, as an SVG picture.
pub fn chart_svg(measured: &[Measured]) -> String {
    let qps = || measured.iter().flat_map(|m| [m.single_qps, m.batch_qps]);
    let low = qps().fold(f64::INFINITY, f64::min).max(1.0).log10().floor();
    let high = qps().fold(1.0, f64::max).log10().ceil().max(low + 1.0);
    let scale = Scale { low, high };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         font-family=\"system-ui,sans-serif\" font-size=\"14\">\n"
    );
    scale.axes(&mut svg);
    scale.line(&mut svg, measured, "#2563eb", |m| m.single_qps);
    scale.line(&mut svg, measured, "#d97706", |m| m.batch_qps);
    svg.push_str("</svg>\n");
    svg
}

/// Powers of ten of the lowest and the highest queries a second.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// Where a recall lies: 0.5, 0.9, 0.99 and 0.999 at like distances from each other.
    fn x(recall: f64) -> f64 {
        let missed = (1.0 - recall).clamp(0.000_5, 0.5);
        let share = (0.5f64.log10() - missed.log10()) / (0.5f64.log10() - 0.000_5f64.log10());
        MARGIN + share * (WIDTH - 2.0 * MARGIN)
    }

    fn y(&self, qps: f64) -> f64 {
        let share = (qps.max(1.0).log10() - self.low) / (self.high - self.low);
        HEIGHT - MARGIN - share * (HEIGHT - 2.0 * MARGIN)
    }

    fn axes(&self, svg: &mut String) {
        let (left, right) = (MARGIN, WIDTH - MARGIN);
        let (top, bottom) = (MARGIN, HEIGHT - MARGIN);
        for recall in [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999] {
            let (x, below) = (Self::x(recall), bottom + 18.0);
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#e5e7eb\"/>\
                 <text x=\"{x:.1}\" y=\"{below}\" text-anchor=\"middle\">{recall}</text>"
            );
        }
        for power in self.low as i32..=self.high as i32 {
            let (y, number) = (self.y(10f64.powi(power)), 10f64.powi(power));
            let beside = left - 6.0;
            let _ = writeln!(
                svg,
                "<line x1=\"{left}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#e5e7eb\"/>\
                 <text x=\"{beside}\" y=\"{y:.1}\" text-anchor=\"end\">{number}</text>"
            );
        }
    }

    fn line(&self, svg: &mut String, measured: &[Measured], color: &str, of: fn(&Measured) -> f64) {
        let at = |m: &Measured| (Self::x(m.recall), self.y(of(m)));
        let points: Vec<String> =
            measured.iter().map(at).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        let _ = writeln!(
            svg,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>"
        );
        for (x, y) in measured.iter().map(at) {
            let _ =
                writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{color}\"/>");
        }
    }
}
