//! A configured loss plugin.

use std::sync::Arc;

use rectool_base::{
    BatchPlace, ColumnSchema, Labels, Loss, LossDemands, LossInput, PluginFault, Prediction,
    Schema, nearest_name, quoted_list,
};
use wasmtime::component::ComponentExportIndex;

use crate::abi::{self, ColumnIn, ColumnType};
use crate::columns;
use crate::fault::{Failure, Identity, bounded};
use crate::instance::{Instance, Prepared};
use crate::pool::Pool;

type Configured = Result<abi::Demands, abi::Fault>;
type Bound = Result<(), abi::Fault>;
type Evaluated = Result<abi::Evaluation, abi::Fault>;
type Arguments<'a> = (&'a [f32], &'a [f32], &'a [f32], &'a [ColumnIn<'a>]);

/// Where a loss's functions are.
#[derive(Clone)]
pub(crate) struct Functions {
    configure: ComponentExportIndex,
    bind: ComponentExportIndex,
    evaluate: ComponentExportIndex,
}

impl Functions {
    pub(crate) fn find(prepared: &Prepared, instance: &mut Instance) -> Result<Self, String> {
        let id = crate::contract::interface_id("objective");
        let functions = Self {
            configure: prepared.export(&id, "configure")?,
            bind: prepared.export(&id, "bind")?,
            evaluate: prepared.export(&id, "evaluate")?,
        };
        instance.typed::<(&[abi::Parameter],), (Configured,)>(&functions.configure, "configure")?;
        instance.typed::<(&[ColumnType],), (Bound,)>(&functions.bind, "bind")?;
        instance.typed::<Arguments<'_>, (Evaluated,)>(&functions.evaluate, "evaluate")?;
        Ok(functions)
    }
}

pub(crate) struct PluginLoss {
    name: String,
    prepared: Arc<Prepared>,
    functions: Functions,
    parameters: Vec<abi::Parameter>,
    demands: LossDemands,
    columns: Vec<ColumnSchema>,
    pool: Pool,
}

impl PluginLoss {
    pub(crate) fn new(
        name: &str,
        prepared: Arc<Prepared>,
        functions: Functions,
        parameters: Vec<abi::Parameter>,
        schema: &Schema,
    ) -> Result<Self, PluginFault> {
        let (mut first, demands) = configured(&prepared, &functions, &parameters)?;
        let columns: Result<Vec<ColumnSchema>, PluginFault> =
            demands.columns.iter().map(|wanted| find(&prepared.identity, schema, wanted)).collect();
        let columns = columns?;
        bind(&prepared, &functions, &mut first, &columns)?;
        let pool = Pool::new(first);
        let name = name.to_owned();
        Ok(Self { name, prepared, functions, parameters, demands, columns, pool })
    }

    /// Another instance: it has to demand what the first one did.
    fn another(&self) -> Result<Instance, PluginFault> {
        let (mut instance, demands) =
            configured(&self.prepared, &self.functions, &self.parameters)?;
        if demands != self.demands {
            let message = "demands something else than its first instance did".to_owned();
            return Err(self.prepared.identity.fault(None, message));
        }
        bind(&self.prepared, &self.functions, &mut instance, &self.columns)?;
        Ok(instance)
    }

    /// As [`Loss::evaluate`].
    pub(crate) fn run(
        &self,
        input: LossInput<'_>,
        losses: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), Failure> {
        let rows = input.logits.len();
        let weights = input.weights.len();
        assert_eq!(input.labels.len(), rows, "as many labels as logits");
        assert!(weights == 0 || weights == rows, "{weights} weights for {rows} rows");
        assert_eq!((losses.len(), gradients.len()), (rows, rows), "room for every row's result");
        assert_eq!(input.columns.len(), self.columns.len(), "the columns that it demands");
        let place = input.place;
        let columns: Vec<ColumnIn<'_>> =
            input.columns.iter().map(|column| columns::lowered(column)).collect();
        let identity = &self.prepared.identity;
        self.pool.with(
            || self.another(),
            |instance| {
                let arguments = (input.logits, input.labels, input.weights, columns.as_slice());
                let evaluated: Evaluated =
                    instance.call(&self.functions.evaluate, arguments, Some(place))?;
                let found = evaluated
                    .map_err(|fault| Failure::Refused(identity.told(Some(place), &fault)))?;
                check("losses", &found.losses, rows, place)
                    .and_then(|()| check("gradients", &found.gradients, rows, place))
                    .map_err(|message| identity.fault(Some(place), message))?;
                losses.copy_from_slice(&found.losses);
                gradients.copy_from_slice(&found.gradients);
                Ok(())
            },
        )
    }

    /// Instances that wait, and the bytes of their memories.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        self.pool.size()
    }
}

fn configured(
    prepared: &Arc<Prepared>,
    functions: &Functions,
    parameters: &[abi::Parameter],
) -> Result<(Instance, LossDemands), PluginFault> {
    let mut instance = prepared.instantiate()?;
    let demands: Configured = instance.call(&functions.configure, (parameters,), None)?;
    let demands = demands.map_err(|fault| prepared.identity.told(None, &fault))?;
    let prediction = match demands.prediction {
        abi::Prediction::Logit => Prediction::Logit,
        abi::Prediction::Value => Prediction::Value,
        abi::Prediction::LogRate => Prediction::LogRate,
        abi::Prediction::Score => Prediction::Score,
    };
    let labels = match demands.labels {
        abi::Labels::Binary => Labels::Binary,
        abi::Labels::NonNegative => Labels::NonNegative,
        abi::Labels::Any => Labels::Any,
    };
    Ok((instance, LossDemands { prediction, labels, columns: demands.columns }))
}

fn find(identity: &Identity, schema: &Schema, wanted: &str) -> Result<ColumnSchema, PluginFault> {
    schema.column(wanted).cloned().map_err(|_| {
        let wanted = bounded(wanted);
        let names = || schema.columns().iter().map(|column| column.name.as_str());
        let mut fault =
            identity.fault(None, format!("wants column `{wanted}`, which there is not"));
        fault.hint = Some(match nearest_name(&wanted, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", quoted_list(names())),
        });
        fault
    })
}

fn bind(
    prepared: &Prepared,
    functions: &Functions,
    instance: &mut Instance,
    columns: &[ColumnSchema],
) -> Result<(), PluginFault> {
    let types: Vec<ColumnType> = columns.iter().map(columns::lowered_type).collect();
    let bound: Bound = instance.call(&functions.bind, (types.as_slice(),), None)?;
    bound.map_err(|fault| prepared.identity.told(None, &fault))
}

/// Says which length or value is wrong.
fn check(name: &str, values: &[f32], expected: usize, place: BatchPlace) -> Result<(), String> {
    if values.len() != expected {
        return Err(format!("returned {} {name}, expected {expected}", values.len()));
    }
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(row) => {
            let (value, row) = (values[row], place.row_first + row);
            Err(format!("row {row} of the batch: one of its {name} is {value}"))
        }
    }
}

impl Loss for PluginLoss {
    fn name(&self) -> &str {
        &self.name
    }

    fn demands(&self) -> &LossDemands {
        &self.demands
    }

    fn evaluate(
        &self,
        input: LossInput<'_>,
        losses: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), PluginFault> {
        self.run(input, losses, gradients).map_err(Failure::into_fault)
    }
}
