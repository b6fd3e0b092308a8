//! Charts as inline SVG. Colours are CSS variables of the page, so that they follow dark mode.

use std::fmt::Write as _;

use super::data::{CalibrationBin, PhaseTime};
use super::scale::Scale;
use super::text::{escaped, short};

/// Points drawn of one line: more than there are pixels helps nobody.
const POINTS_MAX: usize = 400;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;

/// What a line chart says besides its points.
pub(super) struct Labels<'a> {
    /// For readers that do not see the chart.
    pub(super) name: &'a str,
    pub(super) x: &'static str,
    /// CSS class of the line and its marks.
    pub(super) class: &'static str,
}

/// One point of a line: x, y, and whether it stands out.
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) best: bool,
}

/// A line over steps, with a mark at every point if they are few.
pub(super) fn line(points: &[Point], labels: &Labels<'_>) -> String {
    let points: Vec<&Point> = points.iter().filter(|point| point.y.is_finite()).collect();
    let x = Scale::covering(points.iter().map(|point| point.x), (LEFT, WIDTH - RIGHT), 5);
    let y = Scale::covering(points.iter().map(|point| point.y), (HEIGHT - BOTTOM, TOP), 5);
    let mut svg = open(labels.name, HEIGHT);
    axes(&mut svg, (&x, &y), labels.x);
    let mut path = String::new();
    let places: Vec<(f64, f64)> = thinned(&points);
    for (at, (step, value)) in places.iter().enumerate() {
        let command = if at == 0 { 'M' } else { 'L' };
        push(&mut path, format_args!("{command}{:.1} {:.1}", x.place(*step), y.place(*value)));
    }
    push(&mut svg, format_args!("<path class=\"line {}\" d=\"{path}\"/>", labels.class));
    if points.len() <= 40 {
        for point in &points {
            let (cx, cy) = (x.place(point.x), y.place(point.y));
            let (radius, best) = if point.best { (5.0, " best") } else { (3.5, "") };
            let (step, value) = (x.label(point.x.round()), short(point.y));
            push(
                &mut svg,
                format_args!(
                    "<circle class=\"mark {}{best}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" \
                     r=\"{radius}\"><title>step {step}: {value}</title></circle>",
                    labels.class
                ),
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

/// Means of runs of neighbours, so that no more than [`POINTS_MAX`] are left.
fn thinned(points: &[&Point]) -> Vec<(f64, f64)> {
    let run = points.len().div_ceil(POINTS_MAX).max(1);
    let mean = |run: &[&Point]| {
        let count = run.len() as f64;
        let sum = run.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.x, sum.1 + point.y));
        (sum.0 / count, sum.1 / count)
    };
    points.chunks(run).map(mean).collect()
}

/// Share of positives over mean prediction, against the diagonal of perfect calibration.
pub(super) fn calibration(bins: &[CalibrationBin]) -> String {
    let greatest = bins.iter().fold(0.0_f64, |most, bin| most.max(bin.predicted).max(bin.observed));
    let ends = [0.0, greatest.clamp(0.01, 1.0)];
    let x = Scale::covering(ends.into_iter(), (LEFT, WIDTH - RIGHT), 5);
    let y = Scale::covering(ends.into_iter(), (HEIGHT - BOTTOM, TOP), 5);
    let mut svg = open("Calibration: share of positives by prediction", HEIGHT);
    axes(&mut svg, (&x, &y), "mean prediction");
    let last = x.ticks().last().copied().unwrap_or(1.0);
    push(
        &mut svg,
        format_args!(
            "<line class=\"ideal\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            x.place(0.0),
            y.place(0.0),
            x.place(last),
            y.place(last)
        ),
    );
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(1).max(1) as f64;
    for bin in bins.iter().filter(|bin| bin.predicted.is_finite() && bin.observed.is_finite()) {
        // The area says how many samples a bin has.
        let radius = 3.0 + 5.0 * (bin.count as f64 / most).sqrt();
        let (predicted, observed) = (short(bin.predicted), short(bin.observed));
        let count = crate::plan::grouped(bin.count);
        push(
            &mut svg,
            format_args!(
                "<circle class=\"mark bin\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\"><title>\
                 predicted {predicted}, observed {observed}, {count} samples</title></circle>",
                x.place(bin.predicted),
                y.place(bin.observed)
            ),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// All phases as one bar; colours are those of the table below it.
pub(super) fn phases(phases: &[PhaseTime]) -> String {
    const BAR: f64 = 28.0;
    const WIDE: f64 = 900.0;
    let total: f64 = phases.iter().map(|phase| phase.ms.max(0.0)).sum();
    let mut svg = format!(
        "<svg class=\"bar\" viewBox=\"0 0 {WIDE} {BAR}\" role=\"img\" aria-label=\"Time by \
         phase\" preserveAspectRatio=\"none\">"
    );
    let mut left = 0.0;
    for (at, phase) in phases.iter().enumerate() {
        let width = WIDE * phase.ms.max(0.0) / total.max(f64::MIN_POSITIVE);
        // A gap of two units keeps neighbours apart without borders.
        push(
            &mut svg,
            format_args!(
                "<rect class=\"phase-{at}\" x=\"{left:.2}\" y=\"0\" width=\"{:.2}\" \
                 height=\"{BAR}\"><title>{}: {:.1} %</title></rect>",
                (width - 2.0).max(0.0),
                escaped(&phase.name),
                100.0 * width / WIDE
            ),
        );
        left += width;
    }
    svg.push_str("</svg>");
    svg
}

fn open(name: &str, height: f64) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">", escaped(name))
}

fn axes(svg: &mut String, (x, y): (&Scale, &Scale), x_name: &str) {
    let floor = HEIGHT - BOTTOM;
    for tick in y.ticks() {
        let at = y.place(*tick);
        push(
            svg,
            format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\"/>\
                 <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                at + 4.0,
                y.label(*tick)
            ),
        );
    }
    for tick in x.ticks() {
        let at = x.place(*tick);
        push(
            svg,
            format_args!(
                "<text class=\"tick\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                floor + 16.0,
                x.label(*tick)
            ),
        );
    }
    push(
        svg,
        format_args!(
            "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{floor}\" x2=\"{}\" y2=\"{floor}\"/>\
             <text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            WIDTH - RIGHT,
            f64::midpoint(LEFT, WIDTH - RIGHT),
            HEIGHT - 4.0,
            escaped(x_name)
        ),
    );
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes any text");
}
