// {{name}}: multiplies float columns by a factor.
import { Column, ColumnType, Description, Element, elementName, Parameter, Parameters, refuse, register, Transform } from "rectool/transform";
export { about_describe, cabi_realloc, transform_apply, transform_configure } from "rectool/transform";

class Plugin extends Transform {
  factor: f32 = 1.0;

  about(): Description {
    return new Description("{{name}}", "0.1.0", "multiplies float columns by a factor", [
      Parameter.number("factor", "what each value is multiplied by").initially(1.0),
    ]);
  }

  /** Called once: takes the parameters and the types of the columns, says which columns come out. */
  configure(parameters: Parameters, inputs: ColumnType[]): ColumnType[] | null {
    this.factor = <f32>parameters.number("factor");
    for (let i = 0; i < inputs.length; i++) {
      if (inputs[i].element != Element.Float32) {
        refuse(`column \`${inputs[i].name}\` holds ${elementName(inputs[i].element)} values; expected float32`);
        return null;
      }
    }
    return inputs; // the same names and types: the columns take their inputs' places
  }

  /** Called once per batch. A missing value is NaN, and stays one. */
  apply(rows: u32, columns: Column[]): Column[] | null {
    for (let i = 0; i < columns.length; i++) {
      const values = columns[i].floats; // fixed or jagged
      for (let j = 0; j < values.length; j++) values[j] *= this.factor;
    }
    return columns;
  }
}

register(new Plugin());
