// Gives every column back, rebuilt through the binding, and sums over all parameters.
import { Column, ColumnType, Description, Element, Parameter, Parameters, refuse, register, Texts, Transform } from "rectool/transform";
export { about_describe, cabi_realloc, transform_apply, transform_configure } from "rectool/transform";

function bytes(text: string): f32 {
  return <f32>String.UTF8.byteLength(text);
}

class Plugin extends Transform {
  sums: Float32Array = new Float32Array(8);

  about(): Description {
    return new Description("echo", "1.0.0", "gives columns back", [
      Parameter.boolean("flag", "").initially(1),
      Parameter.integer("whole", "").initially(-7).min(-10).max(10).unit("rows"),
      Parameter.number("number", "").initially(0.25),
      Parameter.text("word", "").initiallyText("héllo").choices(["héllo", "x"]),
      Parameter.booleans("flags", ""),
      Parameter.integers("integers", ""),
      Parameter.numbers("numbers", ""),
      Parameter.texts("texts", ""),
    ]);
  }

  configure(parameters: Parameters, inputs: ColumnType[]): ColumnType[] | null {
    this.sums[0] = parameters.boolean("flag") ? 1 : 0;
    this.sums[1] = <f32>parameters.integer("whole");
    this.sums[2] = <f32>parameters.number("number");
    this.sums[3] = bytes(parameters.text("word"));
    const flags = parameters.booleans("flags");
    for (let i = 0; i < flags.length; i++) this.sums[4] += flags[i] ? 1 : 0;
    this.sums[5] = <f32>parameters.integers("integers").reduce((sum, value) => sum + value, <i64>0);
    this.sums[6] = <f32>parameters.numbers("numbers").reduce((sum, value) => sum + value, 0.0);
    const texts = parameters.texts("texts");
    for (let i = 0; i < texts.length; i++) this.sums[7] += bytes(texts[i]);
    const sums = new ColumnType("sums", Element.Float32);
    sums.width = 8;
    return inputs.concat([sums]);
  }

  apply(rows: u32, columns: Column[]): Column[] | null {
    const outputs: Column[] = [];
    for (let i = 0; i < columns.length; i++) {
      const column = columns[i];
      if (column.element == Element.Float32) outputs.push(Column.ofFloats(column.floats, column.offsets));
      else if (column.element == Element.Int64) outputs.push(Column.ofIds(column.ids.slice(), column.offsets));
      else {
        const packed = column.texts!;
        const texts: Array<string | null> = [];
        for (let j = 0; j < packed.length; j++) {
          const text = packed.get(j);
          if (text !== null && text == "refuse") {
            refuse("not this text", j);
            return null;
          }
          texts.push(text);
        }
        outputs.push(Column.ofTexts(Texts.pack(texts), column.offsets));
      }
    }
    const values = new Float32Array(8 * rows);
    for (let i = 0; i < values.length; i++) values[i] = this.sums[i % 8];
    outputs.push(Column.ofFloats(values));
    return outputs;
  }
}

register(new Plugin());
