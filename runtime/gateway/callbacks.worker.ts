/**
 * Callbacks of runs: the gateway says and signs what is told at the end of a run, the cell of the
 * run sends it, through the egress.
 *
 * The key is a secret of the namespace, made when it is first needed. It never leaves the gateway
 * but to functions that name it, and to whoever may deploy there.
 */
import {
  CALLBACK_KEY,
  type CallbackAsked,
  type CallbackText,
  type CallbackTold,
  DEFAULT_NAMESPACE,
  IsolaError,
  PRIVATE_PREFIX,
  PUBLIC_HEADERS,
  RUN_BODY_MAX_BYTES,
  type RunFound,
  SIGNATURE_HEADER,
  frame,
  toHex,
  toIsolaError,
  unframe,
} from "../contract/index.ts";
import { importSealKey, sealSecret, unsealSecret } from "../registry/index.ts";
import { errorResponse } from "./error-response.ts";
import { readBytes } from "./request-body.ts";
import { RUN_ID_HEADER, answerRun } from "./run-answer.worker.ts";
import type { Background, GatewayState } from "./state.worker.ts";

/** A result, and what is said of it. */
const ASKED_MAX_BYTES = RUN_BODY_MAX_BYTES + 1024 * 1024;
const TOLD_MAX_BYTES = 64 * 1024;
const KEY_BYTES = 32;

/** Headers of an answer that say nothing of the result. */
const OF_ANSWER: ReadonlySet<string> = new Set([
  "cache-control",
  "connection",
  "content-length",
  "keep-alive",
  "location",
  "retry-after",
  "set-cookie",
  "transfer-encoding",
  "www-authenticate",
]);

/** Answers a cell what a callback says, as `/runs/<id>` would, and its signature. */
export async function composeCallback(
  request: Request,
  slot: number,
  state: GatewayState,
  background: Background,
): Promise<Response> {
  const attempted = "say what came of a run";
  const limit = { maxBytes: ASKED_MAX_BYTES, attempted, code: "BODY_TOO_LARGE" } as const;
  const { head, body } = unframe(await readBytes(request, limit));
  const asked = head as CallbackAsked;
  checkShards(slot, state, attempted);
  const answer = resultOf(asked.found, body);
  const octets = new Uint8Array(await answer.arrayBuffer());
  const key = await callbackKey(state, asked.found.namespace, background);
  const headers = headersOf(asked, answer);
  const atSeconds = Math.floor(state.clock.now() / 1_000);
  const signed = await hmac(key, signedText(atSeconds, asked.found.id, answer.status, octets));
  headers.set(SIGNATURE_HEADER, `t=${String(atSeconds)},v1=${signed}`);
  return new Response(frame({ headers: [...headers] } satisfies CallbackText, octets));
}

/** A cell tells what became of a callback. */
export async function hearOfCallback(
  request: Request,
  slot: number,
  state: GatewayState,
): Promise<Response> {
  const attempted = "hear of a callback";
  const limit = { maxBytes: TOLD_MAX_BYTES, attempted, code: "BODY_TOO_LARGE" } as const;
  const bytes = await readBytes(request, limit);
  const told = JSON.parse(new TextDecoder().decode(bytes)) as CallbackTold;
  checkShards(slot, state, attempted);
  const { run, namespace, function: name, result, text } = told;
  state.hub.recordCallback(result);
  if (result === "givenUp") {
    const version = state.table.route(namespace, name)?.targets[0]?.version ?? 0;
    const atMs = state.clock.now();
    const line = { callId: run, namespace, function: name, version, atMs, text };
    state.hub.recordLogs([{ ...line, level: "error" }]);
  }
  return new Response(null, { status: 204 });
}

/** In clear, for whoever checks signatures; it is made if there is none. */
export async function callbackKey(
  state: GatewayState,
  namespace: string,
  background: Background,
): Promise<string> {
  const place = { namespace, name: CALLBACK_KEY };
  const sealKey = await importSealKey(state.bindings.sealKey);
  const known = await state.registry.read("sealedSecret", place);
  if (known !== null) return unsealSecret(sealKey, place, known);
  const value = toHex(state.random.bytes(KEY_BYTES));
  const sealed = await sealSecret(sealKey, place, value, state.random);
  await state.change("putSecret", { ...place, sealed, bytes: value.length }, background);
  return value;
}

/** Shards of shared cells keep the runs of all namespaces; other cells have none. */
function checkShards(slot: number, state: GatewayState, attempted: string): void {
  if (slot >= 0 && slot < (state.bindings.settings.cells ?? 1)) return;
  throw new IsolaError("ROUTE_NOT_FOUND", { attempted, found: "a cell that keeps no runs" });
}

function resultOf(found: RunFound, body: Uint8Array): Response {
  try {
    return answerRun(found, body);
  } catch (thrown) {
    const { id } = found;
    const error = toIsolaError(thrown, `read the run ${id}`);
    return errorResponse(error, { callId: id, headers: { [RUN_ID_HEADER]: id } });
  }
}

/** OpenFaaS's headers of a callback, behind those of the result. */
function headersOf({ found, startedAtMs, endedAtMs }: CallbackAsked, answer: Response): Headers {
  const { id, namespace, function: name } = found;
  const headers = new Headers();
  for (const [key, value] of answer.headers) {
    if (!OF_ANSWER.has(key) && !key.startsWith(PRIVATE_PREFIX)) headers.append(key, value);
  }
  headers.set(PUBLIC_HEADERS.callId, id);
  headers.set(RUN_ID_HEADER, id);
  headers.set("x-function-status", String(answer.status));
  headers.set("x-function-name", namespace === DEFAULT_NAMESPACE ? name : `${name}.${namespace}`);
  headers.set("x-duration-seconds", ((endedAtMs - startedAtMs) / 1_000).toFixed(6));
  // Nanoseconds, as OpenFaaS says it.
  headers.set("x-start-time", `${String(startedAtMs)}000000`);
  return headers;
}

/** `<seconds>.<X-Call-Id>.<X-Function-Status>.` and the body. */
function signedText(
  atSeconds: number,
  id: string,
  status: number,
  body: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const said = new TextEncoder().encode(`${String(atSeconds)}.${id}.${String(status)}.`);
  const whole = new Uint8Array(said.byteLength + body.byteLength);
  whole.set(said);
  whole.set(body, said.byteLength);
  return whole;
}

async function hmac(key: string, text: Uint8Array<ArrayBuffer>): Promise<string> {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const bytes = new TextEncoder().encode(key);
  const imported = await crypto.subtle.importKey("raw", bytes, algorithm, false, ["sign"]);
  return toHex(new Uint8Array(await crypto.subtle.sign("HMAC", imported, text)));
}
