//! Members of groups, in one array.

/// The members of each group, in rising order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    /// Start of each group in `members`, and its length.
    starts: Vec<usize>,
    members: Vec<u32>,
}

impl Groups {
    /// Groups of the members 0.. by the group that each names; members that name none (`u32::MAX`)
    /// are left out.
    pub(crate) fn new(groups: usize, of: &[u32]) -> Self {
        let mut starts = vec![0usize; groups + 1];
        for group in of.iter().filter(|group| **group != u32::MAX) {
            starts[*group as usize + 1] += 1;
        }
        for group in 0..groups {
            starts[group + 1] += starts[group];
        }
        let mut next = starts.clone();
        let mut members = vec![0; starts[groups]];
        for (member, group) in of.iter().enumerate().filter(|(_, group)| **group != u32::MAX) {
            let at = &mut next[*group as usize];
            members[*at] = member as u32;
            *at += 1;
        }
        Self { starts, members }
    }

    /// Number of groups.
    pub(crate) fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// Members of one group.
    pub(crate) fn members(&self, group: usize) -> &[u32] {
        &self.members[self.starts[group]..self.starts[group + 1]]
    }

    /// Members of all groups before this one.
    pub(crate) fn before(&self, group: usize) -> usize {
        self.starts[group]
    }
}
