// {{name}}: multiplies float columns by a factor.
import { type Column, type ColumnType, type Description, type Parameters, Refusal, Transform } from "rectool-plugin";

export default class Plugin extends Transform {
  private factor = 1.0;

  about: Description = {
    name: "{{name}}",
    version: "0.1.0",
    summary: "multiplies float columns by a factor",
    parameters: [
      { name: "factor", type: "number", default: 1.0, help: "what each value is multiplied by" },
    ],
  };

  // Called once: takes the parameters and the types of the columns, says which columns come out.
  configure(parameters: Parameters, inputs: ColumnType[]): ColumnType[] {
    this.factor = parameters.factor;
    for (const { name, element } of inputs) {
      if (element !== "float32") {
        throw new Refusal(`column \`${name}\` holds ${element} values; expected float32`);
      }
    }
    return inputs; // the same names and types: the columns take their inputs' places
  }

  // Called once per batch. A missing value is NaN, and stays one.
  apply(rows: number, columns: Column[]): Column[] {
    const factor = this.factor;
    return columns.map((column) => {
      const { values } = column; // fixed or jagged
      const scaled = new Float32Array(values.length);
      for (let i = 0; i < scaled.length; i++) scaled[i] = values[i] * factor;
      return column.replaced(scaled);
    });
  }
}
