//! Indexes as scripts hold them.

use std::path::PathBuf;
use std::sync::Arc;

use rhai::{Dynamic, Engine, Map, NativeCallContext};

use super::job::{IndexJob, SearchJob};
use super::search::Searched;
use crate::call::{Call, raise};
use crate::error::RecipeError;
use crate::session::Session;

/// An index that a script built.
#[derive(Clone, Debug)]
pub(crate) struct BuiltByScript {
    pub(crate) path: PathBuf,
    /// Vectors; 0 if it was only planned and its input is not there yet.
    pub(crate) rows: usize,
}

/// Makes `index` and `search` known to the engine.
pub(crate) fn register(engine: &mut Engine, session: &Arc<Session>) {
    engine.register_type_with_name::<BuiltByScript>("Index");
    engine.register_get("rows", |index: &mut BuiltByScript| index.rows as i64);
    engine.register_get("path", |index: &mut BuiltByScript| index.path.display().to_string());
    let shared = session.clone();
    engine.register_fn("index", move |context: NativeCallContext<'_>, map: Map| {
        let call = Call::new(&shared, &context);
        index(&shared, &call, map).map_err(raise)
    });
    let shared = session.clone();
    engine.register_fn(
        "search",
        move |context: NativeCallContext<'_>, index: BuiltByScript, map: Map| {
            let call = Call::new(&shared, &context);
            search(&shared, &call, &index, map).map_err(raise)
        },
    );
}

fn index(session: &Session, call: &Call, map: Map) -> Result<BuiltByScript, RecipeError> {
    session.before_action()?;
    let job = IndexJob::read(call, map)?;
    session.executor().index(call, &job)
}

fn search(
    session: &Session,
    call: &Call,
    index: &BuiltByScript,
    map: Map,
) -> Result<Map, RecipeError> {
    session.before_action()?;
    let job = SearchJob::read(call, map)?;
    let Searched { queries, results, recall, queries_per_s } =
        session.executor().search(call, index, &job)?;
    let mut map = Map::new();
    map.insert("queries".into(), Dynamic::from(queries as i64));
    map.insert("results".into(), Dynamic::from(results as i64));
    map.insert("recall".into(), Dynamic::from(recall));
    map.insert("queries_per_s".into(), Dynamic::from(queries_per_s));
    Ok(map)
}
