//! Vectors as NumPy files: one with the vectors, and one with their ids beside it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rectool_base::WholeFile;

use crate::{ModelError, OutputColumn, Vectors, check_output, write_columns};

/// What a header's length, with all before it, is a multiple of: NumPy's own choice.
const ALIGNMENT: usize = 64;
/// Values that are turned into bytes at a time.
const CHUNK: usize = 1 << 14;

fn is_npy(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "npy")
}

/// Where the ids of the vectors in the `.npy` file `path` go: `items.ids.npy` for `items.npy`.
///
/// ```
/// use std::path::Path;
/// let ids = rectool_model::ids_beside(Path::new("out/items.npy"));
/// assert_eq!(ids, Path::new("out/items.ids.npy"));
/// ```
pub fn ids_beside(path: &Path) -> PathBuf {
    path.with_extension("ids.npy")
}

/// Fails if vectors could not be written as `path`: its ending says the format.
///
/// # Errors
/// If it ends otherwise than in `.arrow`, `.parquet` or `.npy`, or a file is there already.
pub fn check_vectors_output(path: &Path) -> Result<(), ModelError> {
    if !is_npy(path) {
        return check_output(path).map_err(|error| match error {
            ModelError::Option { option, found, .. } => {
                let expected = "a name that ends in .arrow, .parquet or .npy".to_owned();
                ModelError::Option { option, found, expected }
            }
            other => other,
        });
    }
    match [path.to_owned(), ids_beside(path)].into_iter().find(|path| path.exists()) {
        Some(path) => Err(ModelError::Exists { path }),
        None => Ok(()),
    }
}

/// Writes vectors with their ids: as columns `id` and `vector` of an Arrow IPC or Parquet file, or as
/// `.npy`, f32 [N, E] and, in the file that [`ids_beside`] names, i64 \[N\].
///
/// # Errors
/// As [`check_vectors_output`], or if the disk is full; nothing of these names is then left behind.
pub fn write_vectors(path: &Path, vectors: Vectors) -> Result<(), ModelError> {
    check_vectors_output(path)?;
    let Vectors { ids, values, width } = vectors;
    let ids = ids.as_slice();
    if !is_npy(path) {
        let ids = OutputColumn::Ids(ids.to_vec());
        let columns = vec![("id", ids), ("vector", OutputColumn::Vectors(values, width))];
        return write_columns(path, columns);
    }
    let beside = ids_beside(path);
    let (of_ids, of_values) = (WholeFile::at(&beside), WholeFile::at(path));
    let shape = format!("{}, {width}", ids.len());
    write(&of_ids, ("<i8", &format!("{},", ids.len())), ids, i64::to_le_bytes)
        .and_then(|()| write(&of_values, ("<f4", &shape), &values, f32::to_le_bytes))
        .map_err(ModelError::io("writing", path))?;
    // Who finds the vectors finds their ids.
    of_ids.publish().map_err(ModelError::io("writing", &beside))?;
    of_values.publish().map_err(|error| {
        // The error itself is what matters.
        let _ = fs::remove_file(&beside);
        ModelError::io("writing", path)(error)
    })
}

/// Writes values of the type `kind` in C order.
fn write<T: Copy, const N: usize>(
    whole: &WholeFile,
    (kind, shape): (&str, &str),
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(whole.partial())?);
    file.write_all(&header(kind, shape))?;
    for chunk in values.chunks(CHUNK) {
        let chunk: Vec<u8> = chunk.iter().flat_map(|value| bytes(*value)).collect();
        file.write_all(&chunk)?;
    }
    file.flush()
}

/// The header of version 1.0 of the format.
fn header(kind: &str, shape: &str) -> Vec<u8> {
    let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    let before = 10;
    let length = (before + text.len() + 1).next_multiple_of(ALIGNMENT) - before;
    let text = format!("{text:<width$}\n", width = length - 1);
    let length = u16::try_from(length).expect("a header of two numbers is short").to_le_bytes();
    [&b"\x93NUMPY\x01\x00"[..], &length, text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ids;

    fn vectors() -> Vectors {
        let ids = Ids::new(vec![-7, 5, 1 << 40]);
        Vectors { ids, values: (0..6).map(|at| at as f32 / 4.0).collect(), width: 2 }
    }

    #[test]
    fn both_files_are_as_numpy_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("items.npy");
        write_vectors(&path, vectors()).unwrap();
        let values = fs::read(&path).unwrap();
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }";
        assert_eq!(&values[..10], b"\x93NUMPY\x01\x00\x76\x00");
        assert_eq!(values[10..128], *format!("{text:<117}\n").as_bytes());
        let floats: Vec<f32> =
            values[128..].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        assert_eq!(floats, vectors().values);
        let ids = fs::read(folder.path().join("items.ids.npy")).unwrap();
        let text = "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }";
        assert_eq!(ids[10..128], *format!("{text:<117}\n").as_bytes());
        let ids: Vec<i64> =
            ids[128..].as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect();
        assert_eq!(ids, [-7, 5, 1 << 40]);
    }

    #[test]
    fn what_is_there_stays_and_what_fails_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a.ids.npy"), "mine").unwrap();
        let error = write_vectors(&path("a.npy"), vectors()).unwrap_err();
        assert!(
            matches!(&error, ModelError::Exists { path } if path.ends_with("a.ids.npy")),
            "{error}"
        );
        assert!(!path("a.npy").exists());
        assert_eq!(fs::read(path("a.ids.npy")).unwrap(), b"mine");
        // The vectors cannot be written, and so the ids are not kept either.
        let partial = WholeFile::at(&path("b.npy")).partial().to_owned();
        fs::create_dir(&partial).unwrap();
        let error = write_vectors(&path("b.npy"), vectors()).unwrap_err();
        assert!(matches!(error, ModelError::Io { .. }), "{error}");
        assert!(!path("b.ids.npy").exists());
        fs::remove_dir(&partial).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = write_vectors(&path("c.txt"), vectors()).unwrap_err();
        assert!(error.to_string().contains(".parquet or .npy"), "{error}");
        write_vectors(&path("c.arrow"), vectors()).unwrap();
        assert!(path("c.arrow").exists() && !path("c.ids.npy").exists());
    }
}
