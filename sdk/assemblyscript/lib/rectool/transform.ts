// A transform: `register(new Plugin())`, and `export *` of this module's exports.
import { Column, ColumnType, loadColumns, loadColumnTypes, storeColumns, storeColumnTypes } from "./columns";
import { allocate, begin, end, fault } from "./memory";
import { Description, Parameters } from "./parameters";

export { Column, ColumnType, Element, elementName, Texts } from "./columns";
export { cabi_realloc, refuse } from "./memory";
export { Description, Parameter, Parameters } from "./parameters";

/** Computes columns from columns. After `refuse(...)` the functions return null. */
export abstract class Transform {
  abstract about(): Description;
  /** Called once: says which columns `apply` will make of these. */
  abstract configure(parameters: Parameters, inputs: ColumnType[]): ColumnType[] | null;
  /** Called once per batch. */
  abstract apply(rows: u32, columns: Column[]): Column[] | null;
}

let plugin: Transform | null = null;

export function register(transform: Transform): void {
  plugin = transform;
}

export function about_describe(): usize {
  return plugin!.about().lower();
}

export function transform_configure(parameters: usize, parametersLength: u32, inputs: usize, inputsLength: u32): usize {
  begin();
  const outputs = plugin!.configure(new Parameters(parameters, parametersLength), loadColumnTypes(inputs, inputsLength));
  if (outputs == null) return fault();
  const result = allocate(20);
  storeColumnTypes(result + 4, outputs);
  end();
  return result;
}

export function transform_apply(rows: u32, columns: usize, columnsLength: u32): usize {
  begin();
  const outputs = plugin!.apply(rows, loadColumns(columns, columnsLength));
  if (outputs == null) return fault();
  const result = allocate(20);
  storeColumns(result + 4, outputs);
  end();
  return result;
}
