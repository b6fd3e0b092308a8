//! `dlrm(#{…})`, `deepfm(#{…})` and the other functions that make a model which scores rows.

use rectool_base::PluginSource;
use rectool_model::{Architecture, CrossStructure, DcnV2Spec, DinSpec, Interaction};
use rhai::Map;
use serde::Deserialize;

use crate::call::Call;
use crate::error::RecipeError;
use crate::network::{Assembly, DensePart, Model, init_bound};

/// The plain options of `dlrm`.
#[derive(Deserialize)]
struct Dlrm {
    embedding_dim: usize,
    #[serde(default)]
    bottom: Vec<usize>,
    top: Vec<usize>,
    #[serde(default)]
    interaction: Interaction,
    #[serde(default)]
    dropout: f32,
    #[serde(default = "init_bound")]
    embedding_init: f32,
    #[serde(default)]
    seed: u64,
}

/// The plain options of `deepfm` and `wide_deep`.
#[derive(Deserialize)]
struct Deep {
    embedding_dim: usize,
    hidden: Vec<usize>,
    #[serde(default)]
    dropout: f32,
    #[serde(default = "init_bound")]
    embedding_init: f32,
    #[serde(default)]
    seed: u64,
}

/// The plain options of `dcnv2`.
#[derive(Deserialize)]
struct DcnV2 {
    embedding_dim: usize,
    hidden: Vec<usize>,
    cross_layers: usize,
    rank: Option<usize>,
    #[serde(default)]
    structure: CrossStructure,
    #[serde(default)]
    dropout: f32,
    #[serde(default = "init_bound")]
    embedding_init: f32,
    #[serde(default)]
    seed: u64,
}

/// The plain options of `din`.
#[derive(Deserialize)]
struct Din {
    embedding_dim: usize,
    hidden: Vec<usize>,
    history: String,
    target: String,
    #[serde(default = "attention_widths")]
    attention: Vec<usize>,
    #[serde(default)]
    dropout: f32,
    #[serde(default = "init_bound")]
    embedding_init: f32,
    #[serde(default)]
    seed: u64,
}

/// Hidden widths of what weighs a history's items: the DIN paper's.
fn attention_widths() -> Vec<usize> {
    vec![36]
}

impl Model {
    /// The functions of this module, by name.
    pub(crate) const RANKERS: [&'static str; 5] = ["dlrm", "deepfm", "wide_deep", "dcnv2", "din"];

    /// Reads the options of one of [`Model::RANKERS`].
    pub(crate) fn ranker(
        call: &Call,
        map: Map,
        plugins: &dyn PluginSource,
    ) -> Result<Self, RecipeError> {
        let assembly = Assembly::read(call, map)?;
        let part = match call.function.as_str() {
            "dlrm" => dlrm(&assembly)?,
            "deepfm" => deep(&assembly, Architecture::DeepFm)?,
            "wide_deep" => deep(&assembly, Architecture::WideDeep)?,
            "dcnv2" => dcnv2(&assembly)?,
            _ => din(&assembly)?,
        };
        assembly.finish(plugins, part)
    }
}

fn dlrm(assembly: &Assembly<'_>) -> Result<DensePart, RecipeError> {
    let Dlrm { embedding_dim, bottom, top, interaction, dropout, embedding_init, seed } =
        assembly.options().rest()?;
    assembly.check_widths("bottom", &bottom)?;
    assembly.check_widths("top", &top)?;
    let architecture = Architecture::Dlrm;
    Ok(DensePart {
        architecture,
        retrieval: None,
        embedding_dim,
        bottom,
        top,
        interaction,
        dropout,
        embedding_init,
        seed,
    })
}

fn deep(assembly: &Assembly<'_>, architecture: Architecture) -> Result<DensePart, RecipeError> {
    let Deep { embedding_dim, hidden: top, dropout, embedding_init, seed } =
        assembly.options().rest()?;
    assembly.check_widths("hidden", &top)?;
    let rest = DensePart::default();
    Ok(DensePart { architecture, embedding_dim, top, dropout, embedding_init, seed, ..rest })
}

fn dcnv2(assembly: &Assembly<'_>) -> Result<DensePart, RecipeError> {
    let plain: DcnV2 = assembly.options().rest()?;
    assembly.check_widths("hidden", &plain.hidden)?;
    let DcnV2 { cross_layers, rank, structure, .. } = plain;
    Ok(DensePart {
        architecture: Architecture::DcnV2(DcnV2Spec { cross_layers, rank, structure }),
        embedding_dim: plain.embedding_dim,
        top: plain.hidden,
        dropout: plain.dropout,
        embedding_init: plain.embedding_init,
        seed: plain.seed,
        ..DensePart::default()
    })
}

fn din(assembly: &Assembly<'_>) -> Result<DensePart, RecipeError> {
    let plain: Din = assembly.options().rest()?;
    assembly.check_widths("hidden", &plain.hidden)?;
    assembly.check_widths("attention", &plain.attention)?;
    let Din { history, target, attention: attention_mlp, .. } = plain;
    Ok(DensePart {
        architecture: Architecture::Din(DinSpec { history, target, attention_mlp }),
        embedding_dim: plain.embedding_dim,
        top: plain.hidden,
        dropout: plain.dropout,
        embedding_init: plain.embedding_init,
        seed: plain.seed,
        ..DensePart::default()
    })
}
