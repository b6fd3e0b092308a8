//! `negatives: #{…}` of `features`: rows for items that were not chosen.

use rectool_base::{ColumnKind, ColumnSchema};
use rectool_model::NegativeSpec;
use rhai::Map;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::call::Call;
use crate::dataset::Dataset;
use crate::error::{RecipeError, did_you_mean};
use crate::options::{Options, part};
use crate::plugin::Plugin;
use crate::values::described;

/// Negatives of one row: beyond this the loss has to be another one.
const PER_ROW_MAX: usize = 10_000;

/// The plain options of `negatives`.
#[derive(Deserialize)]
struct Plain {
    /// Taken out before; here so that a typo of another key is not told that there is none.
    #[expect(dead_code, reason = "a plugin is no plain value")]
    #[serde(default)]
    sampler: Option<IgnoredAny>,
    item: String,
    per_row: usize,
    #[serde(default)]
    item_columns: Vec<String>,
    score: Option<String>,
    #[serde(default)]
    seed: u64,
    log_q: Option<String>,
    label: Option<String>,
    group: Option<String>,
}

/// Reads the option, and checks what it names against the dataset.
pub(crate) fn negatives(
    call: &Call,
    options: &mut Options<'_>,
    dataset: &Dataset,
) -> Result<Option<NegativeSpec>, RecipeError> {
    let example = "a map such as #{sampler: plugin(\"uniform\"), item: \"item_id\", per_row: 4}";
    let Some(mut map) = options.noun::<Map>("negatives", example)? else { return Ok(None) };
    let refuse = |key: &str, what: String, hint: Option<String>| {
        let place = call.place_of_keys(&["negatives", key]);
        RecipeError::script(place, format!("features: 'negatives.{key}' {what}"), hint)
    };
    let expected = "expects a plugin such as plugin(\"uniform\")";
    let sampler = match map.remove("sampler") {
        None => return Err(options.refuse("negatives", "needs the option 'sampler'", None)),
        Some(value) => {
            let found = described(&value);
            let plugin: Option<Plugin> = value.try_cast();
            plugin.ok_or_else(|| refuse("sampler", format!("{expected}, found {found}"), None))?
        }
    };
    let sampler = sampler.of_kind("sampler").map_err(|what| refuse("sampler", what, None))?;
    let plain: Plain = part(call, "negatives", &map.into())?;
    if !(1..=PER_ROW_MAX).contains(&plain.per_row) {
        let what = format!("is {}, expected 1 to {PER_ROW_MAX}", plain.per_row);
        return Err(refuse("per_row", what, None));
    }
    let single = |key: &'static str, name: &str, kind: ColumnKind| {
        let Some((column, width)) = find(dataset, name) else {
            let hint = did_you_mean(name, names(dataset));
            return Err(refuse(key, format!("names '{name}', which the dataset lacks"), hint));
        };
        let fits = std::mem::discriminant(&column.kind) == std::mem::discriminant(&kind);
        if fits && width == Some(1) {
            return Ok(());
        }
        let what = format!("expects one value per row of type {kind}; '{name}' is {}", column.kind);
        Err(refuse(key, what, None))
    };
    single("item", &plain.item, ColumnKind::I64 { width: 1 })?;
    if let Some(score) = &plain.score {
        single("score", score, ColumnKind::F32 { width: 1 })?;
    }
    if let Some(name) = plain.item_columns.iter().find(|name| find(dataset, name).is_none()) {
        let hint = did_you_mean(name, names(dataset));
        let what = format!("names '{name}', which the dataset lacks");
        return Err(refuse("item_columns", what, hint));
    }
    for (key, name) in [("log_q", &plain.log_q), ("label", &plain.label), ("group", &plain.group)] {
        let taken = name.as_ref().filter(|name| find(dataset, name).is_some());
        if let Some(name) = taken {
            let what = format!("adds column '{name}', which the dataset has already");
            return Err(refuse(key, what, Some("give it another name".to_owned())));
        }
    }
    let Plain { item, per_row, item_columns, score, seed, log_q, label, group, .. } = plain;
    let spec =
        NegativeSpec { sampler, item, per_row, item_columns, score, seed, log_q, label, group };
    Ok(Some(spec))
}

/// The column that is called `name` or packs it, and how many values of a row are meant.
fn find<'a>(dataset: &'a Dataset, name: &str) -> Option<(&'a ColumnSchema, Option<usize>)> {
    let own = dataset.columns().iter().find(|column| column.name == name);
    own.map(|column| (column, column.width())).or_else(|| {
        let packs = |column: &&ColumnSchema| column.members.iter().any(|member| member == name);
        dataset.columns().iter().find(packs).map(|column| (column, Some(1)))
    })
}

fn names(dataset: &Dataset) -> impl Iterator<Item = &str> {
    dataset.columns().iter().flat_map(|column| {
        std::iter::once(column.name.as_str()).chain(column.members.iter().map(String::as_str))
    })
}
