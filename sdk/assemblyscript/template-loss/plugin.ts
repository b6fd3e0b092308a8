// {{name}}: binary cross-entropy in which positive rows count more (or less) than negative ones.
import { Batch, Demands, Description, Labels, Loss, Parameter, Parameters, Prediction, register } from "rectool/loss";
export { about_describe, cabi_realloc, objective_bind, objective_configure, objective_evaluate } from "rectool/loss";

class Plugin extends Loss {
  positiveWeight: f64 = 1.0;

  about(): Description {
    return new Description("{{name}}", "0.1.0", "binary cross-entropy with a weight for positive rows", [
      Parameter.number("positive_weight", "how much a row with label 1 counts").initially(1.0).min(0.0),
    ]);
  }

  /** Called once: what a logit stands for, which labels and columns are needed. */
  configure(parameters: Parameters): Demands | null {
    this.positiveWeight = parameters.number("positive_weight");
    return new Demands(Prediction.Logit, Labels.Binary);
  }

  /** Called once per batch: the loss of each row, and its derivative by the row's logit. */
  evaluate(batch: Batch, losses: Float32Array, gradients: Float32Array): bool {
    for (let i = 0; i < batch.logits.length; i++) {
      const x: f64 = batch.logits[i];
      const weight: f64 = batch.weights.length > 0 ? batch.weights[i] : 1.0;
      const positive = weight * this.positiveWeight * batch.labels[i];
      const negative = weight * (1.0 - batch.labels[i]);
      const e = Math.exp(-abs(x));
      const both = Math.log1p(e); // log(1 + exp(x)) is this, and x where x > 0
      const chance = (x < 0.0 ? e : 1.0) / (1.0 + e);
      losses[i] = <f32>(positive * (both + max(-x, 0.0)) + negative * (both + max(x, 0.0)));
      gradients[i] = <f32>((positive + negative) * chance - positive);
    }
    return true;
  }
}

register(new Plugin());
