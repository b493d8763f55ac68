/**
 * Runs: `/async-function/…` and calls of workflows begin one, `/runs/<id>` answers what came of it
 * (INTERFACE §5, §6).
 *
 * 1. 202 is said when the run is on disk in its shard (G1); the id names the shard.
 * 2. A key leads to one shard, which alone decides whether it is known; so does a workflow with a
 *    limit, whose shard alone knows how many of its runs are under way.
 * 3. Who waits for a run sees one answer, whatever dies meanwhile: it is asked for again by its id.
 */
import {
  IsolaError,
  PRIVATE_PREFIX,
  RUN_BODY_MAX_BYTES,
  type RunFound,
  type RouteTarget,
  type RunInputHead,
  type RunQuestion,
  type RunReading,
  type RunStart,
  type WorkflowStart,
  frame,
  homeShard,
  isWorkflow,
  newJobId,
  shardOfJob,
  shardOfKey,
  toHex,
  unframe,
} from "../contract/index.ts";
import { refusalOf, sendToShard, shardsOf, slotOf } from "./ask-shard.worker.ts";
import { CALLBACK_HEADER, callbackOf } from "./callback-url.ts";
import type { FunctionCall } from "./function-call.worker.ts";
import { readBytes } from "./request-body.ts";
import { pending } from "./run-answer.worker.ts";
import type { GatewayState } from "./state.worker.ts";
import { sleep } from "./system-timers.worker.ts";

/** How long a cell that restarts is waited for, and between two tries. */
const PATIENCE_MS = 5_000;
const PAUSE_MS = 200;
/** What took longer reached its shard: a cell that is away is known at once. */
const THOUGHT_MS = 500;
const KEY_MAX_CHARACTERS = 256;
const FRAME_TYPE = "application/octet-stream";

/** What a shard says of a run; the body is that of its output. */
export interface RunAnswer {
  readonly found: RunFound;
  readonly body: Uint8Array;
}

/** What a run is of. */
export interface RunOf {
  readonly route: { readonly namespace: string; readonly name: string };
  readonly target: RouteTarget;
}

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

/** Begins a run and does not wait. Errors: `BODY_TOO_LARGE`, `KEY_REUSED`, `DISK_FULL`, … */
export async function startRun(
  state: GatewayState,
  request: Request,
  call: FunctionCall,
): Promise<Response> {
  const { found } = await beginRun(state, request, call, 0);
  return new Response(null, { status: 202, headers: pending(found.id) });
}

/** Begins a run and waits for its end at most so long. */
export async function beginRun(
  state: GatewayState,
  request: Request,
  call: FunctionCall,
  waitMs: number,
): Promise<RunAnswer> {
  const { route, target } = call;
  const { namespace, name } = route;
  const attempted = `call ${name} in a run`;
  const { allowPrivate = [] } = state.bindings.settings;
  const callback = callbackOf(request.headers, name, target.egress, allowPrivate);
  const limit = { maxBytes: RUN_BODY_MAX_BYTES, attempted, code: "BODY_TOO_LARGE" } as const;
  const body = await readBytes(request, limit);
  const head = headOf(request, call);
  const key = await keyOf(request, head, body);
  const shard = await shardFor(state, call, key?.key);
  const accept = request.headers.get("accept") ?? "";
  const start: RunStart = {
    id: newJobId(shard, state.random),
    namespace,
    function: name,
    version: target.version,
    retry: target.retry,
    concurrency: target.concurrency,
    retention: target.retention,
    ...(key && { key }),
    ...(callback && { callback }),
    request: head,
    ...(isWorkflow(target.form) && { workflow: workflowStart(target, { accept }) }),
  };
  return sendStart(state, start, body, waitMs);
}

/** What a run of the workflow has beside an asynchronous call. */
export function workflowStart(
  { form, timeoutMs }: RouteTarget,
  reading: RunReading,
  chain: readonly string[] = [],
): WorkflowStart {
  return { form: form === "workflow" ? "code" : "dag", timeoutMs, chain, ...reading };
}

/** Sends a start to the shard that its id names, and what it waits for. */
export async function sendStart(
  state: GatewayState,
  start: RunStart,
  body: Uint8Array,
  waitMs: number,
): Promise<RunAnswer> {
  const question = { shard: shardOfJob(start.id) ?? 0, call: { op: "startRun" } } as const;
  return ask(state, waitMs, (leftMs) => {
    const { workflow } = start;
    const head = workflow ? { ...start, workflow: { ...workflow, waitMs: leftMs } } : start;
    return sendToShard(state, question, { bytes: frame(head, body), type: FRAME_TYPE });
  });
}

/** In a shard that begins what has no key. */
export async function newRunId(state: GatewayState, of: RunOf): Promise<string> {
  return newJobId(await shardFor(state, of, undefined), state.random);
}

/** What a shard says of a run. Errors: `RUN_NOT_FOUND`. */
export async function findRun(state: GatewayState, id: string, accept: string): Promise<RunAnswer> {
  const shard = shardOfJob(id);
  if (shard === undefined || !shardsOf(state).includes(shard)) throw runNotFound(id);
  const question: RunQuestion = { shard, call: { op: "findRun", id, accept } };
  return ask(state, 0, () => sendToShard(state, question));
}

/**
 * Asks again while the cell is away, within a bound: the id makes a second start the first one.
 *
 * @param send with what is left of the wait.
 */
async function ask(
  state: GatewayState,
  waitMs: number,
  send: (leftMs: number) => Promise<Response>,
): Promise<RunAnswer> {
  const { clock } = state;
  const untilMs = clock.now() + waitMs;
  let awaySinceMs = Number.POSITIVE_INFINITY;
  for (;;) {
    const askedAtMs = clock.now();
    try {
      const response = await send(Math.max(0, untilMs - askedAtMs));
      if (!response.ok) throw await refusalOf(response, "use a run");
      const { head, body } = unframe(new Uint8Array(await response.arrayBuffer()));
      return { found: head as RunFound, body };
    } catch (thrown) {
      const error = thrown instanceof IsolaError ? thrown : brokeOff(thrown);
      const nowMs = clock.now();
      // A question that the shard took and thought about found it there.
      if (nowMs - askedAtMs > THOUGHT_MS) awaySinceMs = nowMs;
      awaySinceMs = Math.min(awaySinceMs, nowMs);
      const isAway = error.code === "CELL_LOST" || error.code === "CELL_RESTARTING";
      if (!isAway || nowMs - awaySinceMs > PATIENCE_MS) throw error;
      await sleep(PAUSE_MS);
    }
  }
}

function brokeOff(thrown: unknown): IsolaError {
  return new IsolaError("CELL_LOST", {
    attempted: "use a run",
    found: `an answer that broke off: ${String(thrown).slice(0, 200)}`,
  });
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

/** The home of a workflow with a limit; by the key; or any whose cell is up. */
async function shardFor(
  state: GatewayState,
  { route, target }: RunOf,
  key: string | undefined,
): Promise<number> {
  const { namespace, name } = route;
  const all = shardsOf(state);
  if (target.concurrency > 0) return homeShard(namespace, name, all.length);
  if (key !== undefined) return shardOfKey(all.length, namespace, name, key);
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
