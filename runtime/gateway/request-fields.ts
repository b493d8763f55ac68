/**
 * Bodies and queries of the admin API, checked by table: a field that is unknown, missing or out
 * of bounds is refused by its name.
 */
import { IsolaError } from "../contract/index.ts";

/** Reads one field: answers the value, or throws what is required. */
export interface Field<T> {
  readonly required: string;
  readonly isOptional: boolean;
  /** Values that no message may quote. */
  readonly isPrivate?: true;
  /** Undefined if the value is not allowed. */
  parse(value: unknown): T | undefined;
}

export type Fields = Readonly<Record<string, Field<unknown>>>;
export type Parsed<F extends Fields> = {
  readonly [K in keyof F as F[K] extends Optional<unknown> ? never : K]: ValueOf<F[K]>;
} & {
  readonly [K in keyof F as F[K] extends Optional<unknown> ? K : never]?: ValueOf<F[K]>;
};
type ValueOf<F> = F extends Field<infer T> ? T : never;

interface Optional<T> extends Field<T> {
  readonly isOptional: true;
}

export function text(minLength: number, maxLength: number, pattern?: RegExp): Field<string> {
  const form = pattern ? ` of the form ${pattern.source}` : "";
  return {
    required: `a string of ${minLength} to ${maxLength} characters${form}`,
    isOptional: false,
    parse: (value) =>
      typeof value === "string" &&
      value.length >= minLength &&
      value.length <= maxLength &&
      (pattern === undefined || pattern.test(value))
        ? value
        : undefined,
  };
}

export function integer(min: number, max: number): Field<number> {
  return {
    required: `an integer from ${min} to ${max}`,
    isOptional: false,
    parse: (value) =>
      typeof value === "number" && Number.isInteger(value) && value >= min && value <= max
        ? value
        : undefined,
  };
}

export function number(min: number, max: number): Field<number> {
  return {
    required: `a number from ${min} to ${max}`,
    isOptional: false,
    parse: (value) =>
      typeof value === "number" && value >= min && value <= max ? value : undefined,
  };
}

export function flag(): Field<boolean> {
  return {
    required: "true or false",
    isOptional: false,
    parse: (value) => (typeof value === "boolean" ? value : undefined),
  };
}

export function oneOf<const T extends string>(words: readonly T[]): Field<T> {
  return {
    required: `one of ${words.join(", ")}`,
    isOptional: false,
    parse: (value) => words.find((word) => word === value),
  };
}

/** An object with fields of its own, each optional. */
export function record<F extends Fields>(fields: F): Field<Partial<Parsed<F>>> {
  return {
    required: `an object of ${Object.keys(fields).join(", ")}`,
    isOptional: false,
    parse: (value) => {
      if (!isRecord(value)) return undefined;
      for (const [name, item] of Object.entries(value)) {
        const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
        if (field?.parse(item) === undefined) return undefined;
      }
      return value as Partial<Parsed<F>>;
    },
  };
}

/** A field whose values no message quotes. */
export function confidential<T>(field: Field<T>): Field<T> {
  return { ...field, isPrivate: true };
}

export function optional<T>(field: Field<T>): Optional<T> {
  return { ...field, isOptional: true };
}

/** @throws IsolaError `REQUEST_INVALID` naming the field. */
export function parseFields<F extends Fields>(
  value: unknown,
  fields: F,
  attempted: string,
): Parsed<F> {
  if (!isRecord(value)) throw invalid(attempted, "a body that is no object", "a JSON object");
  const unknown = Object.keys(value).find((name) => !Object.hasOwn(fields, name));
  if (unknown !== undefined) {
    const known = Object.keys(fields).join(", ");
    throw invalid(attempted, `field ${show(unknown)}`, known === "" ? "no fields" : known);
  }
  const parsed: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(fields)) {
    const given = Object.hasOwn(value, name) ? value[name] : undefined;
    if (given === undefined && field.isOptional) continue;
    const result = field.parse(given);
    if (result === undefined) {
      const shown = field.isPrivate === true ? "a value that is not shown" : show(given);
      const found = given === undefined ? `no field ${name}` : `${name} = ${shown}`;
      throw invalid(attempted, found, `${name} to be ${field.required}`);
    }
    parsed[name] = result;
  }
  return parsed as Parsed<F>;
}

/** A whole number from a query; undefined if it is not there. Errors: `REQUEST_INVALID`. */
export function queryInteger(
  query: URLSearchParams,
  names: readonly string[],
  max: number,
): number | undefined {
  const name = names.find((candidate) => query.has(candidate));
  if (name === undefined) return undefined;
  const given = query.get(name) ?? "";
  const value = /^\d{1,16}$/.test(given) ? Number(given) : -1;
  if (value >= 0 && value <= max) return value;
  throw invalid("read the query", `${name}=${show(given)}`, `an integer from 0 to ${max}`);
}

/** A switch from a query: 1 or true, 0 or false. Errors: `REQUEST_INVALID`. */
export function queryFlag(query: URLSearchParams, name: string): boolean {
  const given = query.get(name);
  if (given === null || given === "0" || given === "false") return false;
  if (given === "1" || given === "true") return true;
  throw invalid("read the query", `${name}=${show(given)}`, "1 or 0");
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What was found, short: a wrong value may be a secret or a megabyte. */
function show(value: unknown): string {
  const shown = typeof value === "string" ? JSON.stringify(value.slice(0, 60)) : typeof value;
  return typeof value === "number" || typeof value === "boolean" ? String(value) : shown;
}

function invalid(attempted: string, found: string, required: string): IsolaError {
  return new IsolaError("REQUEST_INVALID", { attempted, found, required });
}
