//! One instance of a plugin, and calls of it.

use std::sync::Arc;

use rectool_base::{BatchPlace, PluginFault};
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, InstancePre, Lift, Lower};

use crate::fault::{Identity, bounded};
use crate::host::Shared;
use crate::store::{self, State};

/// A component that is ready to be instantiated.
pub(crate) struct Prepared {
    pub(crate) host: Arc<Shared>,
    pub(crate) pre: InstancePre<State>,
    pub(crate) identity: Identity,
}

pub(crate) struct Instance {
    prepared: Arc<Prepared>,
    store: Store<State>,
    guest: wasmtime::component::Instance,
}

impl Prepared {
    /// Where a function of an interface is, or its name if it is not there.
    pub(crate) fn export(
        &self,
        interface: &str,
        function: &str,
    ) -> Result<ComponentExportIndex, String> {
        let component = self.pre.component();
        let missing = || format!("`{interface}#{function}`");
        let inside = component.get_export_index(None, interface).ok_or_else(missing)?;
        component.get_export_index(Some(&inside), function).ok_or_else(missing)
    }

    pub(crate) fn instantiate(self: &Arc<Self>) -> Result<Instance, PluginFault> {
        let limits = &self.host.limits;
        let mut store = store::store(&self.host.engine, limits);
        store::start(&mut store);
        let running = self.host.ticker.running();
        let guest = self.pre.instantiate(&mut store);
        drop(running);
        let guest = guest.map_err(|error| self.identity.ended(None, &error, store.data()))?;
        Ok(Instance { prepared: Arc::clone(self), store, guest })
    }
}

impl Instance {
    /// Bytes of its memories.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().memory_bytes
    }

    /// Says what is wrong with the type of a function, if anything.
    pub(crate) fn typed<P, R>(
        &mut self,
        index: &ComponentExportIndex,
        name: &str,
    ) -> Result<(), String>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let function = self.guest.get_typed_func::<P, R>(&mut self.store, index);
        function.map(drop).map_err(|error| {
            format!("`{name}` with the contract's types: {}", bounded(&format!("{error:#}")))
        })
    }

    /// Calls the guest. After an error the instance must not be used any more.
    pub(crate) fn call<P, R>(
        &mut self,
        index: &ComponentExportIndex,
        arguments: P,
        place: Option<BatchPlace>,
    ) -> Result<R, PluginFault>
    where
        P: ComponentNamedList + Lower,
        R: Lift + Send + Sync + 'static,
        (R,): ComponentNamedList + Lift,
    {
        let Prepared { host, identity, .. } = &*self.prepared;
        store::start(&mut self.store);
        let running = host.ticker.running();
        let outcome = self
            .guest
            .get_typed_func::<P, (R,)>(&mut self.store, index)
            .and_then(|function| function.call(&mut self.store, arguments));
        drop(running);
        let state = self.store.data();
        if !state.said.is_empty() {
            let said = String::from_utf8_lossy(&state.said);
            tracing::debug!("{}: {}", identity.plugin, bounded(&said));
        }
        let outcome = outcome.map(|(result,)| result);
        outcome.map_err(|error| identity.ended(place, &error, state))
    }
}
