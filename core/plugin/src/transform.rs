//! A configured transform plugin.

use std::sync::{Arc, PoisonError, RwLock};

use rectool_base::{BatchPlace, Column, ColumnSchema, PluginFault, Transform, TransformError};
use wasmtime::component::ComponentExportIndex;

use crate::abi::{self, ColumnIn, ColumnOut, ColumnType};
use crate::columns;
use crate::fault::{Failure, Identity};
use crate::instance::{Instance, Prepared};
use crate::pool::Pool;

type Configured = Result<Vec<ColumnType>, abi::Fault>;
type Applied = Result<Vec<ColumnOut>, abi::Fault>;

/// Where a transform's functions are.
#[derive(Clone)]
pub(crate) struct Functions {
    pub(crate) configure: ComponentExportIndex,
    pub(crate) apply: ComponentExportIndex,
}

impl Functions {
    pub(crate) fn find(prepared: &Prepared, instance: &mut Instance) -> Result<Self, String> {
        let id = crate::contract::interface_id("transform");
        let functions = Self {
            configure: prepared.export(&id, "configure")?,
            apply: prepared.export(&id, "apply")?,
        };
        instance.typed::<(&[abi::Parameter], &[ColumnType]), (Configured,)>(
            &functions.configure,
            "configure",
        )?;
        instance.typed::<(u32, &[ColumnIn<'_>]), (Applied,)>(&functions.apply, "apply")?;
        Ok(functions)
    }
}

pub(crate) struct PluginTransform {
    name: String,
    prepared: Arc<Prepared>,
    functions: Functions,
    parameters: Vec<abi::Parameter>,
    /// One entry per list of inputs that it was asked about: nearly always one.
    configurations: RwLock<Vec<Arc<Configuration>>>,
}

struct Configuration {
    inputs: Vec<ColumnSchema>,
    outputs: Vec<ColumnSchema>,
    pool: Pool,
}

impl PluginTransform {
    pub(crate) fn new(
        name: &str,
        prepared: Arc<Prepared>,
        functions: Functions,
        parameters: Vec<abi::Parameter>,
    ) -> Self {
        let configurations = RwLock::default();
        Self { name: name.to_owned(), prepared, functions, parameters, configurations }
    }

    fn identity(&self) -> &Identity {
        &self.prepared.identity
    }

    /// A new instance, configured for `inputs`, and what it announces.
    fn configured(
        &self,
        inputs: &[ColumnSchema],
    ) -> Result<(Instance, Vec<ColumnSchema>), PluginFault> {
        let mut instance = self.prepared.instantiate()?;
        let types: Vec<ColumnType> = inputs.iter().map(columns::lowered_type).collect();
        let arguments = (self.parameters.as_slice(), types.as_slice());
        let announced: Configured = instance.call(&self.functions.configure, arguments, None)?;
        let announced = announced.map_err(|fault| self.identity().told(None, &fault))?;
        let outputs = columns::lifted_types(announced)
            .map_err(|message| self.identity().fault(None, message))?;
        Ok((instance, outputs))
    }

    fn configuration(&self, inputs: &[ColumnSchema]) -> Result<Arc<Configuration>, PluginFault> {
        let known = self.configurations.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.iter().find(|known| known.inputs == inputs) {
            return Ok(Arc::clone(found));
        }
        drop(known);
        let (instance, outputs) = self.configured(inputs)?;
        let pool = Pool::new(instance);
        let configuration = Arc::new(Configuration { inputs: inputs.to_vec(), outputs, pool });
        let mut known = self.configurations.write().unwrap_or_else(PoisonError::into_inner);
        known.push(Arc::clone(&configuration));
        Ok(configuration)
    }

    /// Another instance of a configuration: it has to announce what the first one did.
    fn another(&self, configuration: &Configuration) -> Result<Instance, PluginFault> {
        let (instance, outputs) = self.configured(&configuration.inputs)?;
        if outputs != configuration.outputs {
            let message = "announced other columns than its first instance did".to_owned();
            return Err(self.identity().fault(None, message));
        }
        Ok(instance)
    }

    /// As [`Transform::apply`].
    pub(crate) fn run(
        &self,
        schemas: &[ColumnSchema],
        columns: &[Column],
        place: BatchPlace,
    ) -> Result<Vec<Column>, Failure> {
        assert_eq!(schemas.len(), columns.len(), "as many columns as schemas");
        let configuration = self.configuration(schemas)?;
        let rows = columns.first().map_or(place.rows, Column::rows);
        let lowered: Vec<ColumnIn<'_>> = columns.iter().map(columns::lowered).collect();
        configuration.pool.with(
            || self.another(&configuration),
            |instance| {
                let arguments = (rows as u32, lowered.as_slice());
                let applied: Applied =
                    instance.call(&self.functions.apply, arguments, Some(place))?;
                let applied = applied
                    .map_err(|fault| Failure::Refused(self.identity().told(Some(place), &fault)))?;
                columns::lifted(rows, &configuration.outputs, applied)
                    .map_err(|message| self.identity().fault(Some(place), message).into())
            },
        )
    }

    /// Instances that wait, and the bytes of their memories.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let known = self.configurations.read().unwrap_or_else(PoisonError::into_inner);
        let sizes = known.iter().map(|known| known.pool.size());
        sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1))
    }
}

impl Transform for PluginTransform {
    fn name(&self) -> &str {
        &self.name
    }

    fn outputs(&self, inputs: &[ColumnSchema]) -> Result<Vec<ColumnSchema>, TransformError> {
        Ok(self.configuration(inputs)?.outputs.clone())
    }

    fn apply(
        &self,
        schemas: &[ColumnSchema],
        columns: Vec<Column>,
        place: BatchPlace,
    ) -> Result<Vec<Column>, TransformError> {
        self.run(schemas, &columns, place).map_err(|failure| failure.into_fault().into())
    }
}
