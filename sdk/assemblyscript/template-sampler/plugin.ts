// {{name}}: draws each item as often as a power of its count says.
import { Description, Items, Parameter, Parameters, Random, refuse, register, Sampler } from "rectool/sampler";
export { about_describe, cabi_realloc, sampler_configure, sampler_sample } from "rectool/sampler";

class Plugin extends Sampler {
  ids: Int64Array = new Int64Array(0);
  /** Of the weights of all items up to each. */
  sums: Float64Array = new Float64Array(0);

  about(): Description {
    return new Description("{{name}}", "0.1.0", "draws items by a power of their counts", [
      Parameter.number("power", "0: every item alike; 1: as often as in the training data").initially(0.75).min(0.0).max(1.0),
    ]);
  }

  /** Called once: the items belong to the call, so what `sample` needs is copied. */
  configure(parameters: Parameters, items: Items): bool {
    if (items.ids.length == 0) {
      refuse("there are no items to draw from");
      return false;
    }
    const power = parameters.number("power");
    this.ids = items.ids.slice();
    this.sums = new Float64Array(items.ids.length);
    let sum = 0.0;
    for (let i = 0; i < this.ids.length; i++) {
      sum += Math.pow(<f64>items.counts[i], power);
      this.sums[i] = sum;
    }
    return true;
  }

  /** Called once per batch. Drawn with replacement; the positive itself may be drawn. */
  sample(positives: Int64Array, count: u32, seed: u64, ids: Int64Array, logProbabilities: Float32Array): bool {
    const random = new Random(seed);
    const total = this.sums[this.sums.length - 1];
    for (let i = 0; i < ids.length; i++) {
      const item = this.find(random.unit() * total);
      const weight = this.sums[item] - (item > 0 ? this.sums[item - 1] : 0.0);
      ids[i] = this.ids[item];
      logProbabilities[i] = <f32>Math.log(weight / total);
    }
    return true;
  }

  /** The first item whose sum is above `point`. */
  private find(point: f64): i32 {
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

register(new Plugin());
