//! What a user wants of a table's place, and the places that fulfil it.

use std::iter::successors;

use serde::{Deserialize, Serialize};

use super::cost::Resources;
use super::load::TableLoad;
use crate::{EmbeddingError, Sharding};

/// Ranks that are tried for a whole table or for parts: the idlest ones and those with most room.
const RANKS_TRIED: usize = 16;
/// Columns of a part of a table that is cut by columns, at least, unless a user wants the cut: a
/// cache line.
const PART_COLUMNS_MIN: usize = 16;

/// A kind of [`Sharding`], without its ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardingKind {
    /// All rows on every rank.
    DataParallel,
    /// All rows on one rank.
    TableWise,
    /// Rows over all ranks.
    RowWise,
    /// Rows over the ranks of a node.
    TableRowWise,
    /// Columns over some ranks.
    ColumnWise,
}

impl ShardingKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::RowWise, Self::TableWise, Self::ColumnWise, Self::TableRowWise, Self::DataParallel];

    /// The kind of a place.
    pub fn of(place: &Sharding) -> Self {
        match place {
            Sharding::DataParallel => Self::DataParallel,
            Sharding::TableWise { .. } => Self::TableWise,
            Sharding::RowWise => Self::RowWise,
            Sharding::TableRowWise { .. } => Self::TableRowWise,
            Sharding::ColumnWise { .. } => Self::ColumnWise,
        }
    }

    /// As serialised: `row_wise` and the like.
    pub fn name(self) -> &'static str {
        let place = match self {
            Self::DataParallel => Sharding::DataParallel,
            Self::TableWise => Sharding::TableWise { rank: 0 },
            Self::RowWise => Sharding::RowWise,
            Self::TableRowWise => Sharding::TableRowWise { first: 0, ranks: 1 },
            Self::ColumnWise => Sharding::ColumnWise { ranks: Vec::new() },
        };
        place.kind()
    }
}

/// What a user wants of a table's place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// The cheapest one.
    #[default]
    Any,
    /// The cheapest one of a kind.
    Kind(ShardingKind),
    /// This one.
    At(Sharding),
}

impl Wish {
    /// The places that fulfil it, the simplest first. `orders` are all ranks in orders in which to
    /// try them.
    pub(super) fn places(
        &self,
        load: &TableLoad,
        resources: &Resources,
        orders: &[Vec<usize>],
    ) -> Vec<Sharding> {
        let kinds = match self {
            Self::At(place) => return vec![place.clone()],
            Self::Kind(kind) => std::slice::from_ref(kind),
            // On one rank all places are the same.
            Self::Any if resources.ranks == 1 => &[ShardingKind::RowWise],
            Self::Any => &ShardingKind::ALL[..],
        };
        let wanted = matches!(self, Self::Kind(_));
        let mut places = Vec::new();
        for kind in kinds {
            places.extend(places_of(*kind, wanted, load, resources, orders));
        }
        places.retain(|place| place.check(&load.options, resources.ranks).is_ok());
        places
    }

    /// Refuses a wish that nothing fulfils, with the reason.
    pub(super) fn check(
        &self,
        load: &TableLoad,
        resources: &Resources,
    ) -> Result<(), EmbeddingError> {
        let ranks = resources.ranks;
        match self {
            Self::At(place) => place.check(&load.options, ranks),
            Self::Kind(ShardingKind::ColumnWise) => {
                // The least cut there is.
                let place = Sharding::ColumnWise { ranks: (0..ranks.min(2)).collect() };
                place.check(&load.options, ranks)
            }
            _ => Ok(()),
        }
    }
}

fn places_of(
    kind: ShardingKind,
    wanted: bool,
    load: &TableLoad,
    resources: &Resources,
    orders: &[Vec<usize>],
) -> Vec<Sharding> {
    let (ranks, node) = (resources.ranks, resources.ranks_per_node);
    let mut places = Vec::new();
    match kind {
        ShardingKind::RowWise => places.push(Sharding::RowWise),
        ShardingKind::DataParallel => places.push(Sharding::DataParallel),
        ShardingKind::TableWise => {
            for rank in orders.iter().flat_map(|order| order.iter().take(RANKS_TRIED)) {
                places.push(Sharding::TableWise { rank: *rank });
            }
        }
        ShardingKind::TableRowWise => {
            if wanted || (node > 1 && node < ranks) {
                let part = |first| Sharding::TableRowWise { first, ranks: node.min(ranks - first) };
                places.extend((0..ranks).step_by(node).map(part));
            }
        }
        ShardingKind::ColumnWise => {
            let doubled = successors(Some(2), |parts| Some(parts * 2));
            let counts = doubled.take_while(|parts| *parts < ranks).chain([ranks]);
            let wide = |parts: &usize| {
                (wanted && *parts <= 2) || load.options.dim / parts >= PART_COLUMNS_MIN
            };
            for parts in counts.filter(wide) {
                for order in orders {
                    places.push(Sharding::ColumnWise { ranks: order[..parts].to_vec() });
                }
            }
        }
    }
    places
}
