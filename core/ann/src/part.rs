//! One part of an index: a file, opened.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::code::{COLUMNS_MAX, Codebook, Entries};
use crate::error::AnnError;
use crate::file::{Fact, IndexKind, Kind, Leaf, Meta, OperatingPoint, Sections};
use crate::filter::{AttributeStore, Filter, Selected, Selections};
use crate::kernel::{
    BLOCK, Directory, GROUP, LANES, Line, PanelFacts, Plane, dot, panel_lines, prefetch,
};
use crate::limits::{DIM_MAX, LEAVES_MAX, PART_ROWS_MAX};
use crate::metric::Metric;
use crate::rotation::{Rotation, TURNED_DIM_MAX};
use crate::search::Landmarks;

/// One part of an index, mapped into memory. It never changes; [`crate::Index`] lays changes over it.
///
/// ```
/// use rectool_ann::{BuildOptions, Part, SearchOptions, Vectors, build};
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("items.part");
/// let vectors = Vectors::new(2, &[1.0, 0.0, 0.0, 1.0, 0.6, 0.6])?;
/// build(&path, &(&vectors).into(), &BuildOptions::default(), &())?;
/// let part = Part::open(&path)?;
/// let hits = part.search(&[2.0, 0.1], &SearchOptions::new(2))?;
/// assert_eq!((hits[0].id, hits[1].id), (0, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Part {
    sections: Sections,
    pub(crate) meta: Meta,
    rotation: Option<Rotation>,
    /// The directory's facts for nearness, x·c − |c|²/2, once a vector is put in.
    distance_facts: OnceLock<Vec<PanelFacts>>,
    /// What orders the queries of a batch, once there was one.
    landmarks: OnceLock<Landmarks>,
    selections: Selections,
}

impl Part {
    /// Maps a file. Takes milliseconds whatever its size: structure, and the checksums of all but the
    /// parts that grow with the number of vectors, are compared now; [`Self::verify`] compares all.
    ///
    /// # Errors
    /// If the file cannot be read, is cut off, or is not what a build writes.
    pub fn open(path: &Path) -> Result<Self, AnnError> {
        Self::new(Sections::open(path)?)
    }

    /// Takes the bytes of a file that would be called `path`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, AnnError> {
        Self::new(Sections::from_bytes(path, bytes)?)
    }

    fn new(sections: Sections) -> Result<Self, AnnError> {
        let meta = sections.meta()?;
        let mut part = Self {
            sections,
            meta,
            rotation: None,
            distance_facts: OnceLock::new(),
            landmarks: OnceLock::new(),
            selections: Selections::default(),
        };
        part.check()?;
        let axes = part.sections.values::<f32>(Kind::Axes, 0);
        part.rotation = (!axes.is_empty()).then(|| Rotation::new(part.dim(), axes));
        Ok(part)
    }

    fn check(&self) -> Result<(), AnnError> {
        let Self { sections, meta, .. } = self;
        let (rows, dim, leaves) = (meta.rows, meta.dim, meta.leaves);
        if rows > PART_ROWS_MAX || !(1..=DIM_MAX).contains(&dim) || leaves > LEAVES_MAX {
            let found = format!("{rows} x {dim}, {leaves} leaves");
            return Err(sections.corrupt("sizes", found, "sizes within the limits"));
        }
        let beyond = |point: &&OperatingPoint| point.candidates > PART_ROWS_MAX;
        if let Some(point) = meta.curve.iter().find(beyond) {
            return Err(sections.corrupt(
                "candidates",
                point.candidates,
                "numbers within the limits",
            ));
        }
        sections.expect::<u64>(Kind::Ids, 0, rows)?;
        sections.expect::<u32>(Kind::IdOrder, 0, rows)?;
        self.check_attributes()?;
        if meta.kind == IndexKind::Flat {
            return sections.expect::<f32>(Kind::Rows, 0, rows * dim);
        }
        if meta.kind == IndexKind::Graph {
            return self.check_graph();
        }
        sections.expect::<i8>(Kind::High, 0, rows * dim)?;
        sections.expect::<i8>(Kind::Low, 0, rows * dim)?;
        sections.expect::<Fact>(Kind::Facts, 0, rows)?;
        sections.expect::<f32>(Kind::Centroids, 0, leaves * dim)?;
        sections.expect::<Leaf>(Kind::Leaves, 0, leaves)?;
        if dim <= TURNED_DIM_MAX {
            sections.expect::<f32>(Kind::Axes, 0, dim * dim)?;
            sections.verify_section(Kind::Axes)?;
        }
        let biased = meta.metric == Metric::L2;
        let panels = leaves.div_ceil(LANES);
        sections.expect::<PanelFacts>(Kind::DirectoryFacts, 0, panels)?;
        sections.expect::<Line>(Kind::Directory, 0, panels * panel_lines(dim))?;
        self.check_widths(&meta.widths)?;
        sections.expect::<Entries>(Kind::Codebook, 0, Codebook::positions(&meta.widths, biased))?;
        for kind in
            [Kind::Codebook, Kind::Centroids, Kind::Leaves, Kind::DirectoryFacts, Kind::Directory]
        {
            sections.verify_section(kind)?;
        }
        let lines = Codebook::lines(&meta.widths, biased);
        let table = sections.values::<Leaf>(Kind::Leaves, 0);
        let blocks = |leaf: &Leaf| leaf.vectors.div_ceil(BLOCK as u32);
        let total = table.iter().try_fold(0u32, |at, leaf| {
            (leaf.block == at).then(|| at.checked_add(blocks(leaf))).flatten()
        });
        let Some(total) = total.filter(|_| leaves > 0) else {
            return Err(sections.corrupt("leaves", "gaps", "blocks without gaps"));
        };
        let total = total as usize;
        sections.expect::<Line>(Kind::Codes, 0, total * lines)?;
        sections.expect::<u32>(Kind::Lanes, 0, total * BLOCK)
    }

    fn check_widths(&self, widths: &[u8]) -> Result<(), AnnError> {
        let columns: usize = widths.iter().map(|width| usize::from(*width)).sum();
        let fits = |width: &u8| (1..=COLUMNS_MAX).contains(&usize::from(*width));
        if widths.is_empty() || columns > self.meta.dim || !widths.iter().all(fits) {
            let expected = format!("1 to {COLUMNS_MAX} each, {} in all at most", self.meta.dim);
            return Err(self.sections.corrupt(
                "columns of positions",
                format!("{widths:?}"),
                expected,
            ));
        }
        Ok(())
    }

    fn check_attributes(&self) -> Result<(), AnnError> {
        let Self { sections, meta, .. } = self;
        for (index, namespace) in meta.namespaces.iter().enumerate() {
            sections.expect::<u32>(Kind::TokenStarts, index, meta.rows + 1)?;
            sections.expect::<u32>(Kind::PostingStarts, index, namespace.tokens.len() + 1)?;
            let tokens = sections.values::<u32>(Kind::Tokens, index).len();
            sections.expect::<u32>(Kind::Postings, index, tokens)?;
        }
        (0..meta.numbers.len())
            .try_for_each(|index| sections.expect::<f64>(Kind::Numbers, index, meta.rows))
    }

    /// Compares every byte with its checksum.
    ///
    /// # Errors
    /// Names the first section that differs.
    pub fn verify(&self) -> Result<(), AnnError> {
        self.sections.verify()
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        self.sections.path()
    }

    /// Bytes of the file.
    pub fn file_bytes(&self) -> u64 {
        self.sections.file_bytes()
    }

    /// Number N of vectors.
    pub fn rows(&self) -> usize {
        self.meta.rows
    }

    /// Width D of a vector.
    pub fn dim(&self) -> usize {
        self.meta.dim
    }

    /// What near means.
    pub fn metric(&self) -> Metric {
        self.meta.metric
    }

    /// How near ones are found.
    pub fn kind(&self) -> IndexKind {
        self.meta.kind
    }

    /// Leaves of the partition; 0 for a flat part.
    pub fn leaves(&self) -> usize {
        self.meta.leaves
    }

    /// Efforts in rising order with the recall that they reached on the sample of the build.
    pub fn curve(&self) -> &[OperatingPoint] {
        &self.meta.curve
    }

    /// The id of each row.
    pub fn ids(&self) -> &[u64] {
        self.sections.values(Kind::Ids, 0)
    }

    /// The rows in rising order of their ids.
    pub(crate) fn id_order(&self) -> &[u32] {
        self.sections.values(Kind::IdOrder, 0)
    }

    /// The row of an id.
    pub fn row_of(&self, id: u64) -> Option<usize> {
        let (ids, order) = (self.ids(), self.id_order());
        let id_at = |row: &u32| ids.get(*row as usize).copied().unwrap_or(u64::MAX);
        let at = order.partition_point(|row| id_at(row) < id);
        order.get(at).filter(|row| id_at(row) == id).map(|row| *row as usize)
    }

    /// Vectors of a flat part [N, D].
    pub(crate) fn flat_rows(&self) -> &[f32] {
        self.sections.values(Kind::Rows, 0)
    }

    /// The row in each lane of a tree's blocks; none of other kinds.
    pub(crate) fn lanes(&self) -> &[u32] {
        self.sections.values(Kind::Lanes, 0)
    }

    /// Attributes of the vectors.
    pub(crate) fn attributes(&self) -> AttributeStore<'_> {
        AttributeStore { sections: &self.sections, meta: &self.meta }
    }

    /// What a filter selects.
    pub(crate) fn selected(&self, filter: &Filter) -> Arc<Selected> {
        self.selections.get(filter, || self.attributes().rows(filter))
    }

    pub(crate) fn sections(&self) -> &Sections {
        &self.sections
    }

    /// What a tree search reads.
    pub(crate) fn tree(&self) -> Tree<'_> {
        let Self { sections, meta, .. } = self;
        let biased = meta.metric == Metric::L2;
        let dim = meta.dim;
        Tree {
            centroids: sections.values(Kind::Centroids, 0),
            leaves: sections.values(Kind::Leaves, 0),
            directory: self.directory(),
            codebook: Codebook {
                dim,
                widths: &meta.widths,
                entries: sections.values(Kind::Codebook, 0),
            },
            lines: Codebook::lines(&meta.widths, biased),
            codes: sections.values(Kind::Codes, 0),
            lanes: self.lanes(),
            rows: self.stored(),
        }
    }

    /// The centroids of a tree or a graph, by which the leaves of a search are chosen.
    pub(crate) fn directory(&self) -> Directory<'_> {
        Directory {
            panels: self.sections.values(Kind::Directory, 0),
            facts: self.sections.values(Kind::DirectoryFacts, 0),
            count: self.meta.leaves,
        }
    }

    /// The vectors of a tree or a graph.
    pub(crate) fn stored(&self) -> StoredRows<'_> {
        let (sections, dim) = (&self.sections, self.meta.dim);
        StoredRows {
            high: Plane::new(dim, sections.values(Kind::High, 0)),
            low: Plane::new(dim, sections.values(Kind::Low, 0)),
            facts: sections.values(Kind::Facts, 0),
        }
    }

    /// The vector of a row as it is stored: of unit length for cosine, rounded to 16 bits a value in
    /// a tree. `None` if there is no such row.
    pub fn vector(&self, row: usize) -> Option<Vec<f32>> {
        if row >= self.meta.rows {
            return None;
        }
        let dim = self.meta.dim;
        match self.meta.kind {
            IndexKind::Flat => self.flat_rows().get(row * dim..)?.get(..dim).map(<[f32]>::to_vec),
            IndexKind::Ivf | IndexKind::Graph => {
                let stored = self.stored().vector(row)?;
                Some(self.turned_back(&stored))
            }
        }
    }

    /// The axes along which vectors are stored, if not their own.
    pub(crate) fn rotation(&self) -> Option<&Rotation> {
        self.rotation.as_ref()
    }

    /// The facts with which the directory gives x·c − |c|²/2.
    pub(crate) fn distance_facts(&self) -> &[PanelFacts] {
        let tree = self.tree();
        if self.metric() == Metric::L2 {
            return tree.directory.facts;
        }
        self.distance_facts.get_or_init(|| {
            let mut facts = tree.directory.facts.to_vec();
            let biases = facts.iter_mut().flat_map(|facts| &mut facts.biases);
            for (bias, centroid) in biases.zip(tree.centroids.chunks_exact(self.dim())) {
                *bias = -0.5 * dot(centroid, centroid);
            }
            facts
        })
    }

    /// What orders the queries of a batch.
    pub(crate) fn landmarks(&self) -> &Landmarks {
        self.landmarks.get_or_init(|| Landmarks::of(self))
    }

    /// A vector \[D\] as it was before it was turned.
    pub(crate) fn turned_back(&self, stored: &[f32]) -> Vec<f32> {
        let Some(rotation) = &self.rotation else { return stored.to_vec() };
        let mut out = Vec::new();
        rotation.turn_back(stored, &mut out);
        out
    }
}

/// What a tree search reads of a part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree<'a> {
    /// Centroids [L, D].
    pub(crate) centroids: &'a [f32],
    pub(crate) leaves: &'a [Leaf],
    pub(crate) directory: Directory<'a>,
    pub(crate) codebook: Codebook<'a>,
    /// Lines of a block.
    pub(crate) lines: usize,
    pub(crate) codes: &'a [Line],
    pub(crate) lanes: &'a [u32],
    pub(crate) rows: StoredRows<'a>,
}

impl<'a> Tree<'a> {
    /// The rows whose nearest leaf it is.
    #[inline]
    pub(crate) fn rows_of(&self, leaf: usize) -> Range<u32> {
        let end = self.leaves.get(leaf + 1).map_or(self.rows.facts.len() as u32, |next| next.row);
        self.leaves[leaf].row..end
    }

    /// Codes and rows of a leaf's blocks.
    #[inline]
    pub(crate) fn blocks(&self, leaf: usize) -> (&'a [Line], &'a [u32]) {
        let Leaf { block, vectors, .. } = self.leaves[leaf];
        let (block, blocks) = (block as usize, vectors.div_ceil(BLOCK as u32) as usize);
        let codes = &self.codes[block * self.lines..][..blocks * self.lines];
        (codes, &self.lanes[block * BLOCK..][..blocks * BLOCK])
    }
}

/// Vectors asked for while rows are looked up: as many as fit the second cache beside all else.
pub(crate) const ROWS_AHEAD: usize = 1024;

/// Vectors in two planes of bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredRows<'a> {
    pub(crate) high: Plane<'a>,
    pub(crate) low: Plane<'a>,
    pub(crate) facts: &'a [Fact],
}

impl StoredRows<'_> {
    /// Asks for the cache lines of a row's high bytes and facts.
    #[inline(always)]
    pub(crate) fn ask_for(&self, row: u32) {
        prefetch(self.facts, row as usize);
        self.high.prefetch(row as usize);
    }

    /// Vectors of rows that are there, one after another.
    pub(crate) fn copy(&self, rows: std::ops::Range<usize>, out: &mut Vec<f32>) {
        out.clear();
        for row in rows {
            let parts = (self.high.row(row), self.low.row(row), self.facts.get(row));
            if let (Some(high), Some(low), Some(Fact { scale, .. })) = parts {
                let value =
                    |(high, low): (&i8, &i8)| (f32::from(*high) * 256.0 + f32::from(*low)) * scale;
                out.extend(high.iter().zip(low).map(value));
            }
        }
    }

    /// The vector of a row, if there is one.
    pub(crate) fn vector(&self, row: usize) -> Option<Vec<f32>> {
        let mut out = Vec::new();
        self.copy(row..row + 1, &mut out);
        (!out.is_empty()).then_some(out)
    }
}

const _: () = assert!(GROUP == 4, "Codebook::lines counts four positions to a line");
