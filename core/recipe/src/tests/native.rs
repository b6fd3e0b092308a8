//! A library of plugins that are not WebAssembly.

use std::sync::Arc;

use rectool_base::{
    BatchPlace, Column, ColumnKind, ColumnSchema, ItemStatistics, Labels, Loss, LossDemands,
    LossInput, ParameterValue, PluginCall, PluginFault, PluginSource, Prediction, Sampler, Samples,
    Schema, Stream, Transform, TransformError,
};
use rectool_model::Bce;
use rectool_plugin::{Parameters, PluginError};

use crate::library::{Found, Library};

/// Knows the transform `cross` (two id columns to `cross`, with `buckets`), the losses `bce`,
/// `squared` and `broken`, and the sampler `uniform`, each with one parameter.
pub(super) struct Native {
    /// Part of every hash: another build of the same plugins has another.
    pub(super) build: &'static str,
}

const KNOWN: [(&str, &str, &str); 5] = [
    ("cross", "transform", "buckets"),
    ("bce", "loss", "scale"),
    ("squared", "loss", "scale"),
    ("broken", "loss", "scale"),
    ("uniform", "sampler", "power"),
];

impl Library for Native {
    fn find(&self, name: &str, parameters: &Parameters) -> Result<Found, PluginError> {
        let Some((_, kind, own)) = KNOWN.iter().find(|(known, ..)| *known == name) else {
            let known = KNOWN.map(|(known, ..)| known.to_owned()).to_vec();
            let (name, searched) = (name.to_owned(), Vec::new());
            return Err(PluginError::NotFound { name, known, searched });
        };
        if let Some(wrong) = parameters.keys().find(|key| key != own) {
            let what = format!("has no parameter `{wrong}`");
            let (plugin, hint) = (name.to_owned(), Some(format!("it has `{own}`")));
            return Err(PluginError::Parameter { plugin, what, hint });
        }
        let call = PluginCall {
            name: name.to_owned(),
            version: "1.2.3".to_owned(),
            sha256: format!("{name}-{}", self.build),
            parameters: parameters.clone(),
        };
        Ok(Found { call, kind, origin: "the tests".to_owned() })
    }
}

impl PluginSource for Native {
    fn transform(&self, call: &PluginCall) -> Result<Arc<dyn Transform>, PluginFault> {
        assert_eq!(call.name, "cross");
        match call.parameters.get("buckets") {
            Some(ParameterValue::Integer(buckets)) if *buckets > 0 => Ok(Arc::new(Cross(*buckets))),
            found => Err(fault("transform", call, &format!("`buckets` is {found:?}"))),
        }
    }

    fn loss(&self, call: &PluginCall, _: &Schema) -> Result<Arc<dyn Loss>, PluginFault> {
        let (prediction, labels) = match call.name.as_str() {
            "squared" => (Prediction::Value, Labels::Any),
            _ => (Prediction::Logit, Labels::Binary),
        };
        let demands = LossDemands { prediction, labels, columns: Vec::new() };
        Ok(Arc::new(NativeLoss(call.clone(), demands)))
    }

    fn sampler(
        &self,
        call: &PluginCall,
        items: &ItemStatistics,
    ) -> Result<Arc<dyn Sampler>, PluginFault> {
        assert_eq!(call.name, "uniform");
        Ok(Arc::new(Uniform(items.ids.clone())))
    }

    fn content(&self, sha256: &str) -> Option<Arc<[u8]>> {
        Some(sha256.as_bytes().into())
    }
}

fn fault(kind: &'static str, call: &PluginCall, message: &str) -> PluginFault {
    let plugin = format!("{} {}", call.name, call.version);
    PluginFault { kind, plugin, place: None, message: message.to_owned(), hint: None }
}

struct Cross(i64);

impl Transform for Cross {
    fn name(&self) -> &'static str {
        "cross"
    }

    fn outputs(&self, inputs: &[ColumnSchema]) -> Result<Vec<ColumnSchema>, TransformError> {
        if let Some(wrong) = inputs.iter().find(|input| input.width() != Some(2)) {
            return Err(TransformError::Type {
                transform: "cross".to_owned(),
                column: wrong.name.clone(),
                found: wrong.kind.to_string(),
                expected: "i64[2]",
            });
        }
        Ok(vec![ColumnSchema::plain("cross", ColumnKind::I64 { width: 1 })])
    }

    fn apply(
        &self,
        _: &[ColumnSchema],
        columns: Vec<Column>,
        _: BatchPlace,
    ) -> Result<Vec<Column>, TransformError> {
        let [Column::I64 { values, .. }] = &columns[..] else { unreachable!("one id column") };
        let crossed = values.chunks_exact(2).map(|row| (row[0] * 31 + row[1]) % self.0);
        Ok(vec![Column::I64 { width: 1, values: crossed.collect() }])
    }
}

/// Every item alike.
struct Uniform(Vec<i64>);

impl Sampler for Uniform {
    fn name(&self) -> &'static str {
        "uniform"
    }

    fn sample(
        &self,
        positives: &[i64],
        count: usize,
        seed: u64,
        _: BatchPlace,
    ) -> Result<Samples, PluginFault> {
        let (mut stream, items) = (Stream::new(seed, &[]), self.0.len() as u64);
        let drawn = positives.len() * count;
        let ids = (0..drawn).map(|_| self.0[stream.below(items) as usize]).collect();
        Ok(Samples { ids, log_probabilities: vec![-(items as f32).ln(); drawn] })
    }
}

struct NativeLoss(PluginCall, LossDemands);

impl Loss for NativeLoss {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn demands(&self) -> &LossDemands {
        &self.1
    }

    fn evaluate(
        &self,
        input: LossInput<'_>,
        losses: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), PluginFault> {
        match self.0.name.as_str() {
            "broken" if input.place.row_first > 0 => Err(fault("loss", &self.0, "no luck")),
            "squared" => {
                for (at, (z, y)) in input.logits.iter().zip(input.labels).enumerate() {
                    (losses[at], gradients[at]) = ((z - y) * (z - y), 2.0 * (z - y));
                }
                Ok(())
            }
            _ => Bce.evaluate(input, losses, gradients),
        }
    }
}
