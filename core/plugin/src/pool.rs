//! Configured instances that wait for work.

use std::sync::{Mutex, PoisonError};

use rectool_base::PluginFault;

use crate::fault::Failure;
use crate::instance::Instance;

/// Instances of one configuration: as many as were ever busy at once.
pub(crate) struct Pool {
    free: Mutex<Vec<Instance>>,
}

impl Pool {
    pub(crate) fn new(first: Instance) -> Self {
        Self { free: Mutex::new(vec![first]) }
    }

    /// Runs `work` with a free instance, or one that `make` makes. An instance that failed, or in
    /// whose results a fault was found, is dropped.
    pub(crate) fn with<R>(
        &self,
        make: impl FnOnce() -> Result<Instance, PluginFault>,
        work: impl FnOnce(&mut Instance) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let waiting = self.lock().pop();
        let mut instance = match waiting {
            Some(instance) => instance,
            None => make()?,
        };
        let result = work(&mut instance)?;
        self.lock().push(instance);
        Ok(result)
    }

    /// Free instances, and the bytes of their memories.
    pub(crate) fn size(&self) -> (usize, usize) {
        let free = self.lock();
        (free.len(), free.iter().map(Instance::memory_bytes).sum())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Instance>> {
        // A list of instances is whole whenever the lock is free, also after a panic elsewhere.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
