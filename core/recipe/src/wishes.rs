//! `sharding` and `memory_per_rank` of a model: where its tables are to live.

use rectool_base::quoted_list;
use rectool_embedding::{Sharding, ShardingKind, Wish};
use rhai::{Dynamic, Map};

use crate::bytes::parse_bytes;
use crate::call::Call;
use crate::error::{RecipeError, did_you_mean};
use crate::options::Options;
use crate::values::{described, to_json};

/// The word for the planner's own choice.
const AUTO: &str = "auto";
/// What `sharding` may be.
const EXPECTED: &str = "\"auto\", a kind such as \"row_wise\", or one for each table: \
                        #{user: \"table_wise\", item: #{kind: \"table_wise\", rank: 1}}";

/// Where the tables of a model are to live.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Wishes {
    /// \[T\].
    pub(crate) tables: Vec<Wish>,
    /// Memory that a rank may use.
    pub(crate) memory_bytes_max: Option<u64>,
}

impl Wishes {
    /// Takes both options.
    pub(crate) fn read(
        call: &Call,
        options: &mut Options<'_>,
        tables: &[&str],
    ) -> Result<Self, RecipeError> {
        let memory_bytes_max = match options.noun::<Dynamic>("memory_per_rank", "a size")? {
            None => None,
            Some(value) => Some(memory(options, &value)?),
        };
        let tables = match options.noun::<Dynamic>("sharding", EXPECTED)? {
            None => vec![Wish::Any; tables.len()],
            Some(value) => match value.clone().try_cast::<Map>() {
                Some(map) => of_tables(call, options, &map, tables)?,
                None => vec![wish(call, &["sharding"], &value)?; tables.len()],
            },
        };
        Ok(Self { tables, memory_bytes_max })
    }
}

fn memory(options: &Options<'_>, value: &Dynamic) -> Result<u64, RecipeError> {
    let whole = value.as_int().ok().and_then(|bytes| u64::try_from(bytes).ok());
    let text = value.clone().into_string().ok();
    let bytes = whole.or_else(|| parse_bytes(&text?));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| {
        let found = described(value);
        let what = format!("expects a size such as \"4GiB\" or \"500MB\", found {found}");
        options.refuse("memory_per_rank", &what, None)
    })
}

/// A wish for every table: one that is left out would be forgotten.
fn of_tables(
    call: &Call,
    options: &Options<'_>,
    map: &Map,
    tables: &[&str],
) -> Result<Vec<Wish>, RecipeError> {
    if let Some(name) = map.keys().find(|name| !tables.contains(&name.as_str())) {
        let listed = quoted_list(tables.iter().copied());
        let message = format!(
            "{}: 'sharding' names '{name}', which is no table of the model; it has {listed}",
            call.function
        );
        let place = call.place_of_keys(&["sharding", name]);
        return Err(RecipeError::script(
            place,
            message,
            did_you_mean(name, tables.iter().copied()),
        ));
    }
    let missing: Vec<&str> =
        tables.iter().filter(|name| !map.contains_key(**name)).copied().collect();
    if let Some(first) = missing.first() {
        let listed = quoted_list(missing.iter().copied());
        let what = format!("leaves out {} of {} tables: {listed}", missing.len(), tables.len());
        let hint = format!("add {first}: \"{AUTO}\" to let the planner place it");
        return Err(options.refuse("sharding", &what, Some(hint)));
    }
    tables.iter().map(|name| wish(call, &["sharding", name], &map[*name])).collect()
}

/// The wish that stands at `keys`.
fn wish(call: &Call, keys: &[&str], value: &Dynamic) -> Result<Wish, RecipeError> {
    let subject = format!("{}: '{}'", call.function, keys.join("."));
    let refuse = |what: String, hint| {
        Err(RecipeError::script(call.place_of_keys(keys), format!("{subject} {what}"), hint))
    };
    if value.is_map() {
        let place = to_json(value).map(serde_json::from_value::<Sharding>);
        return match place {
            Some(Ok(place)) => Ok(Wish::At(place)),
            Some(Err(error)) => refuse(format!("is no place: {error}"), None),
            None => refuse(format!("expects plain values, found {}", described(value)), None),
        };
    }
    let Ok(word) = value.clone().into_string() else {
        return refuse(format!("expects {EXPECTED}, found {}", described(value)), None);
    };
    if word == AUTO {
        return Ok(Wish::Any);
    }
    let known = ShardingKind::ALL.map(ShardingKind::name);
    if let Some(kind) = ShardingKind::ALL.into_iter().find(|kind| kind.name() == word) {
        return Ok(Wish::Kind(kind));
    }
    let words = || std::iter::once(AUTO).chain(known);
    let what = format!("is '{word}', expected one of {}", quoted_list(words()));
    refuse(what, did_you_mean(&word, words()))
}
