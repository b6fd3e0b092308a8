// What a plugin says about itself, and the parameters it is given.
import { allocate, begin, end, loadString, storeString, storeStrings } from "./memory";

const enum ValueType {
  Boolean = 0,
  Integer = 1,
  Number = 2,
  Text = 3,
  Booleans = 4,
  Integers = 5,
  Numbers = 6,
  Texts = 7,
}

/** A parameter that a recipe may set: `Parameter.number("factor", "what it does").initially(1.0)`. */
export class Parameter {
  private unit_: string = "";
  private choices_: string[] = [];
  private has: bool = false;
  private bits: u64 = 0;
  private text_: string = "";
  private min_: f64 = NaN;
  private max_: f64 = NaN;

  private constructor(private name: string, private type: ValueType, private help: string) {}

  static boolean(name: string, help: string): Parameter {
    return new Parameter(name, ValueType.Boolean, help);
  }
  static integer(name: string, help: string): Parameter {
    return new Parameter(name, ValueType.Integer, help);
  }
  static number(name: string, help: string): Parameter {
    return new Parameter(name, ValueType.Number, help);
  }
  static text(name: string, help: string): Parameter {
    return new Parameter(name, ValueType.Text, help);
  }
  static booleans(name: string, help: string): Parameter {
    return new Parameter(name, ValueType.Booleans, help);
  }
  static integers(name: string, help: string): Parameter {
    return new Parameter(name, ValueType.Integers, help);
  }
  static numbers(name: string, help: string): Parameter {
    return new Parameter(name, ValueType.Numbers, help);
  }
  static texts(name: string, help: string): Parameter {
    return new Parameter(name, ValueType.Texts, help);
  }

  /** The default of a boolean (0 or 1), integer or number. Without one the recipe must say it. */
  initially(value: f64): Parameter {
    this.has = true;
    this.bits = this.type == ValueType.Number ? reinterpret<u64>(value) : <u64>(<i64>value);
    return this;
  }
  /** The default of a text. */
  initiallyText(value: string): Parameter {
    this.has = true;
    this.text_ = value;
    return this;
  }
  min(least: f64): Parameter {
    this.min_ = least;
    return this;
  }
  max(greatest: f64): Parameter {
    this.max_ = greatest;
    return this;
  }
  choices(texts: string[]): Parameter {
    this.choices_ = texts;
    return this;
  }
  unit(unit: string): Parameter {
    this.unit_ = unit;
    return this;
  }

  store(record: usize): void {
    storeString(record, this.name);
    store<u8>(record, this.type, 8);
    if (this.has) {
      store<u8>(record, 1, 16);
      store<u8>(record, this.type, 24);
      if (this.type == ValueType.Text) storeString(record + 32, this.text_);
      else store<u64>(record, this.bits, 32);
    }
    storeBound(record + 40, this.min_);
    storeBound(record + 56, this.max_);
    storeStrings(record + 72, this.choices_);
    storeString(record + 80, this.unit_);
    storeString(record + 88, this.help);
  }
}

function storeBound(record: usize, bound: f64): void {
  if (isNaN(bound)) return;
  store<u8>(record, 1);
  store<f64>(record, bound, 8);
}

export class Description {
  constructor(
    /** Lower case, words joined by `-`. */
    public name: string,
    public version: string,
    /** What it does, in one line. */
    public summary: string,
    public parameters: Parameter[] = [],
  ) {}

  /** The record that the host reads. */
  lower(): usize {
    begin();
    const record = allocate(32);
    storeString(record, this.name);
    storeString(record + 8, this.version);
    storeString(record + 16, this.summary);
    const list = allocate(96 * this.parameters.length);
    for (let i = 0; i < this.parameters.length; i++) this.parameters[i].store(list + 96 * i);
    store<usize>(record, list, 24);
    store<u32>(record, this.parameters.length, 28);
    end();
    return record;
  }
}

/** The parameters given, defaults included. Asking for one that is not described traps. */
export class Parameters {
  constructor(private list: usize, private length: u32) {}

  private find(name: string, type: ValueType): usize {
    for (let i: u32 = 0; i < this.length; i++) {
      const record = this.list + 24 * i;
      if (load<u8>(record, 8) == type && loadString(record) == name) return record + 16;
    }
    throw new Error("no such parameter of this type is described");
  }

  boolean(name: string): bool {
    return load<u8>(this.find(name, ValueType.Boolean)) != 0;
  }
  integer(name: string): i64 {
    return load<i64>(this.find(name, ValueType.Integer));
  }
  number(name: string): f64 {
    return load<f64>(this.find(name, ValueType.Number));
  }
  text(name: string): string {
    return loadString(this.find(name, ValueType.Text));
  }
  booleans(name: string): bool[] {
    return this.listOf<bool>(this.find(name, ValueType.Booleans));
  }
  integers(name: string): i64[] {
    return this.listOf<i64>(this.find(name, ValueType.Integers));
  }
  numbers(name: string): f64[] {
    return this.listOf<f64>(this.find(name, ValueType.Numbers));
  }
  texts(name: string): string[] {
    const value = this.find(name, ValueType.Texts);
    const texts: string[] = [];
    for (let i: u32 = 0; i < load<u32>(value, 4); i++) texts.push(loadString(load<usize>(value) + 8 * i));
    return texts;
  }

  private listOf<T>(value: usize): T[] {
    const values: T[] = [];
    for (let i: u32 = 0; i < load<u32>(value, 4); i++) values.push(load<T>(load<usize>(value) + sizeof<T>() * i));
    return values;
  }
}
