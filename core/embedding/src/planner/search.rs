//! A cheap plan within the memory limit: greedy by cost, then local improvement.

use super::cost::Prices;
use super::load::TableLoad;
use super::share::RankShare;
use super::wish::Wish;
use crate::Sharding;

/// Rounds of local improvement: far more than any search took that was tried.
const ROUNDS_MAX: usize = 200;
/// How much better a plan must be than row-wise everywhere. Calibrations differ by more from day to
/// day, and a plan that changes with them helps nobody.
const GAIN_MIN: f64 = 0.01;
/// Tables up to which pairs of them are tried in exchange for each other.
const SWAPPED_TABLES_MAX: usize = 256;

/// How good a plan is: less is better, the first difference decides.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct Score {
    /// Bytes beyond the limit on the rank that has most of them: what all would have to be allowed.
    pub(super) excess_bytes: f64,
    /// The same over all ranks, so that a plan in which several overflow alike can be improved rank
    /// by rank.
    excess_sum_bytes: f64,
    /// Time of the slowest rank.
    pub(super) slowest_ms: f64,
    /// Spread of the other ranks' times: a plan with room left on them can be improved further.
    squares: f64,
}

impl Score {
    fn better_than(&self, other: &Self) -> bool {
        let least = |score: f64| score * (1.0 - 1e-9) - 1e-12;
        for (own, others) in [
            (self.excess_bytes, other.excess_bytes),
            (self.excess_sum_bytes, other.excess_sum_bytes),
        ] {
            if own != others {
                return own < least(others);
            }
        }
        if self.slowest_ms < least(other.slowest_ms) {
            return true;
        }
        self.slowest_ms <= other.slowest_ms && self.squares < least(other.squares)
    }
}

/// A plan under construction.
#[derive(Clone)]
pub(super) struct Draft<'a> {
    prices: &'a Prices<'a>,
    loads: &'a [TableLoad],
    /// \[T\]; `None`: not placed yet.
    pub(super) places: Vec<Option<Sharding>>,
    /// [T][R].
    shares: Vec<Vec<RankShare>>,
    /// \[R\]: their sums, and what every step takes.
    pub(super) ranks: Vec<RankShare>,
}

impl<'a> Draft<'a> {
    pub(super) fn empty(prices: &'a Prices<'a>, loads: &'a [TableLoad]) -> Self {
        let none = vec![RankShare::default(); prices.resources.ranks];
        let places = vec![None; loads.len()];
        let ranks = vec![prices.empty(); prices.resources.ranks];
        Self { prices, loads, places, shares: vec![none; loads.len()], ranks }
    }

    /// \[R\]: what table `table` adds to each rank where it is.
    pub(super) fn table(&self, table: usize) -> &[RankShare] {
        &self.shares[table]
    }

    /// Moves a table.
    pub(super) fn put(&mut self, table: usize, place: Sharding) {
        let shares = self.prices.shares(&self.loads[table], &place);
        add(&mut self.ranks, &self.shares[table], -1.0);
        add(&mut self.ranks, &shares, 1.0);
        self.shares[table] = shares;
        self.places[table] = Some(place);
    }

    /// Sums up anew, so that rounding does not pile up over many moves.
    fn sum(&mut self) {
        self.ranks.fill(self.prices.empty());
        for shares in &self.shares {
            add(&mut self.ranks, shares, 1.0);
        }
    }

    pub(super) fn score(&self) -> Score {
        score(self.prices, &self.ranks)
    }

    /// The score if some tables, each named once, lived elsewhere.
    fn score_with(&self, moves: &[(usize, Sharding)]) -> Score {
        let mut ranks = self.ranks.clone();
        for (table, place) in moves {
            add(&mut ranks, &self.shares[*table], -1.0);
            add(&mut ranks, &self.prices.shares(&self.loads[*table], place), 1.0);
        }
        score(self.prices, &ranks)
    }

    /// The ranks without table `table`.
    fn without(&self, table: usize) -> Vec<RankShare> {
        let mut ranks = self.ranks.clone();
        add(&mut ranks, &self.shares[table], -1.0);
        ranks
    }

    /// The best of the places that fulfil `wish` for a table, and the score with it.
    pub(super) fn best_place(&self, table: usize, wish: &Wish) -> Option<(Sharding, Score)> {
        let without = self.without(table);
        let orders = orders(self.prices, &without);
        let mut best: Option<(Sharding, Score)> = None;
        for place in wish.places(&self.loads[table], &self.prices.resources, &orders) {
            let mut ranks = without.clone();
            add(&mut ranks, &self.prices.shares(&self.loads[table], &place), 1.0);
            let found = score(self.prices, &ranks);
            if best.as_ref().is_none_or(|(_, best)| found.better_than(best)) {
                best = Some((place, found));
            }
        }
        best
    }

    /// Moves single tables, and exchanges pairs of whole ones, as long as that helps.
    fn improve(&mut self, wishes: &[Wish]) {
        for _ in 0..ROUNDS_MAX {
            let better = self.move_tables(wishes) || self.swap_tables(wishes);
            self.sum();
            if !better {
                return;
            }
        }
    }

    fn move_tables(&mut self, wishes: &[Wish]) -> bool {
        let mut moved = false;
        for (table, wish) in wishes.iter().enumerate() {
            let before = self.score();
            if let Some((place, found)) = self.best_place(table, wish)
                && found.better_than(&before)
            {
                self.put(table, place);
                moved = true;
            }
        }
        moved
    }

    fn swap_tables(&mut self, wishes: &[Wish]) -> bool {
        if self.loads.len() > SWAPPED_TABLES_MAX {
            return false;
        }
        let whole = |draft: &Self, table: usize| match (&draft.places[table], &wishes[table]) {
            (_, Wish::At(_)) => None,
            (Some(Sharding::TableWise { rank }), _) => Some(*rank),
            _ => None,
        };
        let mut swapped = false;
        let mut before = self.score();
        for first in 0..self.loads.len() {
            for second in first + 1..self.loads.len() {
                let (Some(one), Some(other)) = (whole(self, first), whole(self, second)) else {
                    continue;
                };
                if one == other {
                    continue;
                }
                let moves = [(first, other), (second, one)]
                    .map(|(table, rank)| (table, Sharding::TableWise { rank }));
                if self.score_with(&moves).better_than(&before) {
                    for (table, place) in moves {
                        self.put(table, place);
                    }
                    before = self.score();
                    swapped = true;
                }
            }
        }
        swapped
    }
}

/// The best plan found that fulfils `wishes`, \[T\], each of which can be fulfilled.
///
/// # Determinism
/// A function of its arguments.
pub(super) fn search<'a>(
    prices: &'a Prices<'a>,
    loads: &'a [TableLoad],
    wishes: &[Wish],
) -> Draft<'a> {
    let plain = simplest(prices, loads, wishes);
    let mut from_plain = plain.clone();
    from_plain.improve(wishes);
    let mut greedy = greedy(prices, loads, wishes);
    greedy.improve(wishes);
    let best = if greedy.score().better_than(&from_plain.score()) { greedy } else { from_plain };
    let (simple, found) = (plain.score(), best.score());
    let near = found.slowest_ms > simple.slowest_ms * (1.0 - GAIN_MIN);
    let free = wishes.iter().all(|wish| *wish == Wish::Any);
    if free && simple.excess_bytes <= found.excess_bytes && near { plain } else { best }
}

/// Every table at the simplest place that fulfils its wish: row-wise where there is none.
fn simplest<'a>(prices: &'a Prices<'a>, loads: &'a [TableLoad], wishes: &[Wish]) -> Draft<'a> {
    let mut draft = Draft::empty(prices, loads);
    let orders = [(0..prices.resources.ranks).collect()];
    for (table, wish) in wishes.iter().enumerate() {
        let places = wish.places(&loads[table], &prices.resources, &orders);
        draft.put(table, places.into_iter().next().unwrap_or(Sharding::RowWise));
    }
    draft
}

/// Each table where it costs least, the most expensive ones first.
fn greedy<'a>(prices: &'a Prices<'a>, loads: &'a [TableLoad], wishes: &[Wish]) -> Draft<'a> {
    let mut draft = Draft::empty(prices, loads);
    let cost = |table: usize| {
        let shares = prices.shares(&loads[table], &Sharding::RowWise);
        shares[0].total_ms(prices.calibration)
    };
    let mut order: Vec<(usize, f64)> = (0..loads.len()).map(|at| (at, cost(at))).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    for (table, _) in order {
        if let Some((place, _)) = draft.best_place(table, &wishes[table]) {
            draft.put(table, place);
        }
    }
    draft
}

/// The ranks in the orders in which to give them more: by idle time, and by room.
fn orders(prices: &Prices<'_>, loaded: &[RankShare]) -> Vec<Vec<usize>> {
    let by = |key: &dyn Fn(&RankShare) -> f64| {
        let mut order: Vec<usize> = (0..loaded.len()).collect();
        order.sort_by(|a, b| key(&loaded[*a]).total_cmp(&key(&loaded[*b])).then(a.cmp(b)));
        order
    };
    vec![by(&|rank| rank.total_ms(prices.calibration)), by(&|rank| rank.bytes)]
}

fn add(ranks: &mut [RankShare], shares: &[RankShare], sign: f64) {
    ranks.iter_mut().zip(shares).for_each(|(rank, share)| rank.add(share, sign));
}

fn score(prices: &Prices<'_>, ranks: &[RankShare]) -> Score {
    let resources = &prices.resources;
    let mut score =
        Score { excess_bytes: 0.0, excess_sum_bytes: 0.0, slowest_ms: 0.0, squares: 0.0 };
    for rank in ranks {
        let total_ms = rank.total_ms(prices.calibration);
        score.slowest_ms = score.slowest_ms.max(total_ms);
        score.squares += total_ms * total_ms;
        if let Some(limit) = resources.memory_bytes_max {
            let room = limit.saturating_sub(resources.reserved_bytes) as f64;
            let excess_bytes = (rank.bytes - room).max(0.0);
            score.excess_bytes = score.excess_bytes.max(excess_bytes);
            score.excess_sum_bytes += excess_bytes;
        }
    }
    score
}
