// {{name}}: binary cross-entropy in which positive rows count more (or less) than negative ones.
import { Loss } from "rectool-plugin";

export default class Plugin extends Loss {
  about = {
    name: "{{name}}",
    version: "0.1.0",
    summary: "binary cross-entropy with a weight for positive rows",
    parameters: [
      { name: "positive_weight", type: "number", default: 1.0, min: 0.0, help: "how much a row with label 1 counts" },
    ],
  };

  // Called once: what a logit stands for, which labels and columns are needed.
  configure(parameters) {
    this.positiveWeight = parameters.positive_weight;
    return { prediction: "logit", labels: "binary" };
  }

  // Called once per batch: the loss of each row, and its derivative by the row's logit.
  evaluate({ logits, labels, weights }) {
    const losses = new Float32Array(logits.length);
    const gradients = new Float32Array(logits.length);
    for (let i = 0; i < logits.length; i++) {
      const x = logits[i];
      const weight = weights === null ? 1.0 : weights[i];
      const positive = weight * this.positiveWeight * labels[i];
      const negative = weight * (1.0 - labels[i]);
      const e = Math.exp(-Math.abs(x));
      const both = Math.log1p(e); // log(1 + exp(x)) is this, and x where x > 0
      const chance = (x < 0.0 ? e : 1.0) / (1.0 + e);
      losses[i] = positive * (both + Math.max(-x, 0.0)) + negative * (both + Math.max(x, 0.0));
      gradients[i] = (positive + negative) * chance - positive;
    }
    return { losses, gradients };
  }
}
