//! Measuring an index: recall against exact results, queries a second, latency; and their picture.

mod chart;
mod run;

pub use chart::{chart, chart_svg};
pub use run::{MeasureOptions, Measured, measure};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::vectors;
    use crate::{BuildOptions, Index, IndexKind, Vectors};

    fn index(folder: &std::path::Path, dim: usize, base: &[f32], options: &BuildOptions) -> Index {
        let vectors = Vectors::new(dim, base).unwrap();
        Index::create(folder, &(&vectors).into(), options, &()).unwrap();
        Index::open(folder).unwrap()
    }

    #[test]
    fn a_measured_index_has_its_picture() {
        let folder = tempfile::tempdir().unwrap();
        let base = vectors(3000, 8, 1);
        let options = BuildOptions { kind: Some(IndexKind::Ivf), ..BuildOptions::default() };
        let index = index(folder.path(), 8, &base, &options);
        let queries = vectors(64, 8, 2);
        let queries = Vectors::new(8, &queries).unwrap();
        let options = MeasureOptions { seconds: 0.02, ..MeasureOptions::default() };
        let found = measure(&index, &queries, &options).unwrap();
        assert!(!found.is_empty());
        for measured in &found {
            assert!((0.0..=1.0).contains(&measured.recall));
            assert!(measured.single_qps > 0.0 && measured.batch_qps > 0.0);
            assert!(measured.p50_us <= measured.p99_us);
        }
        let page = chart("1 < 2", IndexKind::Ivf, &found);
        assert!(page.contains("1 &lt; 2") && page.ends_with("</html>\n"));
        assert!(page.contains("<th>leaves<th>candidates"));
        assert!(chart("", IndexKind::Graph, &found).contains("<th>starts<th>beam"));
        assert_eq!(page.matches("<circle").count(), 2 * found.len());
        let picture = chart_svg(&found);
        assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
    }

    #[test]
    fn queries_of_another_width_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let index = index(folder.path(), 8, &vectors(20, 8, 1), &BuildOptions::default());
        let queries = Vectors::new(4, &[0.0; 4]).unwrap();
        assert!(measure(&index, &queries, &MeasureOptions::default()).is_err());
        let none = Vectors::new(8, &[]).unwrap();
        assert!(measure(&index, &none, &MeasureOptions::default()).unwrap().is_empty());
    }
}
