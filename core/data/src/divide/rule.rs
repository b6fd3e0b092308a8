//! Which rows are held out.

use rectool_base::Stream;

use super::events::Events;
use super::{DivideOptions, DivideRule, Pick, option_error};
use crate::DataError;

/// First part of a stream's address, so that no other use of the seed meets these streams.
const STREAM: u64 = 0x0064_6976_6964_6564;

/// Sets the split of each row that is held out, 1 for the first of `options.into`, among the first
/// rows of `events`, whose splits `to` are. Returns the number of users with too few rows.
pub(super) fn hold_out(
    events: &Events,
    options: &DivideOptions,
    to: &mut [u8],
) -> Result<u64, DataError> {
    let count = options.into.len();
    match options.rule {
        DivideRule::Keep => Ok(0),
        DivideRule::LeaveOneOut(pick) => Ok(leave_one_out(events, count, pick, options.seed, to)),
        DivideRule::Random(fraction) => {
            check_fraction(fraction, count)?;
            for (row, to) in to.iter_mut().enumerate() {
                let address = [STREAM, events.users[row] as u64, events.items[row] as u64];
                let drawn = Stream::new(options.seed, &address).next_f64() / fraction;
                if drawn < count as f64 {
                    *to = 1 + drawn as u8;
                }
            }
            Ok(0)
        }
        DivideRule::Time(fraction) => {
            check_fraction(fraction, count)?;
            let times = events.times.as_ref().ok_or_else(|| {
                option_error("time", "a column of times, to divide by time", "none".to_owned())
            })?;
            let times = &times[..to.len()];
            let cuts = cuts(times, fraction, count)?;
            for (to, time) in to.iter_mut().zip(times) {
                *to = cuts.partition_point(|cut| cut <= time) as u8;
            }
            Ok(0)
        }
    }
}

fn check_fraction(fraction: f64, count: usize) -> Result<(), DataError> {
    if fraction > 0.0 && fraction * (count as f64) < 1.0 {
        return Ok(());
    }
    let expected = format!("more than 0, and less than 1 over all {count} held-out splits");
    Err(option_error("fraction", &expected, fraction.to_string()))
}

fn leave_one_out(events: &Events, count: usize, pick: Pick, seed: u64, to: &mut [u8]) -> u64 {
    let mut users_whole = 0;
    let mut rows = Vec::new();
    for all in events.by_user() {
        rows.clear();
        rows.extend(all.iter().map(|row| *row as usize).filter(|row| *row < to.len()));
        if rows.len() <= count {
            users_whole += u64::from(!rows.is_empty());
            continue;
        }
        if pick == Pick::Random {
            let address = [STREAM, events.users[rows[0]] as u64];
            let mut stream = Stream::new(seed, &address);
            // The last of a shuffle from the end are as good as all of it.
            for at in (rows.len() - count..rows.len()).rev() {
                rows.swap(at, stream.below(at as u64 + 1) as usize);
            }
        }
        let first = rows.len() - count;
        for (at, row) in rows[first..].iter().enumerate() {
            to[*row] = 1 + at as u8;
        }
    }
    users_whole
}

/// The first time of each held-out split.
fn cuts(times: &[i64], fraction: f64, count: usize) -> Result<Vec<i64>, DataError> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let held = |splits: usize| (fraction * splits as f64 * sorted.len() as f64).round() as usize;
    // With too few rows for a fraction of them, a cut lies behind the last time.
    let cut = |splits: usize| match sorted.len() - held(splits) {
        at if at < sorted.len() => sorted[at],
        _ => i64::MAX,
    };
    let cuts: Vec<i64> = (1..=count).rev().map(cut).collect();
    if sorted.first().is_some_and(|first| *first >= cuts[0]) {
        let expected = "a cut with earlier rows";
        return Err(option_error("time", expected, format!("{} as the first time", cuts[0])));
    }
    Ok(cuts)
}
