/**
 * What a rectool plugin in JavaScript or TypeScript is written with.
 *
 * A plugin is the default export of its file: a class that extends `Transform`, `Loss` or `Sampler`.
 */

export type Element = "float32" | "int64" | "text";

/** A column's name and type. */
export interface ColumnType {
  name: string;
  element: Element;
  /** Any number of values in a row. */
  jagged: boolean;
  /** Values in each row, unless jagged. */
  width: number;
  /** Names of the values of a packed column, or none. */
  members: string[];
}

/** Stands for a missing id. A missing float is NaN, a missing text is null. */
export const MISSING_ID = -1;

/** Numbers next to each other: what the host passes, or a typed array, which is faster to make. */
export type Numbers = ArrayLike<number>;

/** The values of a column, row after row. */
export class Column {
  private constructor(
    readonly element: Element,
    /** Floats or ids, row after row, of a fixed or a jagged column. Empty for texts. */
    readonly values: Numbers,
    /** Texts, row after row. Empty for floats and ids. */
    readonly texts: readonly (string | null)[],
    /** Of a jagged column: row `i` is the values from `offsets[i]` to `offsets[i + 1]`. */
    readonly offsets?: Numbers,
  ) {}

  static floats(values: Numbers, offsets?: Numbers): Column {
    return new Column("float32", values, [], offsets);
  }

  /** Ids are whole numbers below 2^53 either way: JavaScript's numbers are exact up to there. */
  static ids(values: Numbers, offsets?: Numbers): Column {
    return new Column("int64", values, [], offsets);
  }

  static texts(texts: readonly (string | null)[], offsets?: Numbers): Column {
    return new Column("text", [], texts, offsets);
  }

  /** The same rows with other floats or ids. */
  replaced(values: Numbers): Column {
    return new Column(this.element, values, [], this.offsets);
  }
}

/** A parameter that a recipe may set. The host checks type, range and choices. */
export interface Parameter {
  /** Lower case, words joined by `_`. */
  name: string;
  type: "boolean" | "integer" | "number" | "text" | "booleans" | "integers" | "numbers" | "texts";
  /** Taken where the recipe says nothing; without one it must. */
  default?: ParameterValue;
  min?: number;
  max?: number;
  choices?: string[];
  unit?: string;
  /** What it does, in one line. */
  help: string;
}

export type ParameterValue = boolean | number | string | boolean[] | number[] | string[];

/** The parameters that the recipe gives, defaults included. */
// deno-lint-ignore no-explicit-any
export type Parameters = Record<string, any>;

/** What a plugin says about itself. */
export interface Description {
  /** Lower case, words joined by `-`. */
  name: string;
  version: string;
  /** What it does, in one line. */
  summary: string;
  parameters: Parameter[];
}

/** Why a configuration or a batch is refused; `row` of this call, from 0, where one is to blame. */
export class Refusal extends Error {
  constructor(message: string, readonly row: number | null = null) {
    super(message);
  }
}

/** Computes columns from columns. */
export abstract class Transform {
  abstract about: Description;
  /** Called once: says which columns `apply` will make of these. */
  abstract configure(parameters: Parameters, inputs: ColumnType[]): ColumnType[];
  /** Called once per batch. */
  abstract apply(rows: number, columns: Column[]): Column[];
}

/** What a loss asks of training. */
export interface Demands {
  /** What a logit stands for. */
  prediction: "logit" | "value" | "log-rate" | "score";
  labels: "binary" | "non-negative" | "any";
  columns?: string[];
}

/** The rows that a loss is asked about. */
export interface LossBatch {
  logits: Numbers;
  labels: Numbers;
  /** null where every row weighs 1. */
  weights: Numbers | null;
  columns: Column[];
}

/** Of each row, [B], multiplied by its weight. */
export interface Evaluation {
  losses: Numbers;
  gradients: Numbers;
}

/** An objective. */
export abstract class Loss {
  abstract about: Description;
  /** Called once. */
  abstract configure(parameters: Parameters): Demands;
  /** Called once with the types of the columns that `configure` asked for. */
  bind(_columns: ColumnType[]): void {}
  /** Called once per batch. */
  abstract evaluate(batch: LossBatch): Evaluation;
}

/** What is known of the items, one entry per item. */
export interface Items {
  /** Ascending. */
  ids: Numbers;
  counts: Numbers;
  lastRows: Numbers;
  /** Empty where the recipe names no score column. */
  scores: Numbers;
}

/** Draws items that a row did not choose. */
export abstract class Sampler {
  abstract about: Description;
  /** Called once. */
  abstract configure(parameters: Parameters, items: Items): void;
  /** Called once per batch: `count` ids and log-probabilities per positive, [B, K] both. */
  abstract sample(positives: Numbers, count: number, random: Random): { ids: Numbers; logProbabilities: Numbers };
}

/** Random numbers that depend on the host's seed alone (sfc32). Never use Math.random. */
export class Random {
  private a: number;
  private b: number;
  private c = 0x9e3779b9;
  private counter = 1;

  constructor(seed: number) {
    this.a = seed >>> 0;
    this.b = Math.floor(seed / 4294967296) >>> 0;
    for (let i = 0; i < 12; i++) this.next();
  }

  /** 32 random bits. */
  next(): number {
    const drawn = (this.a + this.b + this.counter) >>> 0;
    this.counter = (this.counter + 1) >>> 0;
    this.a = (this.b ^ (this.b >>> 9)) >>> 0;
    this.b = (this.c + (this.c << 3)) >>> 0;
    this.c = (((this.c << 21) | (this.c >>> 11)) + drawn) >>> 0;
    return drawn;
  }

  /** 0 <= x < 1, with 53 random bits. */
  unit(): number {
    return ((this.next() >>> 5) * 67108864 + (this.next() >>> 6)) / 9007199254740992;
  }
}
