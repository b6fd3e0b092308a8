// A sampler: `register(new Plugin())`, and `export` of this module's exports.
import { countsAt, floatsAt, idsAt } from "./columns";
import { allocate, begin, end, fault, storeView } from "./memory";
import { Description, Parameters } from "./parameters";

export { cabi_realloc, refuse } from "./memory";
export { Description, Parameter, Parameters } from "./parameters";

/** What is known of the items, one entry per item. */
export class Items {
  constructor(
    /** Ascending. */
    public ids: Int64Array,
    public counts: Uint64Array,
    public lastRows: Uint64Array,
    /** Empty where the recipe names no score column. */
    public scores: Float32Array,
  ) {}
}

/** A stream of random numbers that depends on its seed alone: SplitMix64. */
export class Random {
  constructor(private state: u64) {}

  next(): u64 {
    this.state += 0x9e3779b97f4a7c15;
    let z = this.state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  /** 0 <= x < 1. */
  unit(): f64 {
    return <f64>(this.next() >> 11) * (1.0 / 9007199254740992.0);
  }
}

/** Draws items. After `refuse(...)` the functions return false. */
export abstract class Sampler {
  abstract about(): Description;
  /** Called once. The arrays of `items` belong to the call: keep copies (`slice`). */
  abstract configure(parameters: Parameters, items: Items): bool;
  /** Called once per batch: fills in `count` ids and log-probabilities per positive, [B, K]. */
  abstract sample(positives: Int64Array, count: u32, seed: u64, ids: Int64Array, logProbabilities: Float32Array): bool;
}

let plugin: Sampler | null = null;

export function register(sampler: Sampler): void {
  plugin = sampler;
}

export function about_describe(): usize {
  return plugin!.about().lower();
}

export function sampler_configure(
  parameters: usize, parametersLength: u32, ids: usize, idsLength: u32, counts: usize, countsLength: u32,
  lastRows: usize, lastRowsLength: u32, scores: usize, scoresLength: u32,
): usize {
  begin();
  const items = new Items(
    idsAt(ids, idsLength), countsAt(counts, countsLength), countsAt(lastRows, lastRowsLength), floatsAt(scores, scoresLength),
  );
  if (!plugin!.configure(new Parameters(parameters, parametersLength), items)) return fault();
  const result = allocate(20);
  end();
  return result;
}

export function sampler_sample(positives: usize, rows: u32, count: u32, seed: u64): usize {
  begin();
  const ids = new Int64Array(rows * count);
  const logProbabilities = new Float32Array(rows * count);
  if (!plugin!.sample(idsAt(positives, rows), count, seed, ids, logProbabilities)) return fault();
  const result = allocate(20);
  storeView(result + 4, ids, ids.length);
  storeView(result + 12, logProbabilities, logProbabilities.length);
  end();
  return result;
}
