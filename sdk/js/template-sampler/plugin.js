// {{name}}: draws each item as often as a power of its count says.
import { Refusal, Sampler } from "rectool-plugin";

export default class Plugin extends Sampler {
  about = {
    name: "{{name}}",
    version: "0.1.0",
    summary: "draws items by a power of their counts",
    parameters: [
      {
        name: "power", type: "number", default: 0.75, min: 0.0, max: 1.0,
        help: "0: every item alike; 1: as often as in the training data",
      },
    ],
  };

  // Called once with what is known of the items.
  configure(parameters, items) {
    const count = items.ids.length;
    if (count === 0) throw new Refusal("there are no items to draw from");
    this.ids = items.ids;
    this.sums = new Float64Array(count); // of the weights of all items up to each
    let sum = 0.0;
    for (let i = 0; i < count; i++) {
      sum += Math.pow(items.counts[i], parameters.power);
      this.sums[i] = sum;
    }
  }

  // Called once per batch. Drawn with replacement; the positive itself may be drawn.
  sample(positives, count, random) {
    const { ids, sums } = this;
    const total = sums[sums.length - 1];
    const drawn = new Array(positives.length * count);
    const logProbabilities = new Float32Array(drawn.length);
    for (let i = 0; i < drawn.length; i++) {
      const item = this.find(random.unit() * total);
      const weight = sums[item] - (item > 0 ? sums[item - 1] : 0.0);
      drawn[i] = ids[item];
      logProbabilities[i] = Math.log(weight / total);
    }
    return { ids: drawn, logProbabilities };
  }

  // The first item whose sum is above `point`.
  find(point) {
    let low = 0;
    let high = this.sums.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.sums[middle] > point) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
