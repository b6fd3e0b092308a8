//! A spec on the columns of a dataset: what is read, what is done to it, and the loss.

use std::sync::Arc;

use rectool_base::{Loss, PluginCall, PluginSource, Schema};
use rectool_data::{Cells, ChainOp, DataError, FeatureChain};

use crate::{LossSpec, ModelError, ModelSpec};

/// The parts of a model that depend on the columns and the plugins alone.
#[derive(Clone)]
pub struct BoundSpec {
    /// The columns to read, in the dataset's order.
    pub schema: Schema,
    /// What is done to them, and to the columns that come with negatives.
    pub chain: Arc<FeatureChain>,
    /// The loss of all that is learned: what is no head's, then those of the heads.
    pub losses: Vec<Arc<dyn Loss>>,
}

impl ModelSpec {
    /// Finds the plugins and fits chain and loss to the columns of `schema`.
    ///
    /// The loss takes its columns as they leave the chain, so that the chain can make them; those
    /// that the dataset has are read though no feature uses them.
    ///
    /// # Errors
    /// If a column is missing or of a type that a step or the loss does not take, or a plugin is not
    /// there or refuses its parameters.
    pub fn bind(
        &self,
        schema: &Schema,
        plugins: &dyn PluginSource,
    ) -> Result<BoundSpec, ModelError> {
        let steps = self.features.chain.steps.iter();
        let steps = steps.map(|step| Ok((&step.inputs, step.op.transform(plugins)?)));
        let steps = steps.collect::<Result<Vec<_>, DataError>>()?;
        let chain_on = |schema: &Schema| {
            let columns = [schema.columns().to_vec(), self.features.added()].concat();
            let mut chain = FeatureChain::new(&Schema::new(columns)?);
            for (inputs, transform) in &steps {
                chain.push(inputs, Arc::clone(transform))?;
            }
            Ok::<_, DataError>(chain)
        };
        // Which columns the loss wants is known only once it has seen all that there could be.
        let build = |loss: &LossSpec| match loss.plugin() {
            None => Ok::<_, ModelError>(loss.build(schema, plugins)?),
            Some(_) => Ok(loss.build(chain_on(schema)?.schema(), plugins)?),
        };
        let losses = self.losses().into_iter().map(build).collect::<Result<Vec<_>, _>>()?;
        let mut besides = self.of_learning(&losses);
        for name in self.retrieval.iter().flat_map(|spec| [&spec.query, &spec.item]) {
            // Which rows are of one query or item is asked even where neither is embedded.
            let column = Cells::find(schema, name)?.column;
            besides.push(schema.columns()[column].name.clone());
        }
        let schema = self.features.select(schema, &besides)?;
        let chain = Arc::new(chain_on(&schema)?);
        self.check_outcomes(&schema, &chain)?;
        Ok(BoundSpec { schema, chain, losses })
    }

    /// The columns that are read for what is learned, besides the label of the features: those that
    /// the losses want, and the labels of the heads.
    pub fn of_learning(&self, losses: &[Arc<dyn Loss>]) -> Vec<String> {
        let wanted = losses.iter().flat_map(|loss| &loss.demands().columns);
        wanted.chain(self.heads.iter().map(|head| &head.label)).cloned().collect()
    }

    /// The plugins that are part of the model, by what they are: each once.
    pub fn plugins(&self) -> Vec<(&'static str, &PluginCall)> {
        let steps = self.features.chain.steps.iter().filter_map(|step| match &step.op {
            ChainOp::Plugin(call) => Some(("transform", call)),
            _ => None,
        });
        let mut plugins: Vec<(&'static str, &PluginCall)> = Vec::new();
        let losses = self.losses().into_iter();
        let losses = losses.filter_map(|loss| Some(("loss", loss.plugin()?)));
        let sampler = self.features.negatives.as_ref().map(|spec| ("sampler", &spec.sampler));
        for (kind, call) in steps.chain(losses).chain(sampler) {
            if !plugins.iter().any(|(_, known)| known.sha256 == call.sha256) {
                plugins.push((kind, call));
            }
        }
        plugins
    }
}
