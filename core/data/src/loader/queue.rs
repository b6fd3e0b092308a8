//! A bounded queue that hands out work by number and gives results back in that order.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Results of numbered work, at most `ahead` of them made or in the making at any time.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    may_claim: Condvar,
    may_take: Condvar,
    ahead: u64,
    total: u64,
}

struct State<T> {
    next_claim: u64,
    next_take: u64,
    done: BTreeMap<u64, T>,
    closed: bool,
    workers: usize,
}

impl<T> Queue<T> {
    /// A queue for the numbers `0..total`, served by `workers` workers.
    pub(super) fn new(ahead: usize, total: u64, workers: usize) -> Self {
        let state =
            State { next_claim: 0, next_take: 0, done: BTreeMap::new(), closed: false, workers };
        Self {
            state: Mutex::new(state),
            may_claim: Condvar::new(),
            may_take: Condvar::new(),
            ahead: ahead as u64,
            total,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number to work on next, or `None` when there is nothing left to do. Waits while the
    /// consumer is too far behind.
    pub(super) fn claim(&self) -> Option<u64> {
        let mut state = self.lock();
        loop {
            if state.closed || state.next_claim >= self.total {
                return None;
            }
            if state.next_claim < state.next_take + self.ahead {
                state.next_claim += 1;
                return Some(state.next_claim - 1);
            }
            state = self.may_claim.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives back the result of `number`.
    pub(super) fn put(&self, number: u64, result: T) {
        self.lock().done.insert(number, result);
        self.may_take.notify_one();
    }

    /// The next result in order; `None` after the last, after [`Queue::close`], or if every worker
    /// has left without making it.
    pub(super) fn take(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            let number = state.next_take;
            if state.closed || number >= self.total {
                return None;
            }
            if let Some(result) = state.done.remove(&number) {
                state.next_take += 1;
                drop(state);
                self.may_claim.notify_one();
                return Some(result);
            }
            if state.workers == 0 {
                return None;
            }
            state = self.may_take.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends all work: claims and takes return `None` from now on.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.may_claim.notify_all();
        self.may_take.notify_all();
    }

    /// Says that one worker is gone.
    pub(super) fn leave(&self) {
        self.lock().workers -= 1;
        self.may_take.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_bounded() {
        let queue = Queue::new(3, 10, 1);
        let claimed: Vec<_> = (0..3).map(|_| queue.claim().unwrap()).collect();
        claimed.iter().rev().for_each(|number| queue.put(*number, *number));
        assert_eq!(queue.take(), Some(0));
        assert_eq!(queue.claim(), Some(3));
        assert_eq!((queue.take(), queue.take()), (Some(1), Some(2)));
    }

    #[test]
    fn nobody_waits_for_a_worker_that_is_gone() {
        let queue = Queue::<u64>::new(3, 10, 1);
        queue.claim().unwrap();
        queue.leave();
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn closing_wakes_those_that_wait() {
        let queue = Queue::<u64>::new(1, 10, 1);
        queue.claim().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| (queue.claim(), queue.take()));
            queue.close();
            assert_eq!(waiting.join().unwrap(), (None, None));
        });
    }
}
