/**
 * Operations as they arrive: from tenants by RPC, from other processes as JSON. Nothing is used
 * before its type is known; ranges are checked where they are used, by the store.
 */
import { IsolaError, type StoreCall, type StoreOperationName } from "../../contract/index.ts";

type Check = (value: unknown) => boolean;

interface Field {
  readonly check: Check;
  readonly required: string;
  readonly isOptional?: true;
}

const TEXT: Field = { check: (value) => typeof value === "string", required: "a string" };
const NUMBER: Field = {
  check: (value) => typeof value === "number" && Number.isFinite(value),
  required: "a finite number",
};
const WHOLE: Field = {
  check: (value) => Number.isSafeInteger(value) && Number(value) >= 0,
  required: "a whole number from 0",
};
const FLAG: Field = { check: (value) => typeof value === "boolean", required: "true or false" };

const oneOf = (...words: readonly string[]): Field => ({
  check: (value) => words.includes(value as string),
  required: words.join(" or "),
});

const DURABILITY = oneOf("memory", "disk");

function optional(field: Field): Field {
  return { ...field, isOptional: true };
}

function object(fields: Readonly<Record<string, Field>>): Field {
  return {
    check: (value) => isPlain(value) && faultOf(value, fields) === undefined,
    required: `an object with ${Object.entries(fields)
      .map(([name, field]) => `${name} (${field.required})`)
      .join(", ")}`,
  };
}

const NUMBERS: Field = {
  check: (value) => isPlain(value) && Object.values(value).every((item) => WHOLE.check(item)),
  required: "an object of whole numbers",
};

const OPTIONS = optional(
  object({
    persist: optional(FLAG),
    ttlMs: optional(NUMBER),
    idleMs: optional(NUMBER),
    ifAbsent: optional(FLAG),
    ifPresent: optional(FLAG),
    ifVersion: optional(NUMBER),
    durability: optional(DURABILITY),
    fence: optional(object({ lock: TEXT, token: NUMBER })),
  }),
);

const HINTS = optional(
  object({
    capacityMb: optional(WHOLE),
    peakMbps: optional(WHOLE),
    latencySensitive: optional(FLAG),
    calls: optional(WHOLE),
  }),
);

const NAMED = { bucket: TEXT, key: TEXT } as const;

const NAME_MAX_CHARACTERS = 256;
const NAME: Field = {
  check: (value) => typeof value === "string" && value.length <= NAME_MAX_CHARACTERS,
  required: `a string of at most ${String(NAME_MAX_CHARACTERS)} characters`,
};

/** What each operation takes (contract/store-call.ts). */
const FIELDS: Readonly<Record<StoreOperationName, Readonly<Record<string, Field>>>> = {
  put: { ...NAMED, options: OPTIONS, sizeBytes: optional(WHOLE) },
  get: { ...NAMED, brief: optional(FLAG), range: optional(object({ start: WHOLE, end: WHOLE })) },
  stat: NAMED,
  take: { ...NAMED, leaseMs: optional(NUMBER) },
  acknowledge: { lease: NUMBER },
  giveBack: { lease: NUMBER },
  delete: NAMED,
  expire: { ...NAMED, ttlMs: optional(NUMBER), idleMs: optional(NUMBER) },
  list: {
    bucket: TEXT,
    prefix: optional(TEXT),
    cursor: optional(TEXT),
    limit: optional(NUMBER),
  },
  increment: { ...NAMED, by: optional(NUMBER), isFloat: optional(FLAG) },
  getPut: NAMED,
  compareAndSet: { ...NAMED, options: OPTIONS },
  lock: { name: TEXT, leaseMs: NUMBER },
  renew: { name: TEXT, token: NUMBER, leaseMs: NUMBER },
  unlock: { name: TEXT, token: NUMBER },
  createBucket: { bucket: TEXT },
  destroyBucket: { bucket: TEXT },
  createJob: {
    name: NAME,
    kind: oneOf("run", "call", "client"),
    durability: DURABILITY,
    workflow: optional(NAME),
    hints: HINTS,
  },
  endJob: {},
  job: {},
  jobs: {},
  usage: { allowances: optional(NUMBERS) },
  endNamespace: {},
};

/**
 * The operation, if it is one with what it takes and nothing else. Errors: `VALUE_INVALID`;
 * `KEY_INVALID` for a bucket or key that is no string.
 */
export function checkCall(call: unknown): StoreCall {
  if (!isPlain(call)) throw invalid("use the store", typeName(call), "an operation");
  const { op, ...rest } = call;
  if (typeof op !== "string" || !Object.hasOwn(FIELDS, op)) {
    throw invalid("use the store", `the operation ${quoted(op)}`, "one of the store's operations");
  }
  const fault = faultOf(rest, FIELDS[op as StoreOperationName]);
  if (!fault) return call as unknown as StoreCall;
  const { name, found, required } = fault;
  const isName = name === "bucket" || name === "key";
  throw new IsolaError(isName ? "KEY_INVALID" : "VALUE_INVALID", {
    attempted: `use the store's ${op}`,
    found: `${name}: ${found}`,
    required,
  });
}

interface Fault {
  readonly name: string;
  readonly found: string;
  readonly required: string;
}

function faultOf(
  given: Readonly<Record<string, unknown>>,
  fields: Readonly<Record<string, Field>>,
): Fault | undefined {
  for (const [name, field] of Object.entries(fields)) {
    const value = given[name];
    if (value === undefined && field.isOptional === true) continue;
    if (field.check(value)) continue;
    return { name, found: quoted(value), required: field.required };
  }
  for (const name of Object.keys(given)) {
    if (Object.hasOwn(fields, name) || given[name] === undefined) continue;
    return { name: name.slice(0, 100), found: "an option that is none", required: "nothing" };
  }
  return undefined;
}

function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function typeName(value: unknown): string {
  return value === null ? "null" : typeof value;
}

/** What was found, short, and never the content of what may be a secret. */
function quoted(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 100));
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return typeName(value);
}

function invalid(attempted: string, found: string, required: string): IsolaError {
  return new IsolaError("VALUE_INVALID", { attempted, found, required });
}
