//! `data.join(table, #{…})` and `data.side("key")`: columns of side tables.

use std::sync::Arc;

use rectool_data::{AbsentKey, SideOptions, SideTable};
use rhai::{Engine, ImmutableString, Map, NativeCallContext};
use serde::Deserialize;

use crate::call::{Call, raise};
use crate::dataset::{Dataset, Split};
use crate::error::{Cause, RecipeError, did_you_mean};
use crate::options::Options;
use crate::session::Session;

#[derive(Deserialize)]
struct JoinOptions {
    key: String,
    table_key: Option<String>,
    #[serde(default)]
    columns: Vec<String>,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    missing: MissingWord,
}

/// What becomes of a row whose key the table lacks.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MissingWord {
    #[default]
    Default,
    Error,
}

pub(crate) fn register(engine: &mut Engine, session: &Arc<Session>) {
    let shared = session.clone();
    engine.register_fn(
        "join",
        move |context: NativeCallContext<'_>, dataset: &mut Dataset, table: Dataset, map: Map| {
            let call = Call::new(&shared, &context);
            let only = only_split(&call, &table).map_err(raise)?;
            join(&call, dataset, (&table, &only), map).map_err(raise)
        },
    );
    let shared = session.clone();
    engine.register_fn(
        "join",
        move |context: NativeCallContext<'_>, dataset: &mut Dataset, table: Split, map: Map| {
            let call = Call::new(&shared, &context);
            join(&call, dataset, (&table.dataset, table.rows.name()), map).map_err(raise)
        },
    );
    let shared = session.clone();
    engine.register_fn(
        "side",
        move |context: NativeCallContext<'_>, dataset: &mut Dataset, key: ImmutableString| {
            let call = Call::new(&shared, &context);
            side(&call, dataset, &key).map_err(raise)
        },
    );
}

/// The split of a table that has one.
fn only_split(call: &Call, table: &Dataset) -> Result<String, RecipeError> {
    let splits: Vec<&str> = table.0.splits().collect();
    if let [only] = splits.as_slice() {
        return Ok((*only).to_owned());
    }
    let message = format!("join: the table has {} splits, expected 1", splits.len());
    let hint = splits.first().map(|split| format!("give the split that is meant: table.{split}"));
    Err(call.error(message, hint))
}

fn join(
    call: &Call,
    dataset: &Dataset,
    (table, split): (&Dataset, &str),
    map: Map,
) -> Result<Dataset, RecipeError> {
    let JoinOptions { key, table_key, columns, prefix, missing } =
        Options::new(call, map).rest()?;
    let absent = match missing {
        MissingWord::Default => AbsentKey::Missing,
        MissingWord::Error => AbsentKey::Error,
    };
    let options = SideOptions { key, table_key, columns, prefix, absent };
    let table = SideTable::load(&table.0, split, &options);
    let joined = table.and_then(|table| dataset.0.join(Arc::new(table)));
    joined.map(Dataset).map_err(|error| {
        let (place, cause) = (call.place.clone(), Cause::new(error));
        RecipeError::Refused { place, cause }
    })
}

/// The table that is joined by `key`, with the names that its columns have in the rows.
fn side(call: &Call, dataset: &Dataset, key: &str) -> Result<Dataset, RecipeError> {
    let tables = || dataset.0.side_tables();
    if let Some(table) = tables().find(|table| table.key() == key) {
        return Ok(Dataset(table.dataset().clone()));
    }
    let hint = did_you_mean(key, tables().map(|table| table.key()))
        .or_else(|| Some("join it first: data.join(movies, #{key: \"item\"})".to_owned()));
    Err(call.error(format!("side: no table is joined by '{key}'"), hint))
}
