//! Delimited text.

use rectool_base::hash_text;

use super::*;

fn names(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn ratings() -> CsvSpec {
    let columns = ColumnSpec {
        label: Some("label".into()),
        dense: names("age"),
        ids: names("user title"),
        lists: names("genres"),
        ..Default::default()
    };
    CsvSpec { columns, ..Default::default() }
}

fn import(
    spec: &CsvSpec,
    fixture: &Fixture,
    text: impl AsRef<[u8]>,
    chunk_bytes: usize,
) -> ImportSummary {
    let rule = all_train(vec![fixture.file("rows.csv", text)]);
    let options = ImportOptions::default();
    let mut import = text::TextImport::new(&rule, &fixture.out, &options, &quiet);
    import.chunk_bytes = chunk_bytes;
    super::super::csv::import(spec, &import).unwrap()
}

const RATINGS: &str = "label,user,title,age,genres,zip\n\
    1,7,\"Alien, \"\"the\"\" first\",25,a|b,1\n\
    \n\
    0,u8,\"two\nlines\",,,2\n\
    5,9,x,1,a,3\n\
    1,10,y,1e99,a,4\n\
    0,11,z,3,b||a,5\n";

#[test]
fn quotes_lists_and_ids_are_read() {
    for text in [RATINGS.to_owned(), RATINGS.replace('\n', "\r\n")] {
        for chunk_bytes in [1, 50, 1 << 20] {
            let fixture = Fixture::new();
            let summary = import(&ratings(), &fixture, &text, chunk_bytes);
            assert_eq!((summary.rows(), summary.bad), (3, 2));
            assert_eq!(summary.left_out, ["zip"]);
            assert_eq!(fixture.floats("train", "label"), [1.0, 0.0, 0.0]);
            let dense = fixture.floats("train", "dense");
            assert!(dense[0] == 25.0 && dense[1].is_nan() && dense[2] == 3.0);
            let two_lines = if text.contains('\r') { "two\r\nlines" } else { "two\nlines" };
            let titles = ["Alien, \"the\" first", two_lines, "z"].map(hash_text);
            let ids = [7, titles[0], hash_text("u8"), titles[1], 11, titles[2]];
            assert_eq!(fixture.ids("train", "ids"), ids);
            let (a, b) = (hash_text("a"), hash_text("b"));
            assert_eq!(fixture.lists("train", "genres"), [vec![a, b], vec![], vec![b, a]]);
            let rejects = fixture.rejects();
            assert!(rejects[1].ends_with("\t6\t`label`: expected 0 or 1, found `5`\t5,9,x,1,a,3"));
            assert!(rejects[2].contains("\t7\t`age`: expected a number in the range of f32"));
        }
    }
}

#[test]
fn texts_and_lists_of_all_types_are_kept() {
    let columns = ColumnSpec {
        texts: names("title"),
        float_lists: names("prices"),
        text_lists: names("tags"),
        ..Default::default()
    };
    let spec = CsvSpec { columns, ..Default::default() };
    let text = "title,prices,tags\n\
        \"a \u{e4}, b\",1.5|2,x|y\n\
        bad,1|two,x\n\
        ,,\n\
        c,|3|,z||\n";
    for chunk_bytes in [1, 20, 1 << 20] {
        let fixture = Fixture::new();
        let summary = import(&spec, &fixture, text, chunk_bytes);
        assert_eq!((summary.rows(), summary.bad), (3, 1));
        let reason = "\t3\t`prices`: expected a number, found `two`\tbad,1|two,x";
        assert!(fixture.rejects()[1].ends_with(reason), "{:?}", fixture.rejects());
        let titles: Texts = [Some("a \u{e4}, b"), None, Some("c")].into_iter().collect();
        let prices = Jagged { offsets: vec![0, 2, 2, 3], values: vec![1.5, 2.0, 3.0] };
        let tags: Texts = [Some("x"), Some("y"), Some("z")].into_iter().collect();
        let wanted = [
            Column::Text { width: 1, values: titles },
            Column::F32List(prices),
            Column::TextList { offsets: vec![0, 2, 2, 3], values: tags },
        ];
        assert_eq!(fixture.read("train"), wanted, "chunks of {chunk_bytes} bytes");
    }
    let fixture = Fixture::new();
    let rule = all_train(vec![fixture.file("rows.csv", b"title,prices,tags\n\xff,1,x\ny,1,x\n")]);
    let summary = csv(&spec, &rule, &fixture.out, &ImportOptions::default(), &quiet).unwrap();
    assert_eq!((summary.rows(), summary.bad), (1, 1));
    assert!(fixture.rejects()[1].contains("`title`: expected UTF-8"));
}

#[test]
fn labels_of_any_size_are_taken_if_asked_for() {
    let mut spec = ratings();
    spec.columns.labels = LabelRule::Any;
    let fixture = Fixture::new();
    assert_eq!(import(&spec, &fixture, RATINGS, 1 << 20).bad, 1);
    assert_eq!(fixture.floats("train", "label"), [1.0, 0.0, 5.0, 0.0]);
}

#[test]
fn rows_without_header_and_with_other_delimiters() {
    let spec = CsvSpec {
        header: Header::Names(names("y a b")),
        delimiter: Some(";".into()),
        quotes: Quotes::Literal,
        encoding: Encoding::Utf8,
        columns: ColumnSpec {
            label: Some("y".into()),
            plain_ids: names("a"),
            plain_floats: names("b"),
            ..Default::default()
        },
    };
    let fixture = Fixture::new();
    let summary = import(&spec, &fixture, "1;\"x;2\n0;7;3\n1;8\n", 1 << 20);
    assert_eq!((summary.rows(), summary.bad), (2, 1));
    assert_eq!(fixture.ids("train", "a"), [hash_text("\"x"), 7]);
    assert_eq!(fixture.floats("train", "b"), [2.0, 3.0]);
    assert!(fixture.rejects()[1].contains("\t3\texpected 3 fields, found 2"));
}

#[test]
fn delimiters_of_two_characters_and_latin1() {
    let spec = CsvSpec {
        header: Header::Names(names("item title genres")),
        delimiter: Some("::".into()),
        encoding: Encoding::Latin1,
        columns: ColumnSpec {
            plain_ids: names("item"),
            lists: names("genres"),
            texts: names("title"),
            ..Default::default()
        },
        ..CsvSpec::default()
    };
    let text = b"1::\"A: Mis\xe9rables::x|y\r\n2::b::\n3::c\n4::d::e::\xe9\n";
    for chunk_bytes in [1, 7, 1 << 20] {
        let fixture = Fixture::new();
        let summary = import(&spec, &fixture, text, chunk_bytes);
        assert_eq!((summary.rows(), summary.bad), (2, 2));
        assert_eq!(fixture.ids("train", "item"), [1, 2]);
        let Column::Text { values, .. } = &fixture.read("train")[2] else { panic!("no texts") };
        assert_eq!(values.get(0), Some("\"A: Mis\u{e9}rables"));
        assert_eq!(
            fixture.lists("train", "genres"),
            [vec![hash_text("x"), hash_text("y")], Vec::new()]
        );
        assert!(fixture.rejects()[1].ends_with("\t3\texpected 3 fields, found 2\t3::c"));
        assert!(fixture.rejects()[2].ends_with("\t4::d::e::\u{e9}"), "{:?}", fixture.rejects());
    }
}

#[test]
fn tabs_are_found_and_files_may_order_columns_differently() {
    let fixture = Fixture::new();
    let a = fixture.file("a.tsv", "label\tuser\ttitle\tage\tgenres\n1\t1\tx\t2\t\n");
    let b = fixture.file("b.tsv", "genres\tage\ttitle\tuser\tlabel\n3\t4\ty\t5\t0\n");
    let rule = SplitRule::Files(vec![("train".into(), vec![a]), ("test".into(), vec![b])]);
    csv(&ratings(), &rule, &fixture.out, &ImportOptions::default(), &quiet).unwrap();
    assert_eq!(fixture.ids("test", "ids"), [5, hash_text("y")]);
    assert_eq!(fixture.lists("test", "genres"), [[3]]);

    let c = fixture.file("c.tsv", "label\tuser\n1\t2\n");
    let a = fixture.folder.path().join("a.tsv");
    let out = fixture.folder.path().join("other");
    let rule = all_train(vec![a, c.clone()]);
    let error = csv(&ratings(), &rule, &out, &ImportOptions::default(), &quiet).unwrap_err();
    assert!(error.to_string().contains("c.tsv`:1: no column `age`"), "{error}");
    assert!(!out.exists());
}

#[test]
fn an_unclosed_quote_is_a_bad_row() {
    let fixture = Fixture::new();
    let text = "label,user,title,age,genres\n1,1,x,2,a\n0,2,\"y,3,b\n1,3,z,4,c\n";
    let summary = import(&ratings(), &fixture, text, 16);
    assert_eq!((summary.rows(), summary.bad), (1, 1));
    assert!(fixture.rejects()[1].contains("\t3\texpected a closing quote"));
}

#[test]
fn fractions_count_records_not_lines() {
    let fixture = Fixture::new();
    let rows: Vec<String> = (0..10).map(|row| format!("1,{row},\"a\n\nb\",1,\n")).collect();
    let text = format!("label,user,title,age,genres\n{}", rows.concat());
    let rule = fractions(fixture.file("rows.csv", text));
    let summary = csv(&ratings(), &rule, &fixture.out, &ImportOptions::default(), &quiet).unwrap();
    assert_eq!(summary.splits.iter().map(|split| split.1).collect::<Vec<_>>(), [8, 1, 1]);
}

#[test]
fn headers_and_delimiters_that_cannot_be_are_refused() {
    let fixture = Fixture::new();
    let run = |spec: &CsvSpec, text: &str| {
        let rule = all_train(vec![fixture.file("rows.csv", text)]);
        csv(spec, &rule, &fixture.out, &ImportOptions::default(), &quiet).unwrap_err().to_string()
    };
    assert!(run(&ratings(), "").contains("the file is empty"));
    assert!(run(&ratings(), "\n\n").contains("no header"));
    assert!(run(&ratings(), "label,user,ttle,age,genres\n").contains("no column `title`"));
    let quote = CsvSpec { delimiter: Some("\"".into()), ..ratings() };
    assert!(run(&quote, RATINGS).contains("`delimiter`: expected ASCII characters"));
    assert_eq!(fs::read_dir(fixture.folder.path()).unwrap().count(), 1);
}
