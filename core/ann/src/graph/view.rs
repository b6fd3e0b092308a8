//! What a search of a graph reads of a part.

use std::ops::Range;

use crate::error::AnnError;
use crate::file::{Fact, Kind, Leaf};
use crate::kernel::{Directory, LANES, Line, PanelFacts, panel_lines, prefetch};
use crate::limits::{DEGREE_MAX, DEGREE_MIN};
use crate::part::{Part, StoredRows};

/// The sections of a graph.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Graph<'a> {
    pub(crate) degree: usize,
    /// Links [N, degree].
    pub(crate) links: &'a [u32],
    pub(crate) entries: &'a [u32],
    pub(crate) leaves: &'a [Leaf],
    pub(crate) directory: Directory<'a>,
    pub(crate) rows: StoredRows<'a>,
}

impl<'a> Graph<'a> {
    /// The links of a row.
    #[inline(always)]
    pub(crate) fn links_of(&self, row: u32) -> &'a [u32] {
        let start = row as usize * self.degree;
        self.links.get(start..start + self.degree).unwrap_or_default()
    }

    /// Asks for the cache lines of a row's links.
    #[inline(always)]
    pub(crate) fn ask_for_links(&self, row: u32) {
        let start = row as usize * self.degree;
        for at in (start..start + self.degree).step_by(16) {
            prefetch(self.links, at);
        }
    }

    /// The rows of a leaf.
    pub(crate) fn rows_of(&self, leaf: usize) -> Range<u32> {
        let end = self.leaves.get(leaf + 1).map_or(self.rows.facts.len() as u32, |next| next.row);
        self.leaves[leaf].row..end
    }
}

impl Part {
    /// What a search of a graph reads.
    pub(crate) fn graph(&self) -> Graph<'_> {
        let sections = self.sections();
        Graph {
            degree: self.meta.degree,
            links: sections.values(Kind::Links, 0),
            entries: sections.values(Kind::Entries, 0),
            leaves: sections.values(Kind::Leaves, 0),
            directory: self.directory(),
            rows: self.stored(),
        }
    }

    /// Checks that the sections of a graph are there and have the right sizes.
    pub(crate) fn check_graph(&self) -> Result<(), AnnError> {
        let (sections, meta) = (self.sections(), &self.meta);
        let (rows, dim, leaves, degree) = (meta.rows, meta.dim, meta.leaves, meta.degree);
        if leaves == 0 || !(DEGREE_MIN..=DEGREE_MAX).contains(&degree) {
            let found = format!("{leaves} and {degree}");
            let expected = format!("some and {DEGREE_MIN} to {DEGREE_MAX}");
            return Err(sections.corrupt("leaves and links of a vector", found, expected));
        }
        sections.expect::<i8>(Kind::High, 0, rows * dim)?;
        sections.expect::<i8>(Kind::Low, 0, rows * dim)?;
        sections.expect::<Fact>(Kind::Facts, 0, rows)?;
        sections.expect::<u32>(Kind::Links, 0, rows * degree)?;
        sections.expect::<u32>(Kind::Entries, 0, leaves)?;
        sections.expect::<f32>(Kind::Centroids, 0, leaves * dim)?;
        sections.expect::<Leaf>(Kind::Leaves, 0, leaves)?;
        let panels = leaves.div_ceil(LANES);
        sections.expect::<PanelFacts>(Kind::DirectoryFacts, 0, panels)?;
        sections.expect::<Line>(Kind::Directory, 0, panels * panel_lines(dim))?;
        [Kind::Centroids, Kind::Entries, Kind::Leaves, Kind::DirectoryFacts, Kind::Directory]
            .into_iter()
            .try_for_each(|kind| sections.verify_section(kind))
    }
}
