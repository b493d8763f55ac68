/** A request about one job or object of the store: what its path says, and the way to its shard. */
import {
  LIMITS,
  STORE_LIMITS,
  type StoreAnswers,
  type StoreCall,
  type StoreOperationName,
} from "../contract/index.ts";
import { namespaceNotFound } from "../registry/index.ts";
import type { AdminCall } from "./admin-route.worker.ts";
import { type ShardBody, type ShardReply, askShard, bodyCut, shardOf } from "./ask-shard.worker.ts";
import { readBytes } from "./request-body.ts";
import { startUpload } from "./shard-upload.worker.ts";
import type { GatewayState } from "./state.worker.ts";
import { checkLength, checkQuery, keyOfPath, tooLarge } from "./store-request.ts";
import { formOf, packValue, readValue } from "./store-values.ts";

/** Octets up to here are read before they are sent: a stream costs more. */
const SMALL_MAX_BYTES = 64 * 1024;

type CallOf<Op extends StoreOperationName> = Extract<StoreCall, { readonly op: Op }>;

/** The operator may name any namespace, also one that is none. */
export function requireNamespace(state: GatewayState, namespace: string): void {
  if (!state.table.namespace(namespace)) throw namespaceNotFound(namespace);
}

/** Asks the shard of the job that the path names, with `known` as the query's parameters. */
export async function askJob<Op extends StoreOperationName>(
  call: AdminCall,
  asked: CallOf<Op>,
  known: readonly string[],
): Promise<StoreAnswers[Op]> {
  checkQuery(call.query, known);
  return (await sendToJob<Op>(call, asked)).answer;
}

export async function sendToJob<Op extends StoreOperationName>(
  call: AdminCall,
  asked: CallOf<Op>,
  body?: () => Promise<ShardBody>,
): Promise<ShardReply<Op>> {
  const { state, namespace } = call;
  requireNamespace(state, namespace);
  const job = call.param("job");
  const shard = shardOf(state, job);
  return askShard<Op>(state, { shard, namespace, job, call: asked }, await body?.());
}

/** Bucket and key of an object's path. Errors: `KEY_INVALID`. */
export function placeOf(call: AdminCall): { bucket: string; key: string } {
  return {
    bucket: checkLength("bucket", call.param("bucket")),
    key: keyOfPath(call.request.url, call.query),
  };
}

/** Bytes that the client announces; undefined if it does not. */
export function announcedBytes(request: Request): number | undefined {
  const text = request.headers.get("content-length");
  return text === null || !/^\d{1,16}$/.test(text) ? undefined : Number(text);
}

/** What a client puts: a structured value, a few octets, or a stream of them. */
export async function objectBody(request: Request, attempted: string): Promise<ShardBody> {
  const announced = announcedBytes(request);
  if (formOf(request.headers) !== "bytes") return wholeBody(request, attempted);
  if (announced !== undefined && announced > STORE_LIMITS.objectMaxBytes) {
    throw tooLarge(attempted, announced, STORE_LIMITS.objectMaxBytes);
  }
  const isSmall = announced !== undefined && announced <= SMALL_MAX_BYTES;
  if (request.body === null || isSmall) return wholeBody(request, attempted);
  return startUpload(request.body as ReadableStream<Uint8Array>, announced);
}

/** The same where the operation takes no stream. */
export async function wholeBody(request: Request, attempted: string): Promise<ShardBody> {
  const form = formOf(request.headers);
  const maxBytes = form === "bytes" ? STORE_LIMITS.wholeMaxBytes : LIMITS.storeValueMaxBytes;
  const bytes = await readWhole(request, attempted, maxBytes);
  if (form === "bytes") return { bytes, type: "application/octet-stream" };
  return packValue(readValue(bytes, form, attempted));
}

/** A structured value that the operation itself reads. */
export async function valueOf(request: Request, attempted: string): Promise<unknown> {
  const form = formOf(request.headers);
  const bytes = await readWhole(request, attempted, LIMITS.storeValueMaxBytes);
  return readValue(bytes, form === "bytes" ? "json" : form, attempted);
}

async function readWhole(
  request: Request,
  attempted: string,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const { headers, body } = request;
  const limit = { maxBytes, attempted, code: "BODY_TOO_LARGE" } as const;
  const bytes = await readBytes({ headers, body }, limit, bodyCut);
  const announced = announcedBytes(request);
  if (announced !== undefined && announced !== bytes.length) throw bodyCut();
  return bytes;
}
