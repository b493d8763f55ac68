/**
 * Objects of the store over HTTP (INTERFACE §7); `?op=` is in `object-operations.worker.ts`.
 *
 * 1. Octets pass through in both directions as they come; only structured values are held whole,
 *    under a bound.
 * 2. What a condition, a range or a parameter asks for is done or refused, never passed over.
 */
import { IsolaError, type ObjectInfo, type StoreRange } from "../contract/index.ts";
import { type AdminCall, type AdminRoute, noContent } from "./admin-route.worker.ts";
import type { ShardReply } from "./ask-shard.worker.ts";
import { askJob, announcedBytes, objectBody, placeOf, sendToJob } from "./job-call.worker.ts";
import {
  objectHeaders,
  objectNotFound,
  octetsResponse,
  putResponse,
  rangeResponse,
  unmet,
  valueResponse,
} from "./object-answers.worker.ts";
import { operateOnObject } from "./object-operations.worker.ts";
import {
  type WantedRange,
  etagOf,
  hasReadConditions,
  putConditions,
  rangeWithin,
  readVerdict,
  refuseConditions,
  wantedRange,
} from "./store-conditions.ts";
import { PUT_PARAMETERS, checkQuery, putOptions } from "./store-request.ts";

const BUCKET = "/store/jobs/:job/buckets/:bucket";

/** How often an object that changes meanwhile is looked at anew. */
const READ_ATTEMPTS = 5;

type Handlers = readonly Pick<AdminRoute, "handle" | "method" | "needs">[];

const HANDLERS: Handlers = [
  { method: "PUT", needs: "operate", handle: putObject },
  { method: "GET", needs: "read", handle: readObject },
  { method: "DELETE", needs: "operate", handle: deleteObject },
  { method: "POST", needs: "operate", handle: operateOnObject },
];

/** A key is all that follows, line ends included; or `?key=`, see `keyOfPath`. */
export const OBJECT_ROUTES: readonly AdminRoute[] = HANDLERS.flatMap((handler) => [
  { ...handler, path: `${BUCKET}/objects/:key{[\\s\\S]+}` },
  { ...handler, path: `${BUCKET}/objects` },
]);

async function putObject(call: AdminCall): Promise<Response> {
  const { request, query } = call;
  checkQuery(query, PUT_PARAMETERS);
  const options = { ...putOptions(query), ...putConditions(request.headers) };
  const sizeBytes = announcedBytes(request);
  const asked = {
    op: "put",
    ...placeOf(call),
    options,
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
  } as const;
  const { answer } = await sendToJob<"put">(call, asked, () =>
    objectBody(request, "put an object"),
  );
  return putResponse(answer, "put an object");
}

/** GET and HEAD. */
async function readObject(call: AdminCall): Promise<Response> {
  const { request } = call;
  checkQuery(call.query, ["key"]);
  const wanted = wantedRange(request.headers.get("range"));
  const isHead = request.method === "HEAD";
  if (!isHead && !hasReadConditions(request.headers) && !wanted) return wholeObject(call);
  for (let attempt = 0; attempt < READ_ATTEMPTS; attempt += 1) {
    const info = await statObject(call);
    const refused = conditionResponse(call, info);
    if (refused) return refused;
    if (isHead) return headResponse(info);
    const answer = await objectAt(call, info, wanted);
    if (answer) return answer;
  }
  throw new IsolaError("CONFLICT", {
    attempted: "read an object",
    found: "one that changes faster than it is read",
  });
}

function conditionResponse(call: AdminCall, info: ObjectInfo): Response | undefined {
  const verdict = readVerdict(call.request.headers, info.version);
  if (verdict === "other") throw unmet("read an object", info.version);
  if (verdict === "fine") return undefined;
  return new Response(null, { status: 304, headers: objectHeaders(info) });
}

function headResponse(info: ObjectInfo): Response {
  const headers = objectHeaders(info);
  if (info.kind === "bytes") headers.set("content-length", String(info.sizeBytes));
  return new Response(null, { headers });
}

/** The version that was looked at; undefined if another has taken its place. */
async function objectAt(
  call: AdminCall,
  info: ObjectInfo,
  wanted: WantedRange | undefined,
): Promise<Response | undefined> {
  const { headers } = call.request;
  const ifRange = headers.get("if-range");
  const isPart = wanted && (ifRange === null || ifRange === etagOf(info.version));
  let range: StoreRange | undefined;
  try {
    if (isPart && info.kind === "bytes") range = rangeWithin(wanted, info.sizeBytes);
    else if (isPart) throw noOctets();
  } catch (thrown) {
    if (!(thrown instanceof IsolaError)) throw thrown;
    return rangeResponse(thrown, info.sizeBytes);
  }
  try {
    const reply = await getObject(call, range);
    if (reply.answer.found?.version === info.version) return foundResponse(call, reply, range);
    await reply.response.body?.cancel();
    return undefined;
  } catch (thrown) {
    // It shrank or went since it was looked at.
    const mayRepeat = range && thrown instanceof IsolaError && thrown.code === "RANGE_INVALID";
    if (mayRepeat === true) return undefined;
    throw thrown;
  }
}

function noOctets(): IsolaError {
  return new IsolaError("RANGE_INVALID", {
    attempted: "read a range of an object",
    found: "a structured value",
    required: "an object of octets",
  });
}

async function wholeObject(call: AdminCall): Promise<Response> {
  return foundResponse(call, await getObject(call), undefined);
}

async function getObject(call: AdminCall, range?: StoreRange): Promise<ShardReply<"get">> {
  const asked = { op: "get", ...placeOf(call), ...(range ? { range } : {}) } as const;
  return sendToJob<"get">(call, asked);
}

async function foundResponse(
  call: AdminCall,
  { answer, response }: ShardReply<"get">,
  range: StoreRange | undefined,
): Promise<Response> {
  const info = answer.found;
  if (!info) throw objectNotFound(placeOf(call));
  const headers = objectHeaders(info);
  if (info.kind === "bytes") return octetsResponse(response.body, info, headers, range);
  return valueResponse(response, call.request.headers.get("accept"), headers);
}

async function statObject(call: AdminCall): Promise<ObjectInfo> {
  const { found } = (await sendToJob<"stat">(call, { op: "stat", ...placeOf(call) })).answer;
  if (!found) throw objectNotFound(placeOf(call));
  return found;
}

async function deleteObject(call: AdminCall): Promise<Response> {
  refuseConditions(call.request.headers, "delete an object");
  const asked = { op: "delete", ...placeOf(call) } as const;
  const { existed } = await askJob<"delete">(call, asked, ["key"]);
  if (!existed) throw objectNotFound(placeOf(call));
  return noContent();
}
