//! The two ways of computing agree, and both agree with differences of the loss.

use rectool_base::Stream;
use tch::Device;

use super::{Dlrm, DlrmShape, Network, Pass};
use crate::parameters::{Declaration, Parameters};
use crate::{Compute, DenseOptimizerOptions, FeatureSpec, IdFeatureSpec, Interaction, ModelSpec};

const ROWS: usize = 9;

struct Case {
    dense: usize,
    interaction: Interaction,
    dropout: f32,
    /// Outputs O.
    outputs: usize,
}

const CASES: [Case; 8] = [
    Case { dense: 3, interaction: Interaction::Dot, dropout: 0.0, outputs: 1 },
    Case { dense: 3, interaction: Interaction::Cat, dropout: 0.0, outputs: 1 },
    Case { dense: 3, interaction: Interaction::DotCat, dropout: 0.4, outputs: 1 },
    Case { dense: 0, interaction: Interaction::Dot, dropout: 0.4, outputs: 1 },
    Case { dense: 0, interaction: Interaction::Cat, dropout: 0.0, outputs: 1 },
    Case { dense: 0, interaction: Interaction::DotCat, dropout: 0.0, outputs: 1 },
    Case { dense: 3, interaction: Interaction::Dot, dropout: 0.0, outputs: 7 },
    Case { dense: 3, interaction: Interaction::DotCat, dropout: 0.4, outputs: 18 },
];

fn spec(case: &Case) -> ModelSpec {
    let feature = |at: usize| IdFeatureSpec {
        name: format!("C{at}"),
        column: "ids".to_owned(),
        at,
        table: format!("C{at}"),
        pooling: rectool_embedding::Pooling::Sum,
        weights: None,
    };
    ModelSpec {
        features: FeatureSpec {
            label: Some("label".to_owned()),
            weight: None,
            negatives: None,
            dense: Vec::new(),
            ids: (0..4).map(feature).collect(),
            chain: rectool_data::ChainSpec::default(),
        },
        architecture: crate::Architecture::Dlrm,
        tables: Vec::new(),
        embedding_dim: 5,
        bottom_mlp: vec![7, 6],
        top_mlp: vec![8, 4],
        interaction: case.interaction,
        dropout: case.dropout,
        embedding_optimizer: rectool_embedding::OptimizerOptions::sgd(0.1),
        loss: match case.outputs {
            1 => crate::LossSpec::Bce,
            classes => crate::LossSpec::Softmax { classes },
        },
        heads: Vec::new(),
        retrieval: None,
        dense_optimizer: DenseOptimizerOptions::Sgd {
            learning_rate: 0.1,
            momentum: 0.0,
            weight_decay: 0.0,
        },
        seed: 11,
    }
}

struct Built {
    network: Box<dyn Network>,
    parameters: Parameters,
    vectors: usize,
    rows: usize,
    outputs: usize,
}

fn build(case: &Case, compute: Compute) -> Built {
    let mut declaration = Declaration::default();
    let shape = DlrmShape::declare(&spec(case), case.dense, &mut declaration);
    let vectors = shape.vectors;
    let mut parameters = Parameters::new(declaration, Device::Cpu).unwrap();
    let network = Dlrm::build(shape, &mut parameters, compute).unwrap();
    Built { network, parameters, vectors, rows: ROWS, outputs: case.outputs }
}

fn noise(len: usize, stream: u64) -> Vec<f32> {
    let mut stream = Stream::new(5, &[stream]);
    (0..len).map(|_| stream.next_normal()).collect()
}

const PASS: Pass = Pass::Train { step: 3, row_first: 2 };

impl Built {
    /// Outputs for fixed inputs; `nudge` is added to the first embedding value of row 1.
    fn forward(&mut self, case: &Case, nudge: f32) -> Vec<f32> {
        self.network.begin(self.rows).unwrap();
        self.network.dense_mut().copy_from_slice(&noise(self.rows * case.dense, 1));
        let (vectors, layout) = self.network.embeddings_mut();
        vectors.copy_from_slice(&noise(vectors.len(), 2));
        vectors[layout.row_stride + layout.offsets[0]] += nudge;
        self.network.forward(&self.parameters, PASS).unwrap().to_vec()
    }

    /// Parameter gradients and embedding gradients.
    fn backward(&mut self) -> (Vec<f32>, Vec<f32>) {
        let gradient = noise(self.rows * self.outputs, 3);
        self.network.backward(&mut self.parameters, &gradient).unwrap();
        let (gradient, layout) = self.network.embedding_gradient();
        let first = layout.offsets[0];
        let rows = gradient.chunks_exact(layout.row_stride);
        let embeddings = rows.flat_map(|row| row[first..].to_vec()).collect();
        (self.parameters.gradients_mut().to_vec(), embeddings)
    }
}

fn assert_near(left: &[f32], right: &[f32], what: &str) {
    assert_eq!(left.len(), right.len(), "{what}");
    for (at, (a, b)) in left.iter().zip(right).enumerate() {
        assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{what}[{at}]: {a} and {b}");
    }
}

#[test]
fn fused_equals_tensor() {
    for (at, case) in CASES.iter().enumerate() {
        let mut fused = build(case, Compute::Fused);
        let mut tensor = build(case, Compute::Tensor(Device::Cpu));
        assert_eq!(fused.parameters.values(), tensor.parameters.values());
        let what = format!("case {at}: logits");
        assert_near(&fused.forward(case, 0.0), &tensor.forward(case, 0.0), &what);
        let (fused, tensor) = (fused.backward(), tensor.backward());
        assert!(fused.0.iter().any(|&gradient| gradient != 0.0));
        assert_near(&fused.0, &tensor.0, &format!("case {at}: parameter gradients"));
        assert_near(&fused.1, &tensor.1, &format!("case {at}: embedding gradients"));
    }
}

/// Batches of several groups of several blocks, and of one short block after them.
#[test]
fn blocks_are_the_batch_on_any_number_of_threads() {
    for case in CASES[1..4].iter().chain(&CASES[7..]) {
        let run = |compute, threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut built = build(case, compute);
            built.rows = 1500;
            pool.install(|| {
                let logits = built.forward(case, 0.0);
                let (mut parameters, embeddings) = built.backward();
                // Sums over the batch, as means, so that the tolerance fits.
                for sum in &mut parameters {
                    *sum /= 1500.0;
                }
                [logits, parameters, embeddings]
            })
        };
        let fused = run(Compute::Fused, 1);
        assert!(fused == run(Compute::Fused, 3));
        for (fused, tensor) in fused.iter().zip(run(Compute::Tensor(Device::Cpu), 1)) {
            assert_near(fused, &tensor, "1500 rows");
        }
    }
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    for (at, case) in CASES.iter().enumerate() {
        let mut built = build(case, Compute::Fused);
        let weights = noise(ROWS * case.outputs, 3);
        let loss = |logits: Vec<f32>| -> f64 {
            logits.iter().zip(&weights).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let step = 1e-2;
        let above = loss(built.forward(case, step));
        let below = loss(built.forward(case, -step));
        let slope = (above - below) / (2.0 * f64::from(step));
        built.forward(case, 0.0);
        let (_, embeddings) = built.backward();
        let features = built.vectors - usize::from(case.dense > 0);
        let gradient = f64::from(embeddings[features * 5]);
        let difference = (slope - gradient).abs();
        assert!(difference < 2e-2 * (1.0 + slope.abs()), "case {at}: {slope} and {gradient}");
    }
}

#[test]
fn a_batch_without_rows_is_no_trouble() {
    for compute in [Compute::Fused, Compute::Tensor(Device::Cpu)] {
        let mut built = build(&CASES[0], compute);
        built.network.begin(0).unwrap();
        assert!(built.network.forward(&built.parameters, PASS).unwrap().is_empty());
        built.network.backward(&mut built.parameters, &[]).unwrap();
        assert!(built.parameters.gradients_mut().iter().all(|&gradient| gradient == 0.0));
    }
}
