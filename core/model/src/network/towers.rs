//! Networks of branches over one row of inputs: shapes and parameters.
//!
//! A branch takes some of the inputs one after another (dense values, embeddings, pooled histories)
//! through optional cross layers and an optional MLP, and adds what comes out to some of the outputs.
//! Two towers are two branches with outputs of their own; the rankers here are branches with the
//! same outputs, and terms beside them.

use rectool_embedding::Layout;

use super::heads::HeadsShape;
use super::history::{HistoryKind, HistoryShape, Sequence};
use super::mlp::{Activation, Bias, MlpShape};
use crate::kernel::{DropoutRate, RowWork};
use crate::parameters::{Declaration, Parameters};
use crate::{
    Architecture, CrossSpec, CrossStructure, DcnV2Spec, DinSpec, HeadSpec, IdFeatureSpec,
    ModelError, ModelSpec, TowerSpec, TwoTowerSpec,
};

/// Dropout streams of a branch: more than it has layers.
const STREAMS_PER_BRANCH: u64 = 1 << 16;

/// Values that stand together in a row, and where they go in the input of a branch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) from: usize,
    pub(crate) into: usize,
    pub(crate) width: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct BranchShape {
    /// From the dense inputs.
    pub(crate) dense: Vec<Segment>,
    /// From the vectors.
    pub(crate) vectors: Vec<Segment>,
    /// Behind both.
    pub(crate) histories: Vec<HistoryShape>,
    /// Width K of the branch's input.
    pub(crate) inputs: usize,
    /// The product of each cross layer, [K] to [K].
    pub(crate) cross: Vec<MlpShape>,
    pub(crate) mlp: Option<MlpShape>,
    /// Whether the result is scaled to length 1.
    pub(crate) normalize: bool,
    /// The first output that the result is added to.
    pub(crate) output: usize,
    /// Width of the result.
    pub(crate) outputs: usize,
}

/// Terms of the only output beside the branches. Each id has a number of its own behind its vector,
/// and the dense inputs are one more field, whose row is a linear function of them.
#[derive(Clone, Debug)]
pub(crate) struct TermsShape {
    /// Width D of the vectors whose products are summed over all pairs; 0: no products.
    pub(crate) dim: usize,
    /// Where they stand; empty without products.
    pub(crate) vectors: Vec<usize>,
    /// Where the numbers stand.
    pub(crate) weights: Vec<usize>,
    /// The dense field's row, its number last.
    pub(crate) dense: Option<MlpShape>,
}

/// Everything about a network of branches that follows from its options.
#[derive(Clone, Debug)]
pub(crate) struct TowersShape {
    /// Dense inputs N.
    pub(crate) dense: usize,
    pub(crate) layout: Layout,
    pub(crate) branches: Vec<BranchShape>,
    pub(crate) terms: Option<TermsShape>,
    /// Of two towers: what reads their vectors.
    pub(crate) heads: Option<HeadsShape>,
    /// Outputs O.
    pub(crate) outputs: usize,
    pub(crate) seed: u64,
}

impl TowersShape {
    /// Declares the parameters of `spec`, which was checked; `dense` has the width of each dense
    /// column.
    pub(crate) fn declare(
        spec: &ModelSpec,
        dense: &[usize],
        declaration: &mut Declaration,
    ) -> Result<Self, ModelError> {
        let mut builder = Builder::new(spec, dense, declaration);
        let (branches, terms) = match &spec.architecture {
            Architecture::DeepFm | Architecture::WideDeep => builder.with_terms(),
            Architecture::DcnV2(cross) => (builder.dcn(cross), None),
            Architecture::Din(din) => (vec![builder.din(din)], None),
            Architecture::TwoTower(towers) => (builder.two_towers(towers)?, None),
            Architecture::Dlrm => unreachable!("a DLRM has a shape of its own"),
        };
        let heads = spec.retrieval.as_ref().and_then(|_| builder.heads(branches[0].outputs));
        let layout = builder.layout;
        let outputs = branches.iter().map(|branch| branch.output + branch.outputs).max();
        let outputs = outputs.expect("every kind has a branch");
        Ok(Self {
            dense: dense.iter().sum(),
            layout,
            outputs: outputs + heads.as_ref().map_or(0, HeadsShape::outputs),
            branches,
            terms,
            heads,
            seed: spec.seed,
        })
    }

    /// Sets the initial weights.
    pub(crate) fn init(&self, parameters: &mut Parameters) {
        let terms = self.terms.iter().flat_map(|terms| &terms.dense);
        let of_branch =
            |branch: &'_ BranchShape| branch.cross.clone().into_iter().chain(branch.mlp.clone());
        let heads = self.heads.iter().flat_map(|heads| &heads.mlps);
        let beside = terms.chain(heads).cloned();
        for mlp in self.branches.iter().flat_map(of_branch).chain(beside) {
            mlp.init_weights(parameters, self.seed);
        }
        for history in self.branches.iter().flat_map(|branch| &branch.histories) {
            history.init(parameters, self.seed);
        }
    }

    /// What a row costs a training step at least.
    pub(crate) fn row_work(&self) -> RowWork {
        let terms = self.terms.as_ref();
        let products: usize = self.branches.iter().map(BranchShape::multiplications).sum();
        let heads = self.heads.as_ref();
        let products = products
            + terms.map_or(0, TermsShape::multiplications)
            + heads.map_or(0, HeadsShape::multiplications);
        // Forward, and backward for the weights and for the input.
        let flops = 6 * products;
        // As for a DLRM: activations are written and read; vectors are written, read forward and
        // backward, and their gradients written and read; table rows are read, and read and written in
        // the update.
        let kept: usize = self.branches.iter().map(BranchShape::kept).sum();
        let kept = kept + heads.map_or(0, HeadsShape::kept);
        let values = 2 * kept + 8 * self.layout.row_stride;
        RowWork { flops: flops as f64, bytes: (4 * values) as f64 }
    }
}

impl BranchShape {
    fn multiplications(&self) -> usize {
        let layers = self.cross.iter().chain(&self.mlp).map(MlpShape::multiplications);
        let histories = self.histories.iter().map(HistoryShape::multiplications);
        layers.sum::<usize>() + histories.sum::<usize>()
    }

    /// Values of a row that outlive the forward pass.
    fn kept(&self) -> usize {
        let layers = self.cross.iter().chain(&self.mlp).map(MlpShape::kept);
        layers.sum::<usize>() + self.histories.iter().map(HistoryShape::kept).sum::<usize>()
    }
}

impl TermsShape {
    fn multiplications(&self) -> usize {
        let dense = self.dense.as_ref().map_or(0, MlpShape::multiplications);
        (self.vectors.len() + 1) * self.dim + dense
    }
}

/// Declares branches.
struct Builder<'a> {
    spec: &'a ModelSpec,
    /// Width of each dense column.
    dense: &'a [usize],
    layout: Layout,
    declaration: &'a mut Declaration,
}

/// What goes into a branch.
struct Inputs {
    dense: Vec<Segment>,
    vectors: Vec<Segment>,
    histories: Vec<HistoryShape>,
    width: usize,
}

impl Inputs {
    /// The place of `width` more values.
    fn push(&mut self, from: usize, width: usize) -> Segment {
        let segment = Segment { from, into: self.width, width };
        self.width += width;
        segment
    }
}

impl<'a> Builder<'a> {
    fn new(spec: &'a ModelSpec, dense: &'a [usize], declaration: &'a mut Declaration) -> Self {
        let weights = spec.architecture.weights_per_row();
        let width = |feature: &IdFeatureSpec| {
            feature.pooling.vectors() * (spec.dim_of(&feature.table) + weights)
        };
        let layout = Layout::packed(spec.features.ids.iter().map(width));
        Self { spec, dense, layout, declaration }
    }

    /// The inputs that `takes` lets through: all dense columns and vectors, without histories.
    fn inputs(
        &self,
        takes_dense: impl Fn(&String) -> bool,
        takes: impl Fn(&IdFeatureSpec) -> bool,
    ) -> Inputs {
        let (dense, vectors, histories) = (Vec::new(), Vec::new(), Vec::new());
        let mut inputs = Inputs { dense, vectors, histories, width: 0 };
        let mut from = 0;
        for (name, width) in self.spec.features.dense.iter().zip(self.dense) {
            if takes_dense(name) {
                let segment = inputs.push(from, *width);
                inputs.dense.push(segment);
            }
            from += width;
        }
        for (feature, from) in self.spec.features.ids.iter().zip(&self.layout.offsets) {
            if takes(feature) {
                let segment = inputs.push(*from, self.spec.dim_of(&feature.table));
                inputs.vectors.push(segment);
            }
        }
        inputs
    }

    /// The sequence of the feature `name`, pooled to behind the other inputs.
    fn sequence(&self, name: &str, inputs: &mut Inputs) -> Sequence {
        let (feature, from) = self.feature(name);
        let (length, dim) = (feature.pooling.vectors(), self.spec.dim_of(&feature.table));
        let Segment { from, into, .. } = inputs.push(from, dim);
        Sequence { from, into, length, dim }
    }

    /// The feature `name`, and where its vectors begin.
    fn feature(&self, name: &str) -> (&'a IdFeatureSpec, usize) {
        let mut features = self.spec.features.ids.iter().zip(&self.layout.offsets);
        let found = features.find(|(feature, _)| feature.name == name);
        let (feature, from) = found.expect("the spec was checked");
        (feature, *from)
    }

    /// The MLP of branch `branch`, without activation behind its last layer.
    fn mlp(&mut self, name: &str, branch: usize, inputs: usize, widths: &[usize]) -> MlpShape {
        let mut mlp = MlpShape::declare(self.declaration, name, inputs, widths, Activation::None);
        mlp.dropout = DropoutRate::new(self.spec.dropout).expect("the spec was checked");
        mlp.stream = branch as u64 * STREAMS_PER_BRANCH;
        mlp
    }

    /// The hidden widths of a ranker's MLP, and its outputs.
    fn deep_widths(&self) -> Vec<usize> {
        [self.spec.top_mlp.as_slice(), &[self.spec.logits()]].concat()
    }

    fn cross(
        &mut self,
        name: &str,
        inputs: usize,
        layers: usize,
        rank: Option<usize>,
    ) -> Vec<MlpShape> {
        let widths: Vec<usize> = rank.into_iter().chain([inputs]).collect();
        let declaration = &mut *self.declaration;
        let layer = |at| {
            let name = format!("{name}.{at}");
            MlpShape::declare_linear(declaration, &name, inputs, &widths, Bias::Last)
        };
        (0..layers).map(layer).collect()
    }

    /// DeepFM and Wide & Deep.
    fn with_terms(&mut self) -> (Vec<BranchShape>, Option<TermsShape>) {
        let inputs = self.inputs(|_| true, |_| true);
        let has_products = self.spec.architecture == Architecture::DeepFm;
        let dim = if has_products { self.spec.embedding_dim } else { 0 };
        let (count, width) = (self.dense.iter().sum::<usize>(), dim + 1);
        let dense = (count > 0).then(|| {
            MlpShape::declare_linear(self.declaration, "dense", count, &[width], Bias::None)
        });
        let weights = inputs.vectors.iter().map(|segment| segment.from + segment.width).collect();
        let vectors = inputs.vectors.iter().map(|segment| segment.from);
        let vectors = if has_products { vectors.collect() } else { Vec::new() };
        let terms = TermsShape { dim, vectors, weights, dense };
        let mlp = self.mlp("deep", 0, inputs.width, &self.deep_widths());
        (vec![branch(inputs, Vec::new(), Some(mlp))], Some(terms))
    }

    fn dcn(&mut self, spec: &DcnV2Spec) -> Vec<BranchShape> {
        let inputs = self.inputs(|_| true, |_| true);
        let width = inputs.width;
        let cross = self.cross("cross", width, spec.cross_layers, spec.rank);
        let widths = self.deep_widths();
        match spec.structure {
            CrossStructure::Stacked => {
                let mlp = self.mlp("deep", 0, width, &widths);
                vec![branch(inputs, cross, Some(mlp))]
            }
            // One linear layer over both results is the sum of one over each; the MLP's has the bias.
            CrossStructure::Parallel => {
                let (declaration, outputs) = (&mut *self.declaration, [self.spec.logits()]);
                let last =
                    MlpShape::declare_linear(declaration, "cross.out", width, &outputs, Bias::None);
                let mlp = self.mlp("deep", 1, width, &widths);
                let again = self.inputs(|_| true, |_| true);
                vec![branch(inputs, cross, Some(last)), branch(again, Vec::new(), Some(mlp))]
            }
        }
    }

    fn din(&mut self, spec: &DinSpec) -> BranchShape {
        let mut inputs = self.inputs(|_| true, |feature| feature.name != spec.history);
        let sequence = self.sequence(&spec.history, &mut inputs);
        let (_, target) = self.feature(&spec.target);
        let widths = [spec.attention_mlp.as_slice(), &[1]].concat();
        let weigher = MlpShape::declare(
            self.declaration,
            "attention",
            4 * sequence.dim,
            &widths,
            Activation::None,
        );
        let kind = HistoryKind::Target { weigher, target };
        inputs.histories.push(HistoryShape { sequence, kind });
        let mlp = self.mlp("deep", 0, inputs.width, &self.deep_widths());
        branch(inputs, Vec::new(), Some(mlp))
    }

    fn two_towers(&mut self, spec: &TwoTowerSpec) -> Result<Vec<BranchShape>, ModelError> {
        let mut query = self.tower("query", 0, &spec.query);
        let mut candidate = self.tower("candidate", 1, &spec.candidate);
        if query.outputs != candidate.outputs {
            let expected = format!("a vector of width {} like the query's", query.outputs);
            return Err(ModelError::option("candidate.mlp", candidate.outputs, expected));
        }
        candidate.output = query.outputs;
        (query.normalize, candidate.normalize) = (spec.normalize, spec.normalize);
        Ok(vec![query, candidate])
    }

    /// The heads of two towers that make vectors of this width, if there are any.
    fn heads(&mut self, width: usize) -> Option<HeadsShape> {
        let spec = self.spec;
        let head = |(at, head): (usize, &HeadSpec)| {
            let widths = [head.layers.as_slice(), &[head.loss.outputs()]].concat();
            // Behind the dropout streams of both towers.
            self.mlp(&format!("head.{}", head.label), 2 + at, 3 * width, &widths)
        };
        let mlps: Vec<MlpShape> = spec.heads.iter().enumerate().map(head).collect();
        (!mlps.is_empty()).then_some(HeadsShape { width, mlps })
    }

    fn tower(&mut self, name: &str, at: usize, spec: &TowerSpec) -> BranchShape {
        let is_sequence = |feature: &IdFeatureSpec| feature.is_sequence();
        let is_here = |feature: &IdFeatureSpec| spec.ids.contains(&feature.name);
        let mut inputs = self.inputs(
            |column| spec.dense.contains(column),
            |feature| is_here(feature) && !is_sequence(feature),
        );
        let histories = self.spec.features.ids.iter().filter(|id| is_here(id) && is_sequence(id));
        for feature in histories {
            let sequence = self.sequence(&feature.name, &mut inputs);
            let name = format!("{name}.{}", feature.name);
            let kind = spec.history.expect("the spec was checked");
            let kind = HistoryKind::declare(kind, self.declaration, &name, &sequence);
            inputs.histories.push(HistoryShape { sequence, kind });
        }
        let cross = match &spec.cross {
            Some(CrossSpec { layers, rank }) => {
                self.cross(&format!("{name}.cross"), inputs.width, *layers, *rank)
            }
            None => Vec::new(),
        };
        let mlp = (!spec.mlp.is_empty())
            .then(|| self.mlp(&format!("{name}.mlp"), at, inputs.width, &spec.mlp));
        branch(inputs, cross, mlp)
    }
}

fn branch(inputs: Inputs, cross: Vec<MlpShape>, mlp: Option<MlpShape>) -> BranchShape {
    let Inputs { dense, vectors, histories, width: inputs } = inputs;
    let last = mlp.as_ref().and_then(|mlp| mlp.layers.last());
    let outputs = last.map_or(inputs, |layer| layer.outputs);
    let (normalize, output) = (false, 0);
    BranchShape { dense, vectors, histories, inputs, cross, mlp, normalize, output, outputs }
}
