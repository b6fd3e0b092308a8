use std::path::PathBuf;

use super::{VectorFile, read_attributes, read_ids};

fn npy(kind: &str, order: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}");
    let text = format!("{text:<117}\n");
    let length = (text.len() as u16).to_le_bytes();
    [&b"\x93NUMPY\x01\x00"[..], &length, text.as_bytes(), values].concat()
}

fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn vectors_are_read_in_place() {
    let floats: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0].map(f32::to_le_bytes).concat();
    let (_folder, path) = file(&npy("<f4", "False", "(3, 2)", &floats));
    let opened = VectorFile::open(&path).unwrap();
    let vectors = opened.vectors().unwrap();
    assert_eq!((vectors.rows(), vectors.dim(), vectors.row(2)), (3, 2, &[5.0, 6.0][..]));
    let head: Vec<u8> = [3u32, 2].map(u32::to_le_bytes).concat();
    let (_folder, path) = file(&[head, floats].concat());
    assert_eq!(VectorFile::open(&path).unwrap().vectors().unwrap().row(1), &[3.0, 4.0]);
}

#[test]
fn ids_of_every_width_are_read() {
    let expected = vec![7, u64::MAX];
    let wide: Vec<u8> = [7i64, -1].map(i64::to_le_bytes).concat();
    let narrow: Vec<u8> = [7i32, -1].map(i32::to_le_bytes).concat();
    for (kind, values) in [("<i8", wide), ("<i4", narrow)] {
        let (_folder, path) = file(&npy(kind, "False", "(2,)", &values));
        assert_eq!(read_ids(&path).unwrap(), expected);
    }
}

#[test]
fn other_files_are_refused() {
    let refused = [
        npy("<f4", "True", "(1, 1)", &[0; 4]),
        npy("<f8", "False", "(1, 1)", &[0; 8]),
        npy("<f4", "False", "(1,)", &[0; 4]),
        npy("<f4", "False", "(1, 2)", &[0; 4]),
        npy("<f4", "False", "(99999999999, 99999999999)", &[0; 4]),
        npy("<f4", "False", "(1, x)", &[0; 4]),
        b"\x93NUMPY\x01\x00\xff\xff{".to_vec(),
        b"\x93NUMPY".to_vec(),
        b"text".to_vec(),
        vec![255; 64],
    ];
    for bytes in refused {
        let (_folder, path) = file(&bytes);
        assert!(VectorFile::open(&path).is_err());
        assert!(read_ids(&path).is_err());
    }
}

#[test]
fn attributes_are_read_line_by_line() {
    let text =
        "{\"color\": \"red\", \"tags\": [\"a\", \"b\"], \"price\": 3.5, \"year\": null}\n{}\n";
    let (_folder, path) = file(text.as_bytes());
    let items = read_attributes(&path).unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(items[0].tokens("tags").collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((items[0].number("price"), items[0].number("year")), (Some(3.5), None));
    for line in ["[]", "{\"a\": true}", "{\"a\": [1]}", "{"] {
        let (_folder, path) = file(format!("{{}}\n{line}\n").as_bytes());
        let error = read_attributes(&path).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
