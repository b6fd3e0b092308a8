//! What is measured, and what is read off it.

use rectool_comm::on_ranks;

use super::fixture::machine;
use crate::{Calibration, Lookup, calibrate};

#[test]
fn every_rank_finds_the_same_numbers() {
    let found = on_ranks(2, |comm| calibrate(&*comm).unwrap());
    assert_eq!(found[0], found[1]);
    let found = &found[0];
    assert_eq!((found.ranks, found.threads), (2, rayon::current_num_threads()));
    for time in &found.occurrences {
        assert!(time.pool_ns > 0.0 && time.sum_ns > 0.0, "{found:?}");
    }
    // What a row costs beyond its ids: on a busy machine that of one size may be 0, not those of all.
    let rows = found.rows.iter().flat_map(|time| [time.lookup_ns, time.update_ns]);
    assert!(rows.clone().all(|ns| ns.is_finite() && ns >= 0.0), "{found:?}");
    assert!(rows.sum::<f64>() > 0.0, "{found:?}");
    // Ranks that are threads count as nodes of their own, or as one node.
    let one_node = found.ranks_per_node == 2;
    let exchange = if one_node { &found.exchange_local } else { &found.exchange_remote };
    for link in [exchange, &found.all_reduce] {
        assert_eq!(link.measured.len(), 5);
        assert!(link.measured.iter().all(|time| time.ms > 0.0), "{link:?}");
        assert!(link.transfer_ms(1e9) > 0.0, "{link:?}");
    }
    let text = serde_json::to_string(found).unwrap();
    assert_eq!(&serde_json::from_str::<Calibration>(&text).unwrap(), found);
}

#[test]
fn between_measured_points_costs_rise() {
    let found = machine(2, 2, 1e6);
    let lookup = |dim, set| found.lookup_ns(Lookup::Dense, dim, 1e5, set);
    // As measured: 5, 10 and 20 ns at the three sizes, four times that for 128 values.
    for (dim, set, ns) in [
        (16.0, 1e3, 5.0),
        (16.0, f64::from(1 << 23), 10.0),
        (16.0, 1e12, 20.0),
        (4.0, 1e12, 20.0),
        (128.0, 1e12, 80.0),
        (72.0, 1e12, 50.0),
    ] {
        assert!((lookup(dim, set) - ns).abs() < 1e-9, "{dim} {set}: {}", lookup(dim, set));
    }
    assert!(lookup(16.0, 3e6) > 5.0 && lookup(16.0, 3e6) < 10.0);
    let hashed = found.lookup_ns(Lookup::Hash, 16.0, 1e9, 1e12);
    assert!((hashed - 60.0).abs() < 1e-9, "{hashed}");
    // Rows were measured with one float of state; another one per value doubles them.
    assert!((found.update_ns(17.0, 1e12) - 30.0).abs() < 1e-9);
    assert!(found.update_ns(33.0, 1e12) > 30.0);
    assert!((found.pool_ns(16.0) - 3.0).abs() < 1e-9 && (found.sum_ns(128.0) - 40.0).abs() < 1e-9);
}
