//! What the leak check counts.

use crate::retrieval::{Interactions, LeakReport, TimeLeaks, Timeline};

#[test]
fn overlaps_and_times_worked_by_hand() {
    let train = Interactions::new(vec![(1, 10), (1, 11), (2, 12)]).unwrap();
    let test = Interactions::new(vec![(1, 11), (1, 13), (2, 10), (4, 12)]).unwrap();
    let times = [
        Timeline { users: &[1, 1, 2], times: &[5, 9, 2] },
        Timeline { users: &[1, 1, 2, 4], times: &[8, 9, 3, 1] },
    ];
    let found = LeakReport::new(&train, &test, Some(times));
    let leaks = TimeLeaks { before_own: 1, before_any: 3, rows: 4 };
    let expected = LeakReport {
        pairs: 4,
        pairs_in_train: 1,
        users: 3,
        users_absent: 1,
        items: 4,
        items_absent: 1,
        times: Some(leaks),
    };
    assert_eq!(found, expected);
    assert_eq!(found.warnings().len(), 5);
    assert_eq!(found.warnings()[0], "1 of 4 test pairs are in the training split too");
}

#[test]
fn splits_apart_give_no_warning() {
    let train = Interactions::new(vec![(1, 10), (2, 11)]).unwrap();
    let test = Interactions::new(vec![(1, 11), (2, 10)]).unwrap();
    let times =
        [Timeline { users: &[1, 2], times: &[1, 2] }, Timeline { users: &[1, 2], times: &[2, 3] }];
    let found = LeakReport::new(&train, &test, Some(times));
    assert!(found.warnings().is_empty(), "{:?}", found.warnings());
}
