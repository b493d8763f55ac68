/**
 * Tables that say what each part of a plan may hold. The builder fills plans in by them, and what
 * comes out of a tenant's isolate is checked by the same tables again.
 */
import { WORKFLOW_LIMITS, isLabel } from "../../runtime/contract/index.ts";
import { refusePlan, shown } from "./refusals.ts";

/** What is required instead, or undefined if the value is good. */
export type Check = (value: unknown) => string | undefined;

export type Fields = Readonly<Record<string, { readonly check: Check; readonly isNeeded?: true }>>;

const ID = /^(?!__)[A-Za-z0-9_-]{1,64}$/;
const METHOD = /^[A-Z]{1,16}$/;
const HEADER = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/;
const URL_START = /^https?:\/\//i;

export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const id: Check = (value) =>
  typeof value === "string" && ID.test(value)
    ? undefined
    : "1 to 64 letters, digits, - or _, not beginning with __";

export const functionName: Check = (value) =>
  typeof value === "string" && isLabel(value)
    ? undefined
    : "a function's name: a-z, 0-9 and inner hyphens, at most 63";

export const integer =
  (min: number, max: number): Check =>
  (value) =>
    typeof value === "number" && Number.isInteger(value) && value >= min && value <= max
      ? undefined
      : `an integer from ${String(min)} to ${String(max)}`;

export const flag: Check = (value) => (value === true ? undefined : "true, or nothing");

const oneOf =
  (...words: readonly string[]): Check =>
  (value) =>
    typeof value === "string" && words.includes(value) ? undefined : `one of ${words.join(", ")}`;

export const durability = oneOf("step", "run");

export const waitMs = integer(0, WORKFLOW_LIMITS.waitMaxMs);

const version: Check = (value) =>
  value === "latest" || integer(1, Number.MAX_SAFE_INTEGER)(value) === undefined
    ? undefined
    : 'a version number, or "latest"';

const url: Check = (value) =>
  typeof value === "string" && value.length <= 8_192 && URL_START.test(value) && URL.canParse(value)
    ? undefined
    : "an address that begins with http:// or https://";

const method: Check = (value) =>
  typeof value === "string" && METHOD.test(value) ? undefined : "a method in capitals";

const isLine = (value: unknown): boolean =>
  typeof value === "string" && value.length <= 8_192 && !/[\0\r\n]/.test(value);

const headers: Check = (value) =>
  isRecord(value) &&
  Object.entries(value).every(([name, text]) => HEADER.test(name) && isLine(text))
    ? undefined
    : "an object of header names and texts";

const query: Check = (value) =>
  isRecord(value) && Object.values(value).every((list) => Array.isArray(list) && list.every(isLine))
    ? undefined
    : "an object of lists of texts";

export const eventType: Check = (value) =>
  typeof value === "string" &&
  /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(value) &&
  value.length <= WORKFLOW_LIMITS.eventTypeMaxCharacters
    ? undefined
    : `at most ${String(WORKFLOW_LIMITS.eventTypeMaxCharacters)} letters, digits, _, . or -`;

const nested =
  (fields: Fields): Check =>
  (value) => {
    if (!isRecord(value)) return `an object of ${Object.keys(fields).join(", ")}`;
    const fault = faultIn(value, fields);
    return fault && `${fault.name}: ${fault.required}`;
  };

const optional = (check: Check) => ({ check });
const needed = (check: Check) => ({ check, isNeeded: true as const });

export const RETRY_FIELDS: Fields = {
  limit: needed(integer(0, WORKFLOW_LIMITS.retryMaxLimit)),
  delayMs: needed(waitMs),
  backoff: needed(oneOf("constant", "linear", "exponential")),
};
export const retry = nested(RETRY_FIELDS);

export const COMPENSATION_FIELDS: Fields = {
  function: needed(functionName),
  retry: optional(retry),
  timeoutMs: optional(integer(1, WORKFLOW_LIMITS.waitMaxMs)),
};

const ATTEMPTED: Fields = {
  retry: optional(retry),
  timeoutMs: optional(integer(1, WORKFLOW_LIMITS.waitMaxMs)),
  onFailure: optional(flag),
  compensate: optional(nested(COMPENSATION_FIELDS)),
};
const HTTP: Fields = {
  method: optional(method),
  headers: optional(headers),
  query: optional(query),
};

/** Fields of each kind of operation, besides `op`. */
export const OPERATION_FIELDS: Readonly<Record<string, Fields>> = {
  apply: {
    function: needed(functionName),
    version: optional(version),
    pure: optional(flag),
    ...ATTEMPTED,
    ...HTTP,
  },
  request: { url: needed(url), response: optional(flag), ...ATTEMPTED, ...HTTP },
  invoke: { workflow: needed(functionName), version: optional(version), ...ATTEMPTED },
  sleep: { forMs: optional(waitMs) },
  event: { type: needed(eventType), timeoutMs: needed(waitMs), onFailure: optional(flag) },
  modify: {},
  repeat: {
    from: needed(integer(0, WORKFLOW_LIMITS.planMaxNodes)),
    limit: needed(integer(1, WORKFLOW_LIMITS.loopMaxRounds)),
  },
};

const POLICY: Fields = {
  retry: needed(retry),
  timeoutMs: optional(integer(1, WORKFLOW_LIMITS.waitMaxMs)),
};

/** Fields of what code asks of its run, besides `op`. */
export const CODE_FIELDS: Readonly<Record<string, Fields>> = {
  do: { ...POLICY, rollback: optional(nested(POLICY)) },
  sleep: { forMs: needed(waitMs) },
  event: { type: needed(eventType), timeoutMs: needed(waitMs) },
  invoke: {
    workflow: needed(functionName),
    version: optional(version),
    retry: optional(retry),
    timeoutMs: optional(integer(1, WORKFLOW_LIMITS.waitMaxMs)),
  },
};

interface Fault {
  readonly name: string;
  readonly found: string;
  readonly required: string;
}

function faultIn(value: Readonly<Record<string, unknown>>, fields: Fields): Fault | undefined {
  for (const name of Object.keys(value)) {
    if (value[name] === undefined || Object.hasOwn(fields, name)) continue;
    const known = Object.keys(fields).join(", ");
    return { name, found: "an unknown field", required: `one of ${known}` };
  }
  for (const [name, { check, isNeeded }] of Object.entries(fields)) {
    const item = value[name];
    if (item === undefined && isNeeded !== true) continue;
    const required = check(item);
    if (required !== undefined) return { name, found: shown(item), required };
  }
  return undefined;
}

/** Refuses a part of a plan that is not as its table says. */
export function checkFields(
  path: string,
  value: unknown,
  fields: Fields,
): asserts value is Record<string, unknown> {
  if (!isRecord(value)) refusePlan(path, shown(value), "an object");
  const fault = faultIn(value, fields);
  if (fault) refusePlan(`${path}, ${fault.name}`, fault.found, fault.required);
}

export function checkThat(path: string, value: unknown, check: Check): void {
  const required = check(value);
  if (required !== undefined) refusePlan(path, shown(value), required);
}
