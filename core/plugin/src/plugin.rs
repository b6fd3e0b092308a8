//! A loaded plugin.

use std::sync::Arc;

use rectool_base::{
    ItemStatistics, Loss, ParameterValue, PluginCall, PluginFault, Sampler, Schema, Transform,
};

use crate::abi;
use crate::contract::Kind;
use crate::description::Description;
use crate::error::PluginError;
use crate::fault::Identity;
use crate::host::sha256_hex;
use crate::instance::Prepared;
use crate::loss::{self, PluginLoss};
use crate::parameters::{self, Parameters};
use crate::sampler::{self, PluginSampler};
use crate::transform::{self, PluginTransform};

/// A plugin, compiled and ready to be configured. Cheap to clone.
#[derive(Clone)]
pub struct Plugin {
    inner: Arc<Inner>,
}

struct Inner {
    prepared: Arc<Prepared>,
    functions: Functions,
    description: Description,
    bytes: Arc<[u8]>,
    sha256: String,
    cached: bool,
}

enum Functions {
    Transform(transform::Functions),
    Loss(loss::Functions),
    Sampler(sampler::Functions),
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("kind", &self.kind())
            .field("title", &self.title())
            .field("sha256", &self.inner.sha256)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// Asks a compiled component to describe itself, and finds its functions.
    pub(crate) fn new(
        file: &str,
        mut prepared: Arc<Prepared>,
        bytes: Vec<u8>,
        cached: bool,
    ) -> Result<Self, PluginError> {
        let missing = |what| PluginError::Missing { name: file.to_owned(), what };
        let id = crate::contract::interface_id("about");
        let describe = prepared.export(&id, "describe").map_err(missing)?;
        let mut instance = prepared.instantiate()?;
        instance.typed::<(), (abi::Description,)>(&describe, "describe").map_err(missing)?;
        let functions = match prepared.identity.kind {
            Kind::Transform => {
                transform::Functions::find(&prepared, &mut instance).map(Functions::Transform)
            }
            Kind::Loss => loss::Functions::find(&prepared, &mut instance).map(Functions::Loss),
            Kind::Sampler => {
                sampler::Functions::find(&prepared, &mut instance).map(Functions::Sampler)
            }
        };
        let functions = functions.map_err(missing)?;
        let said: abi::Description = instance.call(&describe, (), None)?;
        drop(instance);
        let description = Description::checked(file, said)?;
        let kind = prepared.identity.kind;
        let plugin = format!("{} {}", description.name, description.version);
        Arc::get_mut(&mut prepared).expect("the instance that shared it is gone").identity =
            Identity { kind, plugin };
        let sha256 = sha256_hex(&bytes);
        let bytes = bytes.into();
        let inner = Inner { prepared, functions, description, bytes, sha256, cached };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What it is for.
    pub fn kind(&self) -> Kind {
        self.inner.prepared.identity.kind
    }

    /// Its name, version and parameters.
    pub fn description(&self) -> &Description {
        &self.inner.description
    }

    /// Name and version: `hash-cross 1.0.0`.
    pub fn title(&self) -> &str {
        &self.inner.prepared.identity.plugin
    }

    /// SHA-256 of its file, 64 hex digits.
    pub fn sha256(&self) -> &str {
        &self.inner.sha256
    }

    /// Its file, as it was loaded.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.inner.bytes
    }

    /// Whether its compiled code came from the cache.
    pub fn was_cached(&self) -> bool {
        self.inner.cached
    }

    pub(crate) fn prepared(&self) -> &Arc<Prepared> {
        &self.inner.prepared
    }

    /// The call of it with these parameters, which are checked against its description.
    ///
    /// # Errors
    /// [`PluginError::Parameter`].
    pub fn call(&self, parameters: &Parameters) -> Result<PluginCall, PluginError> {
        self.complete(parameters)?;
        Ok(PluginCall {
            name: self.inner.description.name.clone(),
            version: self.inner.description.version.clone(),
            sha256: self.inner.sha256.clone(),
            parameters: parameters.clone(),
        })
    }

    /// Every parameter with the value that it has: those given, the defaults of the others.
    ///
    /// # Errors
    /// [`PluginError::Parameter`].
    pub fn complete_parameters(
        &self,
        given: &Parameters,
    ) -> Result<Vec<(String, ParameterValue)>, PluginError> {
        let complete = self.complete(given)?.into_iter();
        Ok(complete.map(|each| (each.name, parameters::from_abi(each.value))).collect())
    }

    fn complete(&self, given: &Parameters) -> Result<Vec<abi::Parameter>, PluginError> {
        parameters::complete(&self.inner.description.name, &self.inner.description, given)
    }

    fn completed(&self, given: &Parameters) -> Result<Vec<abi::Parameter>, PluginFault> {
        self.complete(given).map_err(|error| error.into_fault(self.kind().name(), self.title()))
    }

    fn wrong_kind(&self, wanted: &'static str) -> PluginFault {
        let message = format!("is a {}, expected a {wanted}", self.kind());
        self.inner.prepared.identity.fault(None, message)
    }

    /// The transform with these parameters. Its instances are configured when the columns are known.
    ///
    /// # Errors
    /// If it is no transform, or does not take the parameters.
    pub fn transform(&self, parameters: &Parameters) -> Result<Arc<dyn Transform>, PluginFault> {
        Ok(Arc::new(self.plugin_transform(parameters)?))
    }

    pub(crate) fn plugin_transform(
        &self,
        parameters: &Parameters,
    ) -> Result<PluginTransform, PluginFault> {
        let Functions::Transform(functions) = &self.inner.functions else {
            return Err(self.wrong_kind("transform"));
        };
        let parameters = self.completed(parameters)?;
        let prepared = Arc::clone(&self.inner.prepared);
        let name = &self.inner.description.name;
        Ok(PluginTransform::new(name, prepared, functions.clone(), parameters))
    }

    /// The loss with these parameters, for rows of `schema`.
    ///
    /// # Errors
    /// If it is no loss, does not take the parameters, or wants a column that is not there.
    pub fn loss(
        &self,
        parameters: &Parameters,
        schema: &Schema,
    ) -> Result<Arc<dyn Loss>, PluginFault> {
        Ok(Arc::new(self.plugin_loss(parameters, schema)?))
    }

    pub(crate) fn plugin_loss(
        &self,
        parameters: &Parameters,
        schema: &Schema,
    ) -> Result<PluginLoss, PluginFault> {
        let Functions::Loss(functions) = &self.inner.functions else {
            return Err(self.wrong_kind("loss"));
        };
        let parameters = self.completed(parameters)?;
        let prepared = Arc::clone(&self.inner.prepared);
        let name = &self.inner.description.name;
        PluginLoss::new(name, prepared, functions.clone(), parameters, schema)
    }

    /// The sampler with these parameters, over `items`.
    ///
    /// # Errors
    /// If it is no sampler, or does not take the parameters or the items.
    pub fn sampler(
        &self,
        parameters: &Parameters,
        items: &ItemStatistics,
    ) -> Result<Arc<dyn Sampler>, PluginFault> {
        Ok(Arc::new(self.plugin_sampler(parameters, items)?))
    }

    pub(crate) fn plugin_sampler(
        &self,
        parameters: &Parameters,
        items: &ItemStatistics,
    ) -> Result<PluginSampler, PluginFault> {
        let Functions::Sampler(functions) = &self.inner.functions else {
            return Err(self.wrong_kind("sampler"));
        };
        let parameters = self.completed(parameters)?;
        let prepared = Arc::clone(&self.inner.prepared);
        let name = &self.inner.description.name;
        PluginSampler::new(name, prepared, functions.clone(), parameters, items)
    }
}
