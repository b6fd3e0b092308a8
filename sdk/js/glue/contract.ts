// Between the values that the toolchain makes of the contract and those of rectool.ts.
import { Column, type ColumnType, type Description, type Numbers, type ParameterValue, Refusal } from "rectool-plugin";

// deno-lint-ignore no-explicit-any
type Raw = any;

export function describe(about: Description): Raw {
  const parameters = about.parameters.map((parameter) => ({
    name: parameter.name,
    valueType: parameter.type,
    default: parameter.default === undefined ? null : { tag: parameter.type, val: parameter.default },
    min: parameter.min ?? null,
    max: parameter.max ?? null,
    choices: parameter.choices ?? [],
    unit: parameter.unit ?? "",
    help: parameter.help,
  }));
  return { name: about.name, version: about.version, summary: about.summary, parameters };
}

export function parametersFrom(parameters: Raw[]): Record<string, ParameterValue> {
  return Object.fromEntries(parameters.map(({ name, value }) => [name, value.val]));
}

export function typeFrom({ name, element, shape, members }: Raw): ColumnType {
  const jagged = shape.tag === "jagged";
  return { name, element, jagged, width: jagged ? 0 : shape.val, members };
}

export function typeTo({ name, element, jagged, width, members }: ColumnType): Raw {
  return { name, element, shape: jagged ? { tag: "jagged" } : { tag: "fixed", val: width }, members: members ?? [] };
}

/** The toolchain rounds ids to numbers: past 2^53 that would be another id, so they are refused. */
export function exact(ids: Numbers, rowOf: (i: number) => number | null, what: string): Numbers {
  for (let i = 0; i < ids.length; i++) {
    if (!Number.isSafeInteger(ids[i])) {
      throw new Refusal(`${what} ${ids[i]} is not a whole number that JavaScript holds exactly (below 2^53)`, rowOf(i));
    }
  }
  return ids;
}

function rowOf(offsets: Numbers | undefined, count: number, rows: number): (i: number) => number {
  if (offsets === undefined) return (i) => Math.floor(i / (count / rows));
  return (i) => {
    let row = 0;
    while (offsets[row + 1] <= i) row++;
    return row;
  };
}

const LIST_OF: Raw = { "float-lists": "floats", "int-lists": "ints", "text-lists": "texts" };

export function columnFrom(rows: number, { tag, val }: Raw): Column {
  const list = LIST_OF[tag];
  const offsets = list === undefined ? undefined : val.offsets;
  const values = list === undefined ? val : val.values;
  switch (list ?? tag) {
    case "floats":
      return Column.floats(values, offsets);
    case "ints":
      return Column.ids(exact(values, rowOf(offsets, values.length, rows), "id"), offsets);
    default:
      return Column.texts(unpack(values), offsets);
  }
}

export function columnTo(rows: number, column: Column): Raw {
  const { offsets } = column;
  const wrap = (tag: string, values: Raw) =>
    offsets === undefined ? { tag: `${tag}s`, val: values } : { tag: `${tag}-lists`, val: { offsets, values } };
  switch (column.element) {
    case "float32":
      return wrap("float", column.values);
    case "int64":
      return wrap("int", exact(column.values, rowOf(offsets, column.values.length, rows), "result"));
    default:
      return wrap("text", pack(column.texts));
  }
}

function unpack({ offsets, bytes, validity }: Raw): (string | null)[] {
  const texts = new Array(offsets.length - 1);
  for (let i = 0; i < texts.length; i++) {
    const there = validity.length === 0 || (validity[i >> 3] >> (i & 7)) & 1;
    texts[i] = there ? decode(bytes, offsets[i], offsets[i + 1]) : null;
  }
  return texts;
}

function decode(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let i = start; i < end;) {
    const first = bytes[i++];
    if (first < 0x80) text += String.fromCharCode(first);
    else if (first < 0xe0) text += String.fromCharCode(((first & 0x1f) << 6) | (bytes[i++] & 0x3f));
    else if (first < 0xf0) {
      text += String.fromCharCode(((first & 0xf) << 12) | ((bytes[i++] & 0x3f) << 6) | (bytes[i++] & 0x3f));
    } else {
      const rest = ((bytes[i++] & 0x3f) << 12) | ((bytes[i++] & 0x3f) << 6) | (bytes[i++] & 0x3f);
      text += String.fromCodePoint(((first & 7) << 18) | rest);
    }
  }
  return text;
}

function pack(texts: readonly (string | null)[]): Raw {
  const offsets = new Uint32Array(texts.length + 1);
  const validity = new Uint8Array((texts.length + 7) >> 3);
  const bytes: number[] = [];
  texts.forEach((text, i) => {
    if (text !== null) {
      validity[i >> 3] |= 1 << (i & 7);
      encode(text, bytes);
    }
    offsets[i + 1] = bytes.length;
  });
  return { offsets, bytes: new Uint8Array(bytes), validity };
}

function encode(text: string, bytes: number[]) {
  for (const character of text) {
    let code = character.codePointAt(0)!;
    if (code >= 0xd800 && code < 0xe000) code = 0xfffd; // half a character
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 0x3f));
    else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
    else {
      bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 0x3f), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
    }
  }
}

/** Runs a function of the plugin; what it throws becomes the contract's fault. */
export function refusing<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (error instanceof Refusal) throw { message: error.message, row: error.row };
    const where = error instanceof Error ? (error.stack ?? "").trim().split("\n")[0].trim() : "";
    throw { message: where ? `${error} (${where})` : String(error), row: null };
  }
}
