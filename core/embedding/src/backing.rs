//! Where the rows of a table live: in memory, or in a file that the system pages in and out.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use memmap2::MmapMut;
use serde::{Deserialize, Serialize};

/// Where the rows of a table live. The bytes that training leaves in them are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Backing {
    /// In memory.
    #[default]
    Memory,
    /// In files without a name in a folder of a local disk, mapped into memory: the table may be
    /// larger than memory, and the system keeps in it what is in use. The files vanish with the table
    /// or the process, however that ends. The index stays in memory.
    File {
        /// An existing folder.
        folder: PathBuf,
    },
}

/// Zeroed memory, in whole pages. From the system it costs nothing until it is written to; in a file
/// its place on the disk is taken at once. `huge` asks for huge pages.
pub(crate) fn claim(backing: &Backing, bytes: usize, huge: bool) -> io::Result<MmapMut> {
    match backing {
        Backing::Memory => claim_memory(bytes, huge),
        Backing::File { folder } => claim_file(folder, bytes),
    }
}

pub(crate) fn claim_memory(bytes: usize, huge: bool) -> io::Result<MmapMut> {
    let memory = MmapMut::map_anon(bytes)?;
    #[cfg(all(target_os = "linux", not(miri)))]
    if huge {
        // Kernels built without huge pages refuse, and do well enough.
        let _ = memory.advise(memmap2::Advice::HugePage);
    }
    #[cfg(any(not(target_os = "linux"), miri))]
    let _ = huge;
    Ok(memory)
}

fn claim_file(folder: &Path, bytes: usize) -> io::Result<MmapMut> {
    let mut file = tempfile::tempfile_in(folder)?;
    // A disk that fills up is an error here; behind a mapping it would be a signal.
    write_zeros(&mut file, bytes)?;
    #[expect(unsafe_code, reason = "maps a file")]
    // SAFETY: the file has no name and its only handle is closed below, so that nobody else can
    // change or cut it while it is mapped.
    let memory = unsafe { MmapMut::map_mut(&file)? };
    #[cfg(unix)]
    // Rows are found here and there: pages around a row are not read with it.
    memory.advise(memmap2::Advice::Random)?;
    Ok(memory)
}

fn write_zeros(file: &mut File, bytes: usize) -> io::Result<()> {
    let block = vec![0; bytes.min(1 << 20)];
    let mut rest = bytes;
    while rest > 0 {
        let count = rest.min(block.len());
        file.write_all(&block[..count])?;
        rest -= count;
    }
    Ok(())
}

/// Times that this process touched a page that was not mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageFaults {
    /// The page was in memory.
    pub minor: u64,
    /// The page had to be read from a disk.
    pub major: u64,
}

impl PageFaults {
    /// Those of the process so far, where the system tells (Linux). For tables backed by a file, the
    /// major ones count how often training waited for a row.
    pub fn of_process() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in parentheses, which may hold spaces.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace().skip(7);
        let minor = fields.next()?.parse().ok()?;
        let major = fields.nth(1)?.parse().ok()?;
        Some(Self { minor, major })
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            minor: self.minor.saturating_add(other.minor),
            major: self.major.saturating_add(other.major),
        }
    }

    /// Those since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            minor: self.minor.saturating_sub(earlier.minor),
            major: self.major.saturating_sub(earlier.major),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn touching_memory_counts_as_faults() {
        let before = PageFaults::of_process().unwrap();
        let mut memory = claim(&Backing::Memory, 4 << 20, false).unwrap();
        memory.fill(1);
        assert!(PageFaults::of_process().unwrap().since(before).minor > 0);
    }

    #[test]
    fn a_file_is_zeroed_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let backing = Backing::File { folder: folder.path().to_owned() };
        let mut memory = claim(&backing, 3 << 20, true).unwrap();
        assert!(memory.iter().all(|byte| *byte == 0) && memory.len() == 3 << 20);
        memory.fill(7);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let lost = Backing::File { folder: folder.path().join("lost") };
        assert_eq!(claim(&lost, 1, false).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
