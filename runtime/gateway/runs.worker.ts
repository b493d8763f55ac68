/**
 * Asynchronous calls: `/async-function/…` begins a run, `/runs/<id>` answers what came of it
 * (INTERFACE §5).
 *
 * 1. 202 is said when the run is on disk in its shard (G1); the id names the shard.
 * 2. A key always leads to the same shard, which alone decides whether it is known.
 */
import {
  IsolaError,
  PRIVATE_PREFIX,
  RUN_BODY_MAX_BYTES,
  type RunFound,
  type RunInputHead,
  type RunQuestion,
  type RunStart,
  frame,
  newJobId,
  shardOfJob,
  toHex,
  unframe,
} from "../contract/index.ts";
import { type ShardBody, refusalOf, sendToShard, shardsOf, slotOf } from "./ask-shard.worker.ts";
import { CALLBACK_HEADER, callbackOf } from "./callback-url.ts";
import type { FunctionCall } from "./function-call.worker.ts";
import { readBytes } from "./request-body.ts";
import { pending } from "./run-answer.worker.ts";
import type { GatewayState } from "./state.worker.ts";
import { sleep } from "./system-timers.worker.ts";

/** How long a cell that restarts is waited for, and between two tries. */
const PATIENCE_MS = 5_000;
const PAUSE_MS = 200;
const KEY_MAX_CHARACTERS = 256;
const FRAME_TYPE = "application/octet-stream";

/** Headers that are of the connection, not of the request. */
const OF_CONNECTION: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "expect",
  "idempotency-key",
  "keep-alive",
  "transfer-encoding",
  "upgrade",
  CALLBACK_HEADER,
]);

/** Begins a run of one step. Errors: `BODY_TOO_LARGE`, `KEY_REUSED`, `DISK_FULL`, … */
export async function startRun(
  state: GatewayState,
  request: Request,
  call: FunctionCall,
): Promise<Response> {
  const { namespace, name } = call.route;
  const attempted = `call ${name} asynchronously`;
  if (!state.bindings.host) throw notHere(attempted);
  const { allowPrivate = [] } = state.bindings.settings;
  const callback = callbackOf(request.headers, name, call.target.egress, allowPrivate);
  const limit = { maxBytes: RUN_BODY_MAX_BYTES, attempted, code: "BODY_TOO_LARGE" } as const;
  const body = await readBytes(request, limit);
  const head = headOf(request, call);
  const key = await keyOf(request, head, body);
  const shard = await shardFor(state, key && `${namespace}/${name}/${key.key}`);
  const start: RunStart = {
    id: newJobId(shard, state.random),
    namespace,
    function: name,
    version: call.target.version,
    retry: call.target.retry,
    ...(key && { key }),
    ...(callback && { callback }),
    request: head,
  };
  const question: RunQuestion = { shard, call: { op: "startRun" } };
  const bytes = frame(start, body);
  const response = await ask(state, question, { bytes, type: FRAME_TYPE });
  const { id } = await response.json<{ id: string }>();
  return new Response(null, { status: 202, headers: pending(id) });
}

/** What a shard says of a run. Errors: `RUN_NOT_FOUND`. */
export async function findRun(
  state: GatewayState,
  id: string,
): Promise<{ readonly found: RunFound; readonly body: Uint8Array }> {
  const shard = shardOfJob(id);
  if (!state.bindings.host || shard === undefined || !shardsOf(state).includes(shard)) {
    throw runNotFound(id);
  }
  const question: RunQuestion = { shard, call: { op: "findRun", id } };
  const response = await ask(state, question);
  const { head, body } = unframe(new Uint8Array(await response.arrayBuffer()));
  return { found: head as RunFound, body };
}

/** Asks again while the cell is away, within a bound: the id makes a second start the first one. */
async function ask(
  state: GatewayState,
  question: RunQuestion,
  body?: ShardBody,
): Promise<Response> {
  const untilMs = state.clock.now() + PATIENCE_MS;
  for (;;) {
    try {
      const response = await sendToShard(state, question, body);
      if (response.ok) return response;
      throw await refusalOf(response, question.call.op);
    } catch (thrown) {
      const code = thrown instanceof IsolaError ? thrown.code : undefined;
      const isAway = code === "CELL_LOST" || code === "CELL_RESTARTING";
      if (!isAway || state.clock.now() > untilMs) throw thrown;
      await sleep(PAUSE_MS);
    }
  }
}

function headOf(request: Request, { url, prefix, hidesToken }: FunctionCall): RunInputHead {
  const headers = [...request.headers].filter(
    ([name]) =>
      !OF_CONNECTION.has(name) &&
      !name.startsWith(PRIVATE_PREFIX) &&
      !(hidesToken && name === "authorization"),
  );
  return { method: request.method, url, prefix, headers };
}

/** A repeat is the same request: method, address, type and octets. */
async function keyOf(
  request: Request,
  { method, url }: RunInputHead,
  body: Uint8Array<ArrayBuffer>,
): Promise<RunStart["key"]> {
  const key = request.headers.get("idempotency-key");
  if (key === null) return undefined;
  if (key === "" || key.length > KEY_MAX_CHARACTERS) {
    throw new IsolaError("REQUEST_INVALID", {
      attempted: "read the header Idempotency-Key",
      found: `${String(key.length)} characters`,
      required: `1 to ${String(KEY_MAX_CHARACTERS)}`,
    });
  }
  const type = request.headers.get("content-type") ?? "";
  const path = new URL(url);
  const said = { method, path: path.pathname + path.search, type };
  return { key, digest: toHex(await sha256(frame(said, body))) };
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** By the key, or any whose cell is up. */
async function shardFor(state: GatewayState, key: string | undefined): Promise<number> {
  const all = shardsOf(state);
  if (key !== undefined) {
    const digest = await sha256(frame(key, new Uint8Array(0)));
    return new DataView(digest.buffer as ArrayBuffer).getUint32(0) % all.length;
  }
  const up = all.filter((shard) => state.cells.isUp(slotOf(state, shard)));
  const from = up.length > 0 ? up : all;
  return from[Math.floor(state.random.fraction() * from.length)] ?? 0;
}

function runNotFound(id: string): IsolaError {
  return new IsolaError("RUN_NOT_FOUND", {
    attempted: `find the run ${id.slice(0, 100)}`,
    found: "none",
  });
}

function notHere(attempted: string): IsolaError {
  return new IsolaError("ROUTE_NOT_FOUND", {
    attempted,
    found: "the form of one Worker, which keeps no runs",
    required: "isola start",
  });
}
