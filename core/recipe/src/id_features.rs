//! The entries of `ids`: which column each one means, and how its lists are pooled.

use rectool_base::limits::SEQUENCE_LENGTH_MAX;
use rectool_base::{ColumnKind, ColumnSchema};
use rectool_embedding::{Keep, Pooling, TABLE_NAME_BYTES_MAX, TableOptions};
use rectool_model::IdFeatureSpec;
use rhai::Dynamic;
use serde::Deserialize;

use crate::call::Call;
use crate::chained::Chained;
use crate::error::RecipeError;
use crate::options::{Options, entry, text_of};

#[derive(Default, Deserialize)]
struct IdOptions {
    column: String,
    name: Option<String>,
    table: Option<String>,
    #[serde(default)]
    pooling: PoolingWord,
    /// Of a sequence.
    length: Option<usize>,
    keep: Option<Keep>,
    weights: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum PoolingWord {
    #[default]
    Sum,
    Mean,
    #[serde(rename = "sqrtn")]
    SqrtN,
    Sequence,
}

fn is_id(kind: ColumnKind) -> bool {
    matches!(kind, ColumnKind::I64 { .. } | ColumnKind::I64List)
}

/// Checks that the column `weights` has a list of floats for the list of ids in `ids`.
fn check_weights(
    options: &Options<'_>,
    chained: &Chained,
    (ids, weights): (&ColumnSchema, &str),
) -> Result<(), RecipeError> {
    let is_list = |kind| kind == ColumnKind::F32List;
    if ids.kind != ColumnKind::I64List {
        let what = format!(
            "gives weights to '{}', which is {}; only lists of ids are weighed",
            ids.name, ids.kind
        );
        return Err(options.refuse("ids", &what, None));
    }
    let Some(column) = chained.column(weights) else {
        return Err(chained.unknown(options, "ids", weights, is_list));
    };
    if is_list(column.kind) {
        return Ok(());
    }
    let what = format!("expects weights of type f32 list; '{weights}' is {}", column.kind);
    let hint = "import it as lists of floats, one for each id: --float-lists".to_owned();
    Err(options.refuse("ids", &what, Some(hint)))
}

impl IdOptions {
    /// The pooling of the entry `at` of `ids`.
    fn pooling(&self, options: &Options<'_>, at: usize) -> Result<Pooling, RecipeError> {
        let refuse = |what: &str, hint: Option<&str>| {
            let message = format!("features: 'ids[{at}]' {what}");
            Err(RecipeError::script(options.place_of("ids"), message, hint.map(str::to_owned)))
        };
        if self.pooling != PoolingWord::Sequence && (self.length.is_some() || self.keep.is_some()) {
            let hint = "add pooling: \"sequence\", or use truncate in the chain";
            return refuse("pools its ids, but 'length' and 'keep' are for sequences", Some(hint));
        }
        match (self.pooling, self.length) {
            (PoolingWord::Sum, _) => Ok(Pooling::Sum),
            (PoolingWord::Mean, _) => Ok(Pooling::Mean),
            (PoolingWord::SqrtN, _) => Ok(Pooling::SqrtN),
            (PoolingWord::Sequence, Some(length))
                if (1..=SEQUENCE_LENGTH_MAX).contains(&length) =>
            {
                Ok(Pooling::Sequence { length, keep: self.keep.unwrap_or_default() })
            }
            (PoolingWord::Sequence, Some(length)) => {
                let what = format!("has the length {length}, expected 1 to {SEQUENCE_LENGTH_MAX}");
                refuse(&what, None)
            }
            (PoolingWord::Sequence, None) => {
                refuse("is a sequence and needs the option 'length'", Some("add length: 50"))
            }
        }
    }
}

/// Checks that checkpoints can keep the table of a feature, which reads `column`.
fn check_table(
    options: &Options<'_>,
    at: usize,
    (column, table): (&str, &str),
) -> Result<(), RecipeError> {
    if TableOptions::can_be_called(table) {
        return Ok(());
    }
    let plain = table.replace(['/', '\0'], "_");
    let plain = if TableOptions::can_be_called(&plain) { &plain } else { "ids" };
    let message = format!(
        "features: 'ids[{at}]' has the table {table:?}, expected a name that a folder can have: 1 to \
         {TABLE_NAME_BYTES_MAX} bytes, not \".\" or \"..\", without '/'"
    );
    let hint = format!("give the table a plain name: #{{column: {column:?}, table: {plain:?}}}");
    Err(RecipeError::script(options.place_of("ids"), message, Some(hint)))
}

/// The features of one entry of `ids`: a name stands for a plain or list column, for one packed
/// member, or for every member of a packed column.
pub(crate) fn id_features(
    call: &Call,
    options: &Options<'_>,
    chained: &Chained,
    (at, value): (usize, &Dynamic),
) -> Result<Vec<IdFeatureSpec>, RecipeError> {
    let given = if value.is_map() {
        entry(call, ("ids", at), value)?
    } else {
        IdOptions { column: text_of(call, "ids", value)?, ..IdOptions::default() }
    };
    let Some((column, positions)) = chained.find(&given.column) else {
        return Err(chained.unknown(options, "ids", &given.column, is_id));
    };
    if !is_id(column.kind) {
        let (name, kind) = (&given.column, column.kind.to_string());
        let what = format!("expects id columns; '{name}' is {kind}");
        return Err(options.refuse("ids", &what, None));
    }
    if given.name.is_some() && positions.len() > 1 {
        let (name, members) = (&given.column, positions.len());
        let what = format!("gives one name to the {members} features of column '{name}'");
        return Err(options.refuse("ids", &what, Some("name one of its members".to_owned())));
    }
    let pooling = given.pooling(options, at)?;
    if let Some(weights) = &given.weights {
        check_weights(options, chained, (column, weights))?;
    }
    let features = positions.map(|position| {
        let name = given.name.clone().unwrap_or_else(|| column.member_name(position));
        IdFeatureSpec {
            column: column.name.clone(),
            at: position,
            table: given.table.clone().unwrap_or_else(|| name.clone()),
            pooling,
            weights: given.weights.clone(),
            name,
        }
    });
    let features: Vec<IdFeatureSpec> = features.collect();
    for feature in &features {
        check_table(options, at, (&column.member_name(feature.at), &feature.table))?;
    }
    Ok(features)
}
