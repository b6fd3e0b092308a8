//! What is measured, and what is read off it.

use rectool_comm::on_ranks;

use super::fixture::machine;
use crate::{Calibration, Link, Lookup, calibrate};

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
    assert_eq!(found.flaw(2, found.threads), None);
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

type Damage = fn(&mut Calibration);

#[test]
fn numbers_that_no_machine_shows_are_found() {
    let sound = machine(4, 2, 1e6);
    assert_eq!(sound.flaw(4, 2), None);
    let damages: [(&str, Damage); 18] = [
        ("`ranks` is 0", |it| it.ranks = 0),
        ("`ranks` is 1000000000000", |it| it.ranks = 1_000_000_000_000),
        ("`threads` is 1, expected 2", |it| it.threads = 1),
        ("`ranks_per_node` is 0, expected 1 to 4", |it| it.ranks_per_node = 0),
        ("`ranks_per_node` is 5", |it| it.ranks_per_node = 5),
        ("`occurrences` has the widths []", |it| it.occurrences.clear()),
        ("the widths [16]", |it| it.occurrences.truncate(1)),
        ("the widths [128, 16]", |it| it.occurrences.reverse()),
        ("the widths [0, 128]", |it| it.occurrences[0].dim = 0),
        ("`rows` has the sizes [] of Dense tables of width 16", |it| it.rows.clear()),
        ("`rows` has the sizes [0, ", |it| it.rows[0].rows = 0),
        ("of Hash tables", |it| it.rows.retain(|time| time.lookup == Lookup::Dense)),
        ("`lookup_ns` is -1", |it| it.rows[1].lookup_ns = -1.0),
        ("`sum_ns` is NaN", |it| it.occurrences[1].sum_ns = f64::NAN),
        ("`update_ns` is 1", |it| it.empty.update_ns = 1e300),
        ("`copy` moves 0 bytes", |it| it.copy_bytes_per_ms = 0.0),
        ("`all_reduce` moves inf", |it| it.all_reduce.bytes_per_ms = f64::INFINITY),
        ("`exchange_remote` has no measured", |it| it.exchange_remote = Link::fit(Vec::new())),
    ];
    for (expected, damage) in damages {
        let mut damaged = sound.clone();
        damage(&mut damaged);
        let found = damaged.flaw(4, 2).expect(expected);
        assert!(found.contains(expected), "{found}, expected {expected}");
    }
    // Links that no step uses need no times.
    let alone = Calibration {
        exchange_local: Link::fit(Vec::new()),
        exchange_remote: Link::fit(Vec::new()),
        all_reduce: Link::fit(Vec::new()),
        ..machine(1, 1, 1e6)
    };
    assert_eq!(alone.flaw(1, 2), None);
}
