// A loss: `register(new Plugin())`, and `export` of this module's exports.
import { Column, ColumnType, floatsAt, loadColumns, loadColumnTypes } from "./columns";
import { allocate, begin, end, fault, storeStrings, storeView } from "./memory";
import { Description, Parameters } from "./parameters";

export { Column, ColumnType, Element, elementName, Texts } from "./columns";
export { cabi_realloc, refuse } from "./memory";
export { Description, Parameter, Parameters } from "./parameters";

/** What a logit stands for. */
export const enum Prediction {
  Logit = 0,
  Value = 1,
  LogRate = 2,
  Score = 3,
}

/** The labels that a loss takes. */
export const enum Labels {
  Binary = 0,
  NonNegative = 1,
  Any = 2,
}

/** What a loss asks of training. */
export class Demands {
  constructor(public prediction: Prediction, public labels: Labels, public columns: string[] = []) {}
}

/** The rows of a call. `weights` is empty where every row weighs 1. */
export class Batch {
  constructor(public logits: Float32Array, public labels: Float32Array, public weights: Float32Array, public columns: Column[]) {}
}

/** An objective. After `refuse(...)` the functions return null or false. */
export abstract class Loss {
  abstract about(): Description;
  /** Called once. */
  abstract configure(parameters: Parameters): Demands | null;
  /** Called once with the types of the columns that `configure` asked for. */
  bind(columns: ColumnType[]): bool {
    return true;
  }
  /** Called once per batch: fills in both, [B], multiplied by the weights. */
  abstract evaluate(batch: Batch, losses: Float32Array, gradients: Float32Array): bool;
}

let plugin: Loss | null = null;

export function register(loss: Loss): void {
  plugin = loss;
}

export function about_describe(): usize {
  return plugin!.about().lower();
}

export function objective_configure(parameters: usize, parametersLength: u32): usize {
  begin();
  const demands = plugin!.configure(new Parameters(parameters, parametersLength));
  if (demands == null) return fault();
  const result = allocate(20);
  store<u8>(result, demands.prediction, 4);
  store<u8>(result, demands.labels, 5);
  storeStrings(result + 8, demands.columns);
  end();
  return result;
}

export function objective_bind(columns: usize, columnsLength: u32): usize {
  begin();
  if (!plugin!.bind(loadColumnTypes(columns, columnsLength))) return fault();
  const result = allocate(20);
  end();
  return result;
}

export function objective_evaluate(
  logits: usize, rows: u32, labels: usize, labelsLength: u32,
  weights: usize, weightsLength: u32, columns: usize, columnsLength: u32,
): usize {
  begin();
  const batch = new Batch(
    floatsAt(logits, rows), floatsAt(labels, labelsLength), floatsAt(weights, weightsLength), loadColumns(columns, columnsLength),
  );
  const losses = new Float32Array(rows);
  const gradients = new Float32Array(rows);
  if (!plugin!.evaluate(batch, losses, gradients)) return fault();
  const result = allocate(20);
  storeView(result + 4, losses, rows);
  storeView(result + 12, gradients, rows);
  end();
  return result;
}
