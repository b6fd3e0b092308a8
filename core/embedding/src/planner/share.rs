//! What one rank holds, does and sends.

use super::calibration::Calibration;

/// The phases of an exchange, one all-to-all each.
pub(super) const KEYS: usize = 0;
pub(super) const VALUES: usize = 1;
pub(super) const GRADIENTS: usize = 2;

/// What one or more tables cost one rank in a step. Bytes are [phase][within the node, beyond it].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct RankShare {
    /// Memory of rows and index.
    pub(super) bytes: f64,
    pub(super) prepare_ms: f64,
    pub(super) lookup_ms: f64,
    pub(super) update_ms: f64,
    pub(super) sent: [[f64; 2]; 3],
    pub(super) received: [[f64; 2]; 3],
}

impl RankShare {
    /// Adds `sign` times `other`.
    pub(super) fn add(&mut self, other: &Self, sign: f64) {
        self.bytes += sign * other.bytes;
        self.prepare_ms += sign * other.prepare_ms;
        self.lookup_ms += sign * other.lookup_ms;
        self.update_ms += sign * other.update_ms;
        for (own, other) in [(&mut self.sent, &other.sent), (&mut self.received, &other.received)] {
            for (own, other) in own.as_flattened_mut().iter_mut().zip(other.as_flattened()) {
                *own += sign * other;
            }
        }
    }

    /// Time of moving the bytes. A rank sends while it receives, so the greater of both counts.
    pub(super) fn exchange_ms(&self, calibration: &Calibration) -> f64 {
        let phases = self.sent.iter().zip(&self.received);
        let times = phases.map(|(sent, received)| {
            let near = calibration.exchange_local.transfer_ms(sent[0].max(received[0]));
            near + calibration.exchange_remote.transfer_ms(sent[1].max(received[1]))
        });
        times.sum()
    }

    /// Time of the step's embedding part, without that of the exchanges' calls.
    pub(super) fn total_ms(&self, calibration: &Calibration) -> f64 {
        self.prepare_ms + self.lookup_ms + self.update_ms + self.exchange_ms(calibration)
    }
}
