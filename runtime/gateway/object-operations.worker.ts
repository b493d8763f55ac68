/**
 * Immediate operations on objects: `POST …/objects/<key>?op=`.
 *
 * 1. A value that leaves the store with its answer is answered in a form that carries it; a taken
 *    one that the client's form does not carry is given back first.
 */
import { IsolaError, VALUE_TYPE, lockNameOf } from "../contract/index.ts";
import { type AdminCall, json, noContent } from "./admin-route.worker.ts";
import type { ShardReply } from "./ask-shard.worker.ts";
import { placeOf, sendToJob, valueOf, wholeBody } from "./job-call.worker.ts";
import {
  objectHeaders,
  objectNotFound,
  octetsResponse,
  putResponse,
  valueResponse,
} from "./object-answers.worker.ts";
import { refuseConditions } from "./store-conditions.ts";
import {
  PUT_PARAMETERS,
  checkQuery,
  neededNumber,
  putOptions,
  queryNumber,
  timesOf,
} from "./store-request.ts";
import { queryFlag } from "./request-fields.ts";
import { packValue } from "./store-values.ts";

/** Of a lock or a taken object where the request says nothing. */
const LEASE_MS = 30_000;

interface Operation {
  /** Parameters besides `op` and `key`. */
  readonly parameters: readonly string[];
  run(call: AdminCall): Promise<Response>;
}

const OPERATIONS: Readonly<Record<string, Operation>> = {
  take: { parameters: ["leaseMs"], run: take },
  acknowledge: { parameters: ["lease"], run: async (call) => endLease(call, "acknowledge") },
  return: { parameters: ["lease"], run: async (call) => endLease(call, "giveBack") },
  incr: { parameters: ["by", "float"], run: async (call) => increment(call, 1) },
  decr: { parameters: ["by", "float"], run: async (call) => increment(call, -1) },
  getPut: { parameters: [], run: getPut },
  compareAndSet: { parameters: PUT_PARAMETERS, run: compareAndSet },
  expire: { parameters: ["ttlMs", "idleMs"], run: expire },
  lock: { parameters: ["leaseMs"], run: lock },
  renew: { parameters: ["token", "leaseMs"], run: renew },
  unlock: { parameters: ["token"], run: unlock },
};

/** Errors: `REQUEST_INVALID` for an operation that is none, and what the operation throws. */
export async function operateOnObject(call: AdminCall): Promise<Response> {
  const name = call.query.get("op") ?? "";
  const operation = Object.hasOwn(OPERATIONS, name) ? OPERATIONS[name] : undefined;
  if (!operation) {
    throw new IsolaError("REQUEST_INVALID", {
      attempted: "operate on an object",
      found: name === "" ? "no op" : `op=${JSON.stringify(name.slice(0, 60))}`,
      required: `op to be one of ${Object.keys(OPERATIONS).join(", ")}`,
    });
  }
  checkQuery(call.query, ["op", "key", ...operation.parameters]);
  refuseConditions(call.request.headers, `${name} an object`);
  return operation.run(call);
}

function leaseMsOf(call: AdminCall): number {
  return queryNumber(call.query, "leaseMs") ?? LEASE_MS;
}

async function take(call: AdminCall): Promise<Response> {
  const place = placeOf(call);
  const asked = { op: "take", ...place, leaseMs: leaseMsOf(call) } as const;
  const { answer, response } = await sendToJob<"take">(call, asked);
  const { found, lease, leaseUntilMs } = answer;
  if (!found || lease === undefined) throw objectNotFound(place);
  const headers = objectHeaders(found);
  headers.set("x-isola-lease", String(lease));
  headers.set("x-isola-lease-until-ms", String(leaseUntilMs));
  // Taken once: no cache may answer for the store.
  headers.set("cache-control", "no-store");
  if (found.kind === "bytes") return octetsResponse(response.body, found, headers);
  try {
    return await valueResponse(response, call.request.headers.get("accept"), headers);
  } catch (thrown) {
    await sendToJob<"giveBack">(call, { op: "giveBack", lease });
    throw thrown;
  }
}

async function endLease(call: AdminCall, op: "acknowledge" | "giveBack"): Promise<Response> {
  placeOf(call);
  const lease = neededNumber(call.query, "lease");
  if (op === "acknowledge") await sendToJob<"acknowledge">(call, { op, lease });
  else await sendToJob<"giveBack">(call, { op, lease });
  return noContent();
}

async function increment(call: AdminCall, sign: 1 | -1): Promise<Response> {
  const by = (queryNumber(call.query, "by") ?? 1) * sign;
  const float = queryFlag(call.query, "float") ? { isFloat: true } : {};
  const asked = { op: "increment", ...placeOf(call), by, ...float } as const;
  return json((await sendToJob<"increment">(call, asked)).answer);
}

async function getPut(call: AdminCall): Promise<Response> {
  const asked = { op: "getPut", ...placeOf(call) } as const;
  const reply = await sendToJob<"getPut">(call, asked, () =>
    wholeBody(call.request, "put an object"),
  );
  return formerValue(call, reply);
}

async function formerValue(
  call: AdminCall,
  { answer, response }: ShardReply<"getPut">,
): Promise<Response> {
  const headers = new Headers({
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-isola-found": answer.found ? "1" : "0",
  });
  if (!answer.found) return new Response(null, { status: 204, headers });
  if (response.headers.get("content-type") === VALUE_TYPE) {
    return valueResponse(response, call.request.headers.get("accept"), headers, true);
  }
  headers.set("content-type", "application/octet-stream");
  return new Response(response.body, { headers });
}

/** The body is `{expected?, next}`, as JSON or MessagePack. */
async function compareAndSet(call: AdminCall): Promise<Response> {
  const attempted = "compare and set an object";
  const asked = { op: "compareAndSet", ...placeOf(call), options: putOptions(call.query) } as const;
  const { answer } = await sendToJob<"compareAndSet">(call, asked, async () => {
    const pair = await valueOf(call.request, attempted);
    if (isPair(pair)) return packValue(pair);
    throw new IsolaError("REQUEST_INVALID", {
      attempted,
      found: "a body without next",
      required: "{expected?, next}; no expected: only if there is nothing",
    });
  });
  return putResponse(answer, attempted);
}

function isPair(value: unknown): boolean {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, "next")) return false;
  return Object.keys(value).every((name) => name === "next" || name === "expected");
}

async function expire(call: AdminCall): Promise<Response> {
  const place = placeOf(call);
  const asked = { op: "expire", ...place, ...timesOf(call.query) } as const;
  const { existed } = (await sendToJob<"expire">(call, asked)).answer;
  if (!existed) throw objectNotFound(place);
  return noContent();
}

function lockOf(call: AdminCall): string {
  const { bucket, key } = placeOf(call);
  return lockNameOf(bucket, key);
}

async function lock(call: AdminCall): Promise<Response> {
  const asked = { op: "lock", name: lockOf(call), leaseMs: leaseMsOf(call) } as const;
  return json((await sendToJob<"lock">(call, asked)).answer);
}

async function renew(call: AdminCall): Promise<Response> {
  const token = neededNumber(call.query, "token");
  const asked = { op: "renew", name: lockOf(call), token, leaseMs: leaseMsOf(call) } as const;
  return json((await sendToJob<"renew">(call, asked)).answer);
}

async function unlock(call: AdminCall): Promise<Response> {
  const token = neededNumber(call.query, "token");
  await sendToJob<"unlock">(call, { op: "unlock", name: lockOf(call), token });
  return noContent();
}
