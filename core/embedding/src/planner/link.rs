//! What the communicator can do.

use std::time::Instant;

use rectool_comm::{Comm, CommError, Reduce, Values};
use serde::{Deserialize, Serialize};

use super::cold::{Cold, median};
use super::curve::Line;

/// Bytes that each rank sends in a measured collective: from what latency rules to what bandwidth
/// does.
const MESSAGE_BYTES: [usize; 5] = [1 << 8, 1 << 13, 1 << 17, 1 << 20, 1 << 22];
/// Calls of each size that are timed.
const CALLS: usize = 7;

/// Duration of a collective as a function of what each rank sends: latency and bandwidth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Time of an empty call, in milliseconds.
    pub latency_ms: f64,
    /// Bytes that each rank sends per millisecond, once the call goes; infinite without peers.
    pub bytes_per_ms: f64,
    /// What was measured.
    pub measured: Vec<MessageTime>,
}

/// One measured size of a collective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MessageTime {
    /// Bytes that each rank sent.
    pub bytes: u64,
    /// Time of the call, on the slowest rank.
    pub ms: f64,
}

impl Link {
    /// Latency and bandwidth that fit the times best. Without times everything is free.
    pub fn fit(measured: Vec<MessageTime>) -> Self {
        let mut line = Line::default();
        for time in &measured {
            line.add(time.bytes as f64, time.ms.max(1e-6));
        }
        let (latency_ms, slope) = line.fit();
        // A flat fit is a bandwidth beyond what the sizes can show.
        let bytes_per_ms = if slope > 0.0 { 1.0 / slope } else { FREE_BYTES_PER_MS };
        Self { latency_ms, bytes_per_ms, measured }
    }

    /// Time of moving `bytes` per rank, without the latency.
    pub fn transfer_ms(&self, bytes: f64) -> f64 {
        if bytes > 0.0 { bytes / self.bytes_per_ms } else { 0.0 }
    }
}

/// A bandwidth that costs nothing. Not infinite, which JSON cannot hold.
const FREE_BYTES_PER_MS: f64 = 1e15;

/// Times of exchanges between the ranks for which `with` holds, and with nobody else.
///
/// # Collective
/// Every rank must call it.
pub(super) fn all_to_all(
    comm: &dyn Comm,
    cold: &mut Cold,
    with: impl Fn(usize) -> bool,
) -> Result<Vec<f64>, CommError> {
    let peers: Vec<bool> = (0..comm.size()).map(|rank| rank != comm.rank() && with(rank)).collect();
    let count = peers.iter().filter(|peer| **peer).count();
    let mut receive = vec![0_u8; MESSAGE_BYTES[MESSAGE_BYTES.len() - 1]];
    let send = receive.clone();
    let mut times = Vec::new();
    for bytes in MESSAGE_BYTES {
        let each = bytes / count.max(1);
        let parts: Vec<usize> = peers.iter().map(|peer| if *peer { each } else { 0 }).collect();
        let total = each * count;
        times.push(typical(comm, cold, || {
            comm.all_to_all_into(&send[..total], &parts, &mut receive[..total], &parts)
        })?);
    }
    Ok(times)
}

/// Times of all-reduces of 32-bit floats.
///
/// # Collective
/// Every rank must call it.
pub(super) fn all_reduce(comm: &dyn Comm, cold: &mut Cold) -> Result<Vec<f64>, CommError> {
    let mut values = vec![0.0_f32; MESSAGE_BYTES[MESSAGE_BYTES.len() - 1] / size_of::<f32>()];
    let mut times = Vec::new();
    for bytes in MESSAGE_BYTES {
        let values = &mut values[..bytes / size_of::<f32>()];
        times.push(typical(comm, cold, || comm.all_reduce(Values::F32(values), Reduce::Sum))?);
    }
    Ok(times)
}

/// The link that `times` of the measured sizes show.
pub(super) fn link_of(times: &[f64]) -> Link {
    let time = |(bytes, ms): (&usize, &f64)| MessageTime { bytes: *bytes as u64, ms: *ms };
    Link::fit(MESSAGE_BYTES.iter().zip(times).map(time).collect())
}

/// Milliseconds of a call that finds nothing in the caches.
fn typical(
    comm: &dyn Comm,
    cold: &mut Cold,
    mut call: impl FnMut() -> Result<(), CommError>,
) -> Result<f64, CommError> {
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        cold.cool();
        comm.barrier()?;
        let started = Instant::now();
        call()?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_and_bandwidth_come_out() {
        let time = |bytes: u64| MessageTime { bytes, ms: 0.02 + bytes as f64 / 4e6 };
        let link = Link::fit(vec![time(256), time(1 << 17), time(1 << 22)]);
        assert!((link.latency_ms - 0.02).abs() < 1e-9, "{link:?}");
        assert!((link.bytes_per_ms - 4e6).abs() < 1.0, "{link:?}");
        assert_eq!(link.transfer_ms(8e6).round(), 2.0);
    }

    #[test]
    fn nothing_measured_costs_nothing() {
        let link = Link::fit(Vec::new());
        assert_eq!(link.latency_ms, 0.0);
        assert!(link.transfer_ms(1e9) < 1e-3);
        let text = serde_json::to_string(&link).unwrap();
        assert_eq!(serde_json::from_str::<Link>(&text).unwrap(), link);
    }
}
