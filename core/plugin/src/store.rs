//! The state of one instance: what it uses, and when it has to be done.

use std::time::Instant;

use wasmtime::{Engine, ResourceLimiter, Store, UpdateDeadline};

use crate::fault::{Overran, Refusals};
use crate::limits::{INSTANCES_MAX, Limits, MEMORIES_MAX, TABLE_ELEMENTS_MAX};

pub(crate) struct State {
    pub(crate) limits: Limits,
    pub(crate) memory_bytes: usize,
    table_elements: usize,
    pub(crate) refusals: Refusals,
    /// What a guest that was built for WASI wrote in this call, as far as it is kept.
    pub(crate) said: Vec<u8>,
    deadline: Instant,
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let after = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if after > self.limits.memory_bytes_max {
            self.refusals.memory = true;
            return Ok(false);
        }
        let fits = maximum.is_none_or(|maximum| desired <= maximum);
        if fits {
            self.memory_bytes = after;
        }
        Ok(fits)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let after = self.table_elements.saturating_add(desired.saturating_sub(current));
        if after > TABLE_ELEMENTS_MAX {
            self.refusals.table = true;
            return Ok(false);
        }
        let fits = maximum.is_none_or(|maximum| desired <= maximum);
        if fits {
            self.table_elements = after;
        }
        Ok(fits)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        MEMORIES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

/// A store in which one instance lives.
pub(crate) fn store(engine: &Engine, limits: &Limits) -> Store<State> {
    let state = State {
        limits: *limits,
        memory_bytes: 0,
        table_elements: 0,
        refusals: Refusals::default(),
        said: Vec::new(),
        deadline: Instant::now(),
    };
    let mut store = Store::new(engine, state);
    store.limiter(|state| state);
    store.set_hostcall_fuel(limits.output_bytes_max);
    store.epoch_deadline_callback(|store| {
        if Instant::now() >= store.data().deadline {
            return Err(wasmtime::Error::new(Overran));
        }
        Ok(UpdateDeadline::Continue(1))
    });
    store
}

/// Starts the time of a call.
pub(crate) fn start(store: &mut Store<State>) {
    let state = store.data_mut();
    state.refusals = Refusals::default();
    state.said.clear();
    state.deadline = Instant::now() + state.limits.deadline;
    store.set_epoch_deadline(1);
}
