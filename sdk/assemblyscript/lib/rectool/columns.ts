// Columns and their types, as typed arrays over the memory that the host wrote.
import { allocate, bufferAt, loadString, storeString, storeStrings, storeView } from "./memory";

export const enum Element {
  Float32 = 0,
  Int64 = 1,
  Text = 2,
}

export function elementName(element: Element): string {
  return element == Element.Float32 ? "float32" : element == Element.Int64 ? "int64" : "text";
}

/** A column's name and type. */
export class ColumnType {
  constructor(
    public name: string,
    public element: Element,
    /** Any number of values in a row. */
    public jagged: bool = false,
    /** Values in each row, unless jagged. */
    public width: u32 = 1,
    /** Names of the values of a packed column, or none. */
    public members: string[] = [],
  ) {}

  static load(record: usize): ColumnType {
    const members: string[] = [];
    const list = load<usize>(record, 20);
    for (let i: u32 = 0; i < load<u32>(record, 24); i++) members.push(loadString(list + 8 * i));
    return new ColumnType(loadString(record), load<u8>(record, 8), load<u8>(record, 12) == 1, load<u32>(record, 16), members);
  }

  store(record: usize): void {
    storeString(record, this.name);
    store<u8>(record, this.element, 8);
    store<u8>(record, this.jagged ? 1 : 0, 12);
    store<u32>(record, this.width, 16);
    storeStrings(record + 20, this.members);
  }
}

/** Texts one after the other. */
export class Texts {
  constructor(public offsets: Uint32Array, public bytes: Uint8Array, public validity: Uint8Array) {}

  get length(): i32 {
    return this.offsets.length - 1;
  }

  has(i: i32): bool {
    return this.validity.length == 0 || ((this.validity[i >> 3] >> (<u8>i & 7)) & 1) == 1;
  }

  /** Text `i`, or null where it is missing. Its bytes, without the cost of a string: `offsets`. */
  get(i: i32): string | null {
    if (!this.has(i)) return null;
    const start = this.offsets[i];
    return String.UTF8.decodeUnsafe(this.bytes.dataStart + start, this.offsets[i + 1] - start);
  }

  /** Packs texts; null is a missing one. */
  static pack(texts: Array<string | null>): Texts {
    const offsets = new Uint32Array(texts.length + 1);
    const validity = new Uint8Array((texts.length + 7) >> 3);
    const encoded: ArrayBuffer[] = [];
    let end: u32 = 0;
    for (let i = 0; i < texts.length; i++) {
      const text = texts[i];
      const bytes = text == null ? new ArrayBuffer(0) : String.UTF8.encode(text);
      if (text != null) validity[i >> 3] |= 1 << (<u8>i & 7);
      encoded.push(bytes);
      end += bytes.byteLength;
      offsets[i + 1] = end;
    }
    const bytes = new Uint8Array(end);
    for (let i = 0; i < encoded.length; i++) {
      memory.copy(bytes.dataStart + offsets[i], changetype<usize>(encoded[i]), encoded[i].byteLength);
    }
    return new Texts(offsets, bytes, validity);
  }
}

// The tags of the contract's `column`: fixed floats, ids, texts, then the same jagged.
const JAGGED: u8 = 3;

/** The values of a column. Arrays may be changed in place. */
export class Column {
  /** All floats, row after row; of a float column, fixed or jagged. */
  floats: Float32Array = new Float32Array(0);
  /** All ids, row after row. */
  ids: Int64Array = new Int64Array(0);
  /** All texts, row after row. */
  texts: Texts | null = null;
  /** Of a jagged column: row `i` is the values from `offsets[i]` to `offsets[i + 1]`. */
  offsets: Uint32Array | null = null;

  constructor(public element: Element) {}

  static ofFloats(values: Float32Array, offsets: Uint32Array | null = null): Column {
    const column = new Column(Element.Float32);
    column.floats = values;
    column.offsets = offsets;
    return column;
  }

  static ofIds(values: Int64Array, offsets: Uint32Array | null = null): Column {
    const column = new Column(Element.Int64);
    column.ids = values;
    column.offsets = offsets;
    return column;
  }

  static ofTexts(values: Texts, offsets: Uint32Array | null = null): Column {
    const column = new Column(Element.Text);
    column.texts = values;
    column.offsets = offsets;
    return column;
  }

  static load(record: usize): Column {
    const tag = load<u8>(record);
    const jagged = tag >= JAGGED;
    const column = new Column(jagged ? tag - JAGGED : tag);
    let values = record + 4;
    if (jagged) {
      column.offsets = loadOffsets(values);
      values += 8;
    }
    if (column.element == Element.Float32) column.floats = loadFloats(values);
    else if (column.element == Element.Int64) column.ids = loadIds(values);
    else column.texts = new Texts(loadOffsets(values), loadBytes(values + 8), loadBytes(values + 16));
    return column;
  }

  store(record: usize): void {
    const offsets = this.offsets;
    store<u8>(record, offsets == null ? this.element : this.element + JAGGED);
    let values = record + 4;
    if (offsets != null) {
      storeView(values, offsets, offsets.length);
      values += 8;
    }
    if (this.element == Element.Float32) storeView(values, this.floats, this.floats.length);
    else if (this.element == Element.Int64) storeView(values, this.ids, this.ids.length);
    else {
      const texts = this.texts!;
      storeView(values, texts.offsets, texts.offsets.length);
      storeView(values + 8, texts.bytes, texts.bytes.length);
      storeView(values + 16, texts.validity, texts.validity.length);
    }
  }
}

export function loadFloats(record: usize): Float32Array {
  return floatsAt(load<usize>(record), load<u32>(record, 4));
}

export function floatsAt(address: usize, length: u32): Float32Array {
  return Float32Array.wrap(bufferAt(address, 4 * length), 0, length);
}

function loadIds(record: usize): Int64Array {
  return idsAt(load<usize>(record), load<u32>(record, 4));
}

export function idsAt(address: usize, length: u32): Int64Array {
  return Int64Array.wrap(bufferAt(address, 8 * length), 0, length);
}

export function countsAt(address: usize, length: u32): Uint64Array {
  return Uint64Array.wrap(bufferAt(address, 8 * length), 0, length);
}

function loadOffsets(record: usize): Uint32Array {
  const length = load<u32>(record, 4);
  return Uint32Array.wrap(bufferAt(load<usize>(record), 4 * length), 0, length);
}

function loadBytes(record: usize): Uint8Array {
  const length = load<u32>(record, 4);
  return Uint8Array.wrap(bufferAt(load<usize>(record), length), 0, length);
}

export function loadColumnTypes(list: usize, length: u32): ColumnType[] {
  const types: ColumnType[] = [];
  for (let i: u32 = 0; i < length; i++) types.push(ColumnType.load(list + 28 * i));
  return types;
}

export function loadColumns(list: usize, length: u32): Column[] {
  const columns: Column[] = [];
  for (let i: u32 = 0; i < length; i++) columns.push(Column.load(list + 36 * i));
  return columns;
}

export function storeColumnTypes(record: usize, types: ColumnType[]): void {
  const list = allocate(28 * types.length);
  for (let i = 0; i < types.length; i++) types[i].store(list + 28 * i);
  store<usize>(record, list);
  store<u32>(record, types.length, 4);
}

export function storeColumns(record: usize, columns: Column[]): void {
  const list = allocate(36 * columns.length);
  for (let i = 0; i < columns.length; i++) columns[i].store(list + 36 * i);
  store<usize>(record, list);
  store<u32>(record, columns.length, 4);
}
