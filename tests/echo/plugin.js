// Gives every column back, rebuilt through the binding, and sums over all parameters.
import { Column, Refusal, Transform } from "rectool-plugin";

const bytes = (text) => unescape(encodeURIComponent(text)).length;
const sum = (values) => values.reduce((total, value) => total + value, 0);

export default class Plugin extends Transform {
  about = {
    name: "echo",
    version: "1.0.0",
    summary: "gives columns back",
    parameters: [
      { name: "flag", type: "boolean", default: true, help: "" },
      { name: "whole", type: "integer", default: -7, min: -10, max: 10, unit: "rows", help: "" },
      { name: "number", type: "number", default: 0.25, help: "" },
      { name: "word", type: "text", default: "héllo", choices: ["héllo", "x"], help: "" },
      { name: "flags", type: "booleans", help: "" },
      { name: "integers", type: "integers", help: "" },
      { name: "numbers", type: "numbers", help: "" },
      { name: "texts", type: "texts", help: "" },
    ],
  };

  configure({ flag, whole, number, word, flags, integers, numbers, texts }, inputs) {
    this.sums = [
      Number(flag), whole, number, bytes(word),
      sum(flags.map(Number)), sum(integers), sum(numbers), sum(texts.map(bytes)),
    ];
    return [...inputs, { name: "sums", element: "float32", jagged: false, width: 8, members: [] }];
  }

  apply(rows, columns) {
    const outputs = columns.map((column) => {
      const row = column.texts.indexOf("refuse");
      if (row >= 0) throw new Refusal("not this text", row);
      const { element, values, texts, offsets } = column;
      if (element === "float32") return Column.floats(Float32Array.from(values), offsets);
      if (element === "int64") return Column.ids(Array.from(values), offsets);
      return Column.texts(texts.map((text) => text === null ? null : `${text}`), offsets);
    });
    const values = new Float32Array(8 * rows);
    for (let i = 0; i < values.length; i++) values[i] = this.sums[i % 8];
    return [...outputs, Column.floats(values)];
  }
}
