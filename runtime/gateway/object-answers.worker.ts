/** Objects as answers: their headers, and their values in a form that the client takes. */
import {
  IsolaError,
  type ObjectInfo,
  type PutResult,
  type StoreRange,
  VALUE_TYPE,
} from "../contract/index.ts";
import { json } from "./admin-route.worker.ts";
import { errorResponse } from "./error-response.ts";
import { etagOf } from "./store-conditions.ts";
import { type ValueBody, acceptedForm, showAnyValue, showValue } from "./store-values.ts";

/** What is known of an object, as headers. */
export function objectHeaders(info: ObjectInfo): Headers {
  const isBytes = info.kind === "bytes";
  const headers = new Headers({
    etag: etagOf(info.version),
    "last-modified": new Date(info.createdAtMs).toUTCString(),
    "accept-ranges": isBytes ? "bytes" : "none",
    "cache-control": "private, no-cache",
    // Whatever a tenant stored, no browser takes it for a page of this origin.
    "x-content-type-options": "nosniff",
    "x-isola-created-at-ms": String(info.createdAtMs),
    "x-isola-kind": info.kind,
    "x-isola-size-bytes": String(info.sizeBytes),
    "x-isola-tier": info.tier,
    "x-isola-durability": info.durability,
    "x-isola-persist": info.persist ? "1" : "0",
  });
  if (isBytes) headers.set("content-type", "application/octet-stream");
  if (info.expiresAtMs !== undefined) {
    headers.set("x-isola-expires-at-ms", String(info.expiresAtMs));
  }
  if (info.idleMs !== undefined) headers.set("x-isola-idle-ms", String(info.idleMs));
  return headers;
}

/** Octets as they are, all of them or a range. */
export function octetsResponse(
  body: ReadableStream | null,
  info: ObjectInfo,
  headers: Headers,
  range?: StoreRange,
): Response {
  headers.set("content-type", "application/octet-stream");
  if (!range) return new Response(body, { headers });
  const last = String(range.end - 1);
  headers.set("content-range", `bytes ${String(range.start)}-${last}/${String(info.sizeBytes)}`);
  return new Response(body, { status: 206, headers });
}

/**
 * A structured value.
 *
 * @param isGone from the store: then it is answered in a form that carries it, asked for or not.
 * @throws IsolaError `NOT_ACCEPTABLE`.
 */
export async function valueResponse(
  response: Response,
  accept: string | null,
  headers: Headers,
  isGone = false,
): Promise<Response> {
  headers.append("vary", "accept");
  const form = acceptedForm(accept);
  if (form === "inner") {
    headers.set("content-type", VALUE_TYPE);
    return new Response(response.body, { headers });
  }
  const bytes = new Uint8Array(await response.arrayBuffer());
  const shown: ValueBody = isGone ? showAnyValue(bytes, form) : showValue(bytes, form);
  if (shown.body === null) return new Response(null, { status: 204, headers });
  headers.set("content-type", shown.type);
  return new Response(shown.body, { headers });
}

/** A range that lies outside says how much there is. */
export function rangeResponse(error: IsolaError, sizeBytes: number): Response {
  const headers = new Headers({ "content-range": `bytes */${String(sizeBytes)}` });
  return errorResponse(error, { headers });
}

/** What became of a write. Errors: `PRECONDITION_FAILED`. */
export function putResponse(result: PutResult, attempted: string): Response {
  const { stored, version } = result;
  if (!stored) throw unmet(attempted, version);
  const response = json({ stored, version });
  if (version !== undefined) response.headers.set("etag", etagOf(version));
  return response;
}

export function unmet(attempted: string, version: number | undefined): IsolaError {
  const found = version === undefined ? "no object" : `version ${etagOf(version)}`;
  return new IsolaError("PRECONDITION_FAILED", { attempted, found });
}

export function objectNotFound(place: { bucket: string; key: string }): IsolaError {
  return new IsolaError("OBJECT_NOT_FOUND", {
    attempted: "use an object",
    found: `none ${JSON.stringify(place.key)} in bucket ${JSON.stringify(place.bucket)}`,
  });
}
