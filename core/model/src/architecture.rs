//! How the dense part of a model combines its inputs.

use rectool_base::limits::MLP_WIDTH_MAX;
use rectool_embedding::Init;
use serde::{Deserialize, Serialize};

use crate::{IdFeatureSpec, Interaction, ModelError, ModelSpec, TableSpec};

/// Layers of one cross network.
const CROSS_LAYERS_MAX: usize = 32;

/// The kind of the dense part, with the options that only this kind has. The others, which
/// [`ModelSpec`] holds, are read by every kind that has a use for them.
///
/// Letters: D embedding width, O outputs, E width of a tower's vector, L length of a sequence.
///
/// ```
/// use rectool_model::{Architecture, CrossStructure, DcnV2Spec};
/// let text = r#"{"kind": "dcnv2", "cross_layers": 3, "structure": "parallel"}"#;
/// let Architecture::DcnV2(cross) = serde_json::from_str(text)? else { unreachable!() };
/// assert_eq!(cross.structure, CrossStructure::Parallel);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum Architecture {
    /// DLRM (Naumov et al., 2019): bottom MLP over dense inputs, interaction, top MLP.
    #[default]
    #[serde(rename = "dlrm")]
    Dlrm,
    /// DeepFM (Guo et al., 2017): a weight for each id and dense input, a factorisation machine over
    /// the embeddings, and an MLP over all inputs, added up. The dense inputs are one more field of
    /// the factorisation machine, whose vector is a linear function of them.
    #[serde(rename = "deepfm")]
    DeepFm,
    /// Wide & Deep (Cheng et al., 2016): a weight for each id and dense input, and an MLP over all
    /// inputs, added up.
    #[serde(rename = "wide_deep")]
    WideDeep,
    /// DCN V2 (Wang et al., 2021): cross layers and an MLP.
    #[serde(rename = "dcnv2")]
    DcnV2(DcnV2Spec),
    /// DIN (Zhou et al., 2018): a history weighted by how each of its items goes with the target.
    #[serde(rename = "din")]
    Din(DinSpec),
    /// Two towers, each of which makes one vector; a score is their dot product.
    #[serde(rename = "two_tower")]
    TwoTower(TwoTowerSpec),
}

/// What a [`Architecture::DcnV2`] adds to the options of every model; [`ModelSpec::top_mlp`] has the
/// hidden widths of its MLP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DcnV2Spec {
    /// Cross layers, 1 or more.
    pub cross_layers: usize,
    /// Rank r of their weights W = U Vᵀ; without it W is a full square matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// How they stand to the MLP.
    #[serde(default)]
    pub structure: CrossStructure,
}

/// How the cross layers of a DCN V2 stand to its MLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrossStructure {
    /// The MLP reads what the cross layers make.
    #[default]
    Stacked,
    /// Both read the inputs, and a last linear layer reads both.
    Parallel,
}

/// What a [`Architecture::Din`] adds to the options of every model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DinSpec {
    /// The feature with the history: a sequence.
    pub history: String,
    /// The feature with the item in question, as wide as the history's vectors.
    pub target: String,
    /// Hidden widths of the MLP that weighs an item of the history h by the target t: it reads
    /// [h, t, h·t, h − t], and its last layer, of width 1, is added.
    pub attention_mlp: Vec<usize>,
}

/// A query tower and a candidate tower. An output row is the query's vector, then the candidate's:
/// O = 2 E.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwoTowerSpec {
    /// What asks, such as a user.
    pub query: TowerSpec,
    /// What is asked for, such as an item.
    pub candidate: TowerSpec,
    /// Whether vectors are scaled to length 1.
    #[serde(default)]
    pub normalize: bool,
}

/// One tower: its inputs one after another, dense ones first, then optional cross layers, then an
/// MLP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TowerSpec {
    /// Names of embedded features.
    pub ids: Vec<String>,
    /// Names of dense columns.
    pub dense: Vec<String>,
    /// Cross layers over the inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross: Option<CrossSpec>,
    /// Widths of the MLP, that of the tower's vector last; empty: the vector is what comes in.
    pub mlp: Vec<usize>,
    /// How each feature that is a sequence becomes one vector; needed where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistorySpec>,
}

/// Cross layers (DCN V2): x ← x₀ · (W x + b) + x.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossSpec {
    /// How many, 1 or more.
    pub layers: usize,
    /// Rank r of their weights W = U Vᵀ; without it W is a full square matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
}

/// How a sequence of vectors becomes one. Positions whose vector is all zeros, such as those behind
/// the end of a short list, are left out; of a sequence without others the result is zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistorySpec {
    /// The mean weighted by a softmax over the positions, whose scores are a learned vector's products
    /// with theirs plus a learned number for each distance from the last position.
    Attention,
    /// A recurrent unit whose gate looks at the input alone (minGRU; Feng et al., 2024):
    /// h ← (1 − z) h + z (W e + b), z = sigmoid(W′ e + b′); the last h is the result.
    Gru,
}

impl Architecture {
    pub(crate) fn is_dlrm(&self) -> bool {
        *self == Self::Dlrm
    }

    /// The name of its kind, as in a manifest.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dlrm => "dlrm",
            Self::DeepFm => "deepfm",
            Self::WideDeep => "wide_deep",
            Self::DcnV2(_) => "dcnv2",
            Self::Din(_) => "din",
            Self::TwoTower(_) => "two_tower",
        }
    }

    /// Values of an embedding row beyond those of its vector: the id's own weight, where the model
    /// has one.
    pub(crate) fn weights_per_row(&self) -> usize {
        usize::from(matches!(self, Self::DeepFm | Self::WideDeep))
    }

    /// Checks what is special to the kind; widths and tables of `spec` are checked.
    pub(crate) fn check(&self, spec: &ModelSpec) -> Result<(), ModelError> {
        match self {
            Self::Dlrm => {
                refuse_sequences(spec, "")?;
                expect_one_dim(spec)?;
                let vectors =
                    spec.features.ids.len() + usize::from(!spec.features.dense.is_empty());
                let products = spec.interaction == Interaction::Dot;
                expect_ids(spec, vectors >= 2 || !products, ", and two vectors to interact")
            }
            Self::DeepFm => {
                refuse_sequences(spec, "")?;
                expect_one_dim(spec)?;
                expect_ids(spec, true, "")
            }
            Self::WideDeep => {
                refuse_sequences(spec, "")?;
                expect_ids(spec, true, "")
            }
            Self::DcnV2(DcnV2Spec { cross_layers, rank, .. }) => {
                refuse_sequences(spec, "")?;
                check_cross("", "cross_layers", *cross_layers, *rank)?;
                expect_ids(spec, true, "")
            }
            Self::Din(din) => din.check(spec),
            Self::TwoTower(towers) => towers.check(spec),
        }
    }
}

impl DinSpec {
    fn check(&self, spec: &ModelSpec) -> Result<(), ModelError> {
        refuse_sequences(spec, &self.history)?;
        check_widths("attention_mlp", &self.attention_mlp)?;
        let history = find(spec, "history", &self.history)?;
        let target = find(spec, "target", &self.target)?;
        if !history.is_sequence() {
            let expected = "a feature pooled as a sequence";
            return Err(ModelError::option("history", &history.name, expected));
        }
        expect_start(spec, history)?;
        let widths = [history, target].map(|feature| spec.dim_of(&feature.table));
        if widths[0] != widths[1] {
            let expected = format!("a feature of width {} like the history's", widths[0]);
            let found = format!("{} of width {}", target.name, widths[1]);
            return Err(ModelError::option("target", found, expected));
        }
        Ok(())
    }
}

impl TwoTowerSpec {
    fn check(&self, spec: &ModelSpec) -> Result<(), ModelError> {
        expect_ids(spec, true, "")?;
        self.query.check("query", spec)?;
        self.candidate.check("candidate", spec)?;
        let used = |name| self.query.ids.contains(name) || self.candidate.ids.contains(name);
        if let Some(feature) = spec.features.ids.iter().find(|feature| !used(&feature.name)) {
            let found = format!("`{}` in no tower", feature.name);
            return Err(ModelError::option("ids", found, "each feature in a tower"));
        }
        let known = |tower: &TowerSpec| tower.mlp.last().copied();
        if let (Some(query), Some(candidate)) = (known(&self.query), known(&self.candidate))
            && query != candidate
        {
            let expected = format!("a last width of {query} like the query's");
            return Err(ModelError::option("candidate.mlp", candidate, expected));
        }
        Ok(())
    }
}

impl TowerSpec {
    fn check(&self, tower: &str, spec: &ModelSpec) -> Result<(), ModelError> {
        let option = |name: &str| format!("{tower}.{name}");
        if self.ids.is_empty() && self.dense.is_empty() {
            let expected = "at least one feature or dense column";
            return Err(ModelError::option(option("ids"), "empty", expected));
        }
        for name in &self.ids {
            let feature = find(spec, &option("ids"), name)?;
            if feature.is_sequence() && self.history.is_none() {
                let expected = format!("a way to pool the sequence `{name}`");
                return Err(ModelError::option(option("history"), "absent", expected));
            }
            expect_start(spec, feature)?;
        }
        if let Some(name) = self.dense.iter().find(|name| !spec.features.dense.contains(name)) {
            let expected = "names of dense columns of the model";
            return Err(ModelError::option(option("dense"), name, expected));
        }
        for (key, names) in [("ids", &self.ids), ("dense", &self.dense)] {
            let twice = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name));
            if let Some((_, name)) = twice {
                let found = format!("`{name}` twice");
                return Err(ModelError::option(option(key), found, "each name once"));
            }
        }
        if let Some(CrossSpec { layers, rank }) = &self.cross {
            check_cross(&format!("{tower}.cross."), "layers", *layers, *rank)?;
        }
        check_widths(&option("mlp"), &self.mlp)
    }
}

/// The feature `name`, which `option` names.
fn find<'a>(
    spec: &'a ModelSpec,
    option: &str,
    name: &str,
) -> Result<&'a IdFeatureSpec, ModelError> {
    let found = spec.features.ids.iter().find(|feature| feature.name == name);
    found.ok_or_else(|| ModelError::option(option, name, "the name of an id feature of the model"))
}

/// Fails if a feature other than `except` is a sequence.
fn refuse_sequences(spec: &ModelSpec, except: &str) -> Result<(), ModelError> {
    let wrong = |feature: &&IdFeatureSpec| feature.is_sequence() && feature.name != except;
    let Some(feature) = spec.features.ids.iter().find(wrong) else { return Ok(()) };
    let (feature, vectors) = (feature.name.clone(), feature.pooling.vectors());
    Err(ModelError::Sequence { feature, vectors, model: spec.architecture.name() })
}

/// Fails if a table has a width of its own.
fn expect_one_dim(spec: &ModelSpec) -> Result<(), ModelError> {
    let dim = spec.embedding_dim;
    match spec.tables.iter().find(|table| table.dim.is_some_and(|own| own != dim)) {
        Some(table) => {
            let found = table.dim.unwrap_or(dim);
            let expected = format!(
                "{dim}, the `embedding_dim`: a {} takes products of vectors",
                spec.architecture.name()
            );
            Err(ModelError::option(format!("tables.{}.dim", table.name), found, expected))
        }
        None => Ok(()),
    }
}

/// Fails if a sequence reads rows that begin as zeros: they would be left out, and never be trained.
fn expect_start(spec: &ModelSpec, feature: &IdFeatureSpec) -> Result<(), ModelError> {
    let of_feature = |table: &&TableSpec| table.name == feature.table && table.init == Init::Zero;
    match spec.tables.iter().find(of_feature) {
        Some(table) if feature.is_sequence() => {
            let expected = "other initial values, as a sequence leaves out vectors of zeros";
            Err(ModelError::option(format!("tables.{}.init", table.name), "zero", expected))
        }
        _ => Ok(()),
    }
}

fn expect_ids(spec: &ModelSpec, holds: bool, besides: &str) -> Result<(), ModelError> {
    let ids = spec.features.ids.len();
    if ids > 0 && holds {
        return Ok(());
    }
    let expected = format!("at least one id feature{besides}");
    Err(ModelError::option("ids", format!("{ids} features"), expected))
}

fn check_cross(
    prefix: &str,
    layers_option: &str,
    layers: usize,
    rank: Option<usize>,
) -> Result<(), ModelError> {
    if !(1..=CROSS_LAYERS_MAX).contains(&layers) {
        let expected = format!("1 to {CROSS_LAYERS_MAX}");
        return Err(ModelError::option(format!("{prefix}{layers_option}"), layers, expected));
    }
    match rank {
        Some(rank) if !(1..=MLP_WIDTH_MAX).contains(&rank) => {
            let expected = format!("1 to {MLP_WIDTH_MAX}");
            Err(ModelError::option(format!("{prefix}rank"), rank, expected))
        }
        _ => Ok(()),
    }
}

/// Fails if a layer has a width out of range.
pub(crate) fn check_widths(option: &str, widths: &[usize]) -> Result<(), ModelError> {
    match widths.iter().find(|&&width| !(1..=MLP_WIDTH_MAX).contains(&width)) {
        Some(width) => {
            let expected = format!("widths from 1 to {MLP_WIDTH_MAX}");
            Err(ModelError::option(option, width, expected))
        }
        None => Ok(()),
    }
}
