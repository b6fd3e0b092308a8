//! `two_tower(#{…})`: a model of two vectors and their dot product.

use rectool_base::{ColumnKind, PluginSource};
use rectool_model::{
    Architecture, CrossSpec, HistorySpec, RetrievalObjective, RetrievalSpec, TowerSpec,
    TwoTowerSpec,
};
use rhai::{Dynamic, Map};
use serde::Deserialize;

use crate::call::Call;
use crate::error::{RecipeError, did_you_mean};
use crate::network::{Assembly, DensePart, Model, init_bound};
use crate::options::{one, part};
use crate::values::described;

/// The plain options of `two_tower`.
#[derive(Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a recipe, each by itself")]
struct Plain {
    embedding_dim: usize,
    #[serde(default = "yes")]
    normalize: bool,
    #[serde(default = "one")]
    objective_weight: f32,
    temperature: Option<f32>,
    #[serde(default = "yes")]
    log_q: bool,
    #[serde(default = "yes")]
    drop_hits: bool,
    #[serde(default = "yes")]
    across_ranks: bool,
    #[serde(default)]
    dropout: f32,
    #[serde(default = "init_bound")]
    embedding_init: f32,
    #[serde(default)]
    seed: u64,
}

/// One tower.
#[derive(Deserialize)]
struct Tower {
    id: String,
    #[serde(default)]
    ids: Vec<String>,
    #[serde(default)]
    dense: Vec<String>,
    cross: Option<CrossSpec>,
    #[serde(default)]
    mlp: Vec<usize>,
    history: Option<HistorySpec>,
}

fn yes() -> bool {
    true
}

/// Temperature of vectors of length 1, whose products lie between -1 and 1.
const TEMPERATURE: f32 = 0.1;

const TOWER: &str = "a map such as #{id: \"user\", ids: [\"user\"], mlp: [64]}";
const OBJECTIVE: &str = "\"softmax\", \"bpr\", \"pairs\" or \
                         #{kind: \"ccl\", margin: 0.8, negative_weight: 150.0}";

impl Model {
    /// The function that makes two towers.
    pub(crate) const TOWERS: &'static str = "two_tower";

    /// Reads the options of `two_tower`.
    pub(crate) fn two_tower(
        call: &Call,
        map: Map,
        plugins: &dyn PluginSource,
    ) -> Result<Self, RecipeError> {
        let mut assembly = Assembly::read(call, map)?;
        let query = tower(call, &mut assembly, "query")?;
        let candidate = tower(call, &mut assembly, "candidate")?;
        let objective = assembly.options_mut().noun::<Dynamic>("objective", OBJECTIVE)?;
        let objective = objective.map(|value| read_objective(call, &assembly, &value));
        let objective = objective.transpose()?.unwrap_or_default();
        let plain: Plain = assembly.options().rest()?;
        for (key, tower) in [("query", &query), ("candidate", &candidate)] {
            assembly.check_widths(key, &tower.mlp)?;
            assembly.check_id(key, &tower.id)?;
        }
        let default = if plain.normalize { TEMPERATURE } else { 1.0 };
        let retrieval = RetrievalSpec {
            objective,
            weight: plain.objective_weight,
            temperature: plain.temperature.unwrap_or(default),
            log_q: plain.log_q,
            drop_hits: plain.drop_hits,
            across_ranks: plain.across_ranks,
            ..RetrievalSpec::new(&candidate.id, &query.id)
        };
        let normalize = plain.normalize;
        let (query, candidate) = (query.spec(), candidate.spec());
        assembly.finish(
            plugins,
            DensePart {
                architecture: Architecture::TwoTower(TwoTowerSpec { query, candidate, normalize }),
                retrieval: Some(retrieval),
                embedding_dim: plain.embedding_dim,
                dropout: plain.dropout,
                embedding_init: plain.embedding_init,
                seed: plain.seed,
                ..DensePart::default()
            },
        )
    }
}

impl Tower {
    fn spec(self) -> TowerSpec {
        let Self { ids, dense, cross, mlp, history, .. } = self;
        TowerSpec { ids, dense, cross, mlp, history }
    }
}

fn tower(
    call: &Call,
    assembly: &mut Assembly<'_>,
    key: &'static str,
) -> Result<Tower, RecipeError> {
    let map: Map = assembly.options_mut().required(key, TOWER)?;
    part(call, key, &map.into())
}

fn read_objective(
    call: &Call,
    assembly: &Assembly<'_>,
    value: &Dynamic,
) -> Result<RetrievalObjective, RecipeError> {
    if value.is_map() {
        return part(call, "objective", value);
    }
    let options = assembly.options();
    match value.clone().into_string().as_deref() {
        Ok("softmax") => Ok(RetrievalObjective::Softmax),
        Ok("bpr") => Ok(RetrievalObjective::Bpr),
        Ok("pairs") => Ok(RetrievalObjective::Pairs),
        Ok(name) => {
            let hint = did_you_mean(name, ["softmax", "bpr", "pairs"]);
            Err(options.refuse("objective", &format!("is '{name}', expected {OBJECTIVE}"), hint))
        }
        Err(_) => {
            let found = described(value);
            let what = format!("expects {OBJECTIVE}, found {found}");
            Err(options.refuse("objective", &what, None))
        }
    }
}

impl Assembly<'_> {
    /// Checks that `name` stands for one id per row.
    fn check_id(&self, key: &str, name: &str) -> Result<(), RecipeError> {
        let is_id = |kind| matches!(kind, ColumnKind::I64 { .. });
        let chained = &self.features().chained;
        match chained.find(name) {
            Some((column, range)) if is_id(column.kind) && range.len() == 1 => Ok(()),
            Some((column, _)) => {
                let what = format!(
                    "has id '{name}' of type {}, expected one id per row of type i64[1]",
                    column.kind
                );
                Err(self.options().refuse(key, &what, None))
            }
            None => Err(chained.unknown(self.options(), key, name, is_id)),
        }
    }
}
