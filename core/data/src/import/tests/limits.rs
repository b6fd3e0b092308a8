//! Bad rows, bad files, taken places.

use super::*;

fn max_bad(max_bad: MaxBad) -> ImportOptions {
    ImportOptions { max_bad, ..Default::default() }
}

/// 30 rows of which lines 3 and 21 are bad.
fn damaged() -> String {
    let text = criteo_text(30, "\n");
    let mut lines: Vec<&str> = text.lines().collect();
    lines[2] = "7\tseven\tfields";
    lines[20] = "";
    lines.insert(20, "1\t2");
    lines.join("\r\n")
}

#[test]
fn bad_rows_are_counted_and_shown() {
    for chunk_bytes in [1, 500, 1 << 20] {
        let fixture = Fixture::new();
        let rule = fractions(fixture.file("log.tsv", damaged()));
        let summary = import_chunked(&rule, &fixture.out, chunk_bytes);
        assert_eq!((summary.bad, summary.rows()), (2, 28));
        // 30 records, cut at 24 and 27; the bad ones belong to train.
        assert_eq!(summary.splits.iter().map(|split| split.1).collect::<Vec<_>>(), [22, 3, 3]);
        let rejects = fixture.rejects();
        assert_eq!(rejects.len(), 3);
        let path = fixture.folder.path().join("log.tsv");
        let path = path.display();
        let reason = "`label`: expected 0 or 1, found `7`";
        assert_eq!(rejects[1], format!("{path}\t3\t{reason}\t7\\tseven\\tfields"));
        assert_eq!(rejects[2], format!("{path}\t21\texpected 40 fields, found 2\t1\\t2"));
    }
}

#[test]
fn too_many_bad_rows_end_the_import() {
    for max in [MaxBad::Rows(1), MaxBad::Fraction(0.05), MaxBad::Rows(0)] {
        let fixture = Fixture::new();
        let rule = fractions(fixture.file("log.tsv", damaged()));
        let error = criteo(&rule, &fixture.out, &max_bad(max), &quiet).unwrap_err();
        let DataError::TooManyBad { bad, first, rejects, .. } = &error else { panic!("{error}") };
        assert_eq!(*bad, 2);
        assert_eq!(first, "line 3: `label`: expected 0 or 1, found `7`");
        assert_eq!(rejects, &fixture.folder.path().join("data.rejects.tsv"));
        assert_eq!(lines(rejects).len(), 3);
        let left = fs::read_dir(fixture.folder.path()).unwrap().count();
        assert_eq!(left, 2, "only the log and the rejects");
    }
}

#[test]
fn as_many_bad_rows_as_allowed_pass() {
    for max in [MaxBad::Rows(2), MaxBad::Fraction(0.07)] {
        let fixture = Fixture::new();
        let rule = fractions(fixture.file("log.tsv", damaged()));
        assert_eq!(criteo(&rule, &fixture.out, &max_bad(max), &quiet).unwrap().bad, 2);
    }
}

#[test]
fn a_thousand_samples_are_kept_and_all_are_counted() {
    let fixture = Fixture::new();
    let text = criteo_text(10, "\n") + &"x\n".repeat(3_000);
    let rule = all_train(vec![fixture.file("log.tsv", text)]);
    let summary = criteo(&rule, &fixture.out, &max_bad(MaxBad::Fraction(1.0)), &quiet).unwrap();
    assert_eq!(summary.bad, 3_000);
    assert_eq!(fixture.rejects().len(), 1_001);
}

#[test]
fn broken_inputs_leave_nothing() {
    let good = criteo_text(2_000, "\n");
    let mut cut = gzip(&good);
    cut.truncate(cut.len() / 2);
    let zstd = zstd::encode_all(good.as_bytes(), 1).unwrap();
    for (name, bytes) in [
        ("cut gzip", cut),
        ("cut zstd", zstd[..zstd.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("blank", b"\n\n".to_vec()),
    ] {
        let fixture = Fixture::new();
        for rule in
            [fractions(fixture.file("log", &bytes)), all_train(vec![fixture.file("log", &bytes)])]
        {
            let error = criteo(&rule, &fixture.out, &ImportOptions::default(), &quiet).unwrap_err();
            assert!(error.to_string().contains("/log`"), "{name}: {error}");
            assert_eq!(fs::read_dir(fixture.folder.path()).unwrap().count(), 1, "{name}");
        }
    }
}

#[test]
fn missing_files_and_taken_places_are_refused_first() {
    let fixture = Fixture::new();
    let log = fixture.file("log.tsv", criteo_text(3, "\n"));
    let missing = all_train(vec![log.clone(), fixture.folder.path().join("nothing.tsv")]);
    let error = criteo(&missing, &fixture.out, &ImportOptions::default(), &quiet).unwrap_err();
    assert!(matches!(error, DataError::Io { .. }), "{error}");
    let folder = all_train(vec![fixture.folder.path().to_owned()]);
    let error = criteo(&folder, &fixture.out, &ImportOptions::default(), &quiet).unwrap_err();
    assert!(matches!(error, DataError::Io { .. }), "{error}");
    fs::create_dir(&fixture.out).unwrap();
    let rule = all_train(vec![log]);
    let error = criteo(&rule, &fixture.out, &ImportOptions::default(), &quiet).unwrap_err();
    assert!(matches!(error, DataError::OutputExists { .. }), "{error}");
}

#[test]
fn options_out_of_range_are_refused() {
    let fixture = Fixture::new();
    let log = fixture.file("log.tsv", criteo_text(3, "\n"));
    let halves = |a, b| SplitRule::Fractions {
        files: vec![log.clone()],
        fractions: vec![("a".into(), a), ("b".into(), b)],
    };
    let twice = SplitRule::Files(vec![("a".into(), vec![log.clone()]), ("a".into(), vec![])]);
    let none = SplitRule::Files(vec![]);
    for rule in [halves(0.5, 0.6), halves(-0.5, 1.5), halves(f64::NAN, 1.0), twice, none] {
        let error = criteo(&rule, &fixture.out, &ImportOptions::default(), &quiet).unwrap_err();
        assert!(matches!(error, DataError::Option { .. }), "{rule:?}: {error}");
    }
    let bad = max_bad(MaxBad::Fraction(1.5));
    let error = criteo(&halves(0.5, 0.5), &fixture.out, &bad, &quiet).unwrap_err();
    assert!(matches!(error, DataError::Option { option: "max_bad", .. }), "{error}");
}
