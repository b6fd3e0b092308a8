//! The search against all plans there are.

use rectool_base::Stream;

use super::fixture::{machine, random_tables, resources};
use crate::planner::cost::Prices;
use crate::planner::search::{Draft, Score};
use crate::{Resources, Sharding, TableLoad, TablePlanner, Wish};

/// How much worse than the best plan a plan may be. Of that, 1 % is what a plan must gain to be
/// preferred to row-wise.
const WORSE_MAX: f64 = 1.04;

/// Every place of a table.
fn places(load: &TableLoad, resources: &Resources) -> Vec<Sharding> {
    let ranks = resources.ranks;
    let mut places = vec![Sharding::DataParallel, Sharding::RowWise];
    places.extend((0..ranks).map(|rank| Sharding::TableWise { rank }));
    for first in (0..ranks).step_by(resources.ranks_per_node) {
        places.push(Sharding::TableRowWise { first, ranks: resources.ranks_per_node });
    }
    for one in 0..ranks {
        for other in (0..ranks).filter(|other| *other != one) {
            places.push(Sharding::ColumnWise { ranks: vec![one, other] });
        }
    }
    if ranks > 2 {
        // Parts differ by one column at most: turned round, every rank gets each width.
        let turned = |first| (first..ranks).chain(0..first).collect();
        places.extend((0..ranks).map(|first| Sharding::ColumnWise { ranks: turned(first) }));
    }
    places.retain(|place| place.check(&load.options, ranks).is_ok());
    places.retain(|place| match place {
        Sharding::ColumnWise { ranks: parts } => load.options.dim >= 16 * parts.len(),
        _ => true,
    });
    places
}

/// The score of the best of all plans.
fn best_of_all(prices: &Prices<'_>, loads: &[TableLoad]) -> Score {
    fn descend(draft: &Draft<'_>, table: usize, all: &[Vec<Sharding>], best: &mut Option<Score>) {
        let Some(places) = all.get(table) else {
            let found = draft.score();
            if best.as_ref().is_none_or(|best| found < *best) {
                *best = Some(found);
            }
            return;
        };
        for place in places {
            let mut next = draft.clone();
            next.put(table, place.clone());
            descend(&next, table + 1, all, best);
        }
    }
    let all: Vec<_> = loads.iter().map(|load| places(load, &prices.resources)).collect();
    let mut best = None;
    descend(&Draft::empty(prices, loads), 0, &all, &mut best);
    best.unwrap()
}

#[test]
fn plans_are_close_to_the_best_of_all() {
    let mut stream = Stream::new(4, &[]);
    for case in 0..40 {
        let (ranks, node) = [(2, 2), (3, 3), (4, 2)][case % 3];
        let exchange = 10_f64.powf(4.0 + 3.0 * stream.next_f64());
        let calibration = machine(ranks, node, exchange);
        let loads = random_tables(&mut stream, if ranks == 4 { 3 } else { 4 });
        let total: u64 = loads.iter().map(TableLoad::bytes).sum();
        // Room for one and a half even shares, or for anything.
        let limit = (case % 2 == 0).then(|| total * 3 / 2 / ranks as u64 + 10_000);
        let resources = Resources { ranks_per_node: node, ..resources(ranks, limit) };
        let prices = Prices::new(&calibration, resources, &loads);
        let best = best_of_all(&prices, &loads);
        assert_eq!(best.excess_bytes, 0.0, "case {case}: row-wise fits");
        let planner = TablePlanner { calibration: &calibration, resources, loads: &loads };
        let found = planner.plan(&vec![Wish::Any; loads.len()]).unwrap();
        let found_ms = found.slowest_ms() - found.exchange_calls_ms;
        assert!(
            found_ms <= best.slowest_ms * WORSE_MAX && found_ms >= best.slowest_ms * (1.0 - 1e-6),
            "case {case}: {found_ms} ms, the best takes {} ms: {:?}",
            best.slowest_ms,
            found.sharding_plan()
        );
    }
}

#[test]
fn the_same_question_gets_the_same_answer() {
    let mut stream = Stream::new(5, &[]);
    let calibration = machine(8, 4, 1e6);
    let loads = random_tables(&mut stream, 30);
    let resources = Resources { ranks_per_node: 4, ..resources(8, Some(1 << 30)) };
    let planner = TablePlanner { calibration: &calibration, resources, loads: &loads };
    let wishes = vec![Wish::Any; loads.len()];
    assert_eq!(planner.plan(&wishes).unwrap(), planner.plan(&wishes).unwrap());
}
