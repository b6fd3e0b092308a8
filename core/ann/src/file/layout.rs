//! Bytes of a part file.

/// First bytes of every part file.
pub(crate) const MAGIC: [u8; 8] = *b"RECTANN\n";
/// Version of the format: raised by every change of it.
pub(crate) const VERSION: u32 = 2;
/// Sections start at multiples of this.
pub(crate) const ALIGNMENT: u64 = 64;
/// Sections of a file.
pub(crate) const SECTIONS_MAX: u32 = 4096;

/// The first 64 bytes. All numbers are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u32,
    /// Entries of the section table.
    pub(crate) sections: u32,
    /// Where the section table starts: it is the last thing in the file.
    pub(crate) table_offset: u64,
    /// Bytes of the whole file.
    pub(crate) file_bytes: u64,
    /// XXH3-64 of the section table.
    pub(crate) table_checksum: u64,
    /// Zeros.
    pub(crate) reserved: [u64; 2],
    /// XXH3-64 of the 56 bytes before.
    pub(crate) checksum: u64,
}

/// One entry of the section table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Entry {
    /// A [`Kind`].
    pub(crate) kind: u32,
    /// Which of several sections of the kind.
    pub(crate) index: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// XXH3-64 of the section.
    pub(crate) checksum: u64,
}

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    /// JSON: everything that is small.
    Meta = 1,
    /// u64 [N]: the id of each row.
    Ids = 2,
    /// u32 [N]: rows in rising order of their ids.
    IdOrder = 3,
    /// f32 [N, D]: vectors as they are.
    Rows = 4,
    /// i8 [N, D]: high bytes of vectors.
    High = 5,
    /// i8 [N, D]: low bytes of vectors.
    Low = 6,
    /// `Fact` [N].
    Facts = 7,
    /// f32 [L, D]: centroids.
    Centroids = 8,
    /// `Leaf` [L].
    Leaves = 9,
    /// f32 [positions, 4, 16].
    Codebook = 10,
    /// u8 [blocks, lines, 64]: codes.
    Codes = 11,
    /// u32 [blocks, 32]: the row in each lane of each block.
    Lanes = 12,
    /// u32 [N + 1]: where each row's tokens start, of one namespace.
    TokenStarts = 13,
    /// u32: the tokens of each row, of one namespace.
    Tokens = 14,
    /// u32 [T + 1]: where each token's rows start, of one namespace.
    PostingStarts = 15,
    /// u32: the rows of each token, of one namespace.
    Postings = 16,
    /// f64 [N]: one number of each row; NaN if it has none.
    Numbers = 17,
    /// u32 [_]: rows that have the number, in rising order of it.
    NumberOrder = 18,
    /// `PanelFacts` [⌈L / 16⌉].
    DirectoryFacts = 19,
    /// u8 [⌈L / 16⌉, ⌈D / 4⌉, 16, 4]: centroids as bytes.
    Directory = 20,
    /// f32 [D, D]: the axes along which a tree's vectors are stored, one per row.
    Axes = 21,
    /// u32 [N, degree]: rows that each row of a graph is linked with.
    Links = 22,
    /// u32 [L]: the row at which a search of a graph enters a leaf.
    Entries = 23,
}

/// What turns whole-number products with a row into a score.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Fact {
    /// Value of one unit of the low byte.
    pub(crate) scale: f32,
    /// −|x|²/2 for L2, else 0.
    pub(crate) bias: f32,
}

/// One leaf of a partition.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Leaf {
    /// First block.
    pub(crate) block: u32,
    /// Vectors in its blocks, the last of which may be partly empty.
    pub(crate) vectors: u32,
    /// First of the rows whose nearest leaf it is; they follow each other.
    pub(crate) row: u32,
    /// −|c|²/2 for L2, else 0.
    pub(crate) bias: f32,
}
