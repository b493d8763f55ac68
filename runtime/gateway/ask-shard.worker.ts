/**
 * Operations of the store on their way to the cell that holds the shard.
 *
 * 1. Where a job lives is in its id alone: whose it is, only its shard says. An id of another's
 *    takes the same way as one that never was, and gets the same answer (G6).
 * 2. A cell that is down is an answer at once. One that takes the operation and then neither
 *    answers nor lives is given up after `MISSES_MAX` unanswered pings.
 */
import {
  CELL_CONTROL,
  IsolaError,
  STORE_HEADER,
  STORE_ROUTE,
  type StoreAnswers,
  type StoreCall,
  type StoreOperationName,
  VALUE_OPERATIONS,
  parseErrorData,
  shardOfJob,
  slotOfShard,
} from "../contract/index.ts";
import { classifyLost } from "./lost-cell.ts";
import type { ShardUpload } from "./shard-upload.worker.ts";
import type { GatewayState } from "./state.worker.ts";
import { timeout } from "./system-timers.worker.ts";

const WATCH_MS = 3_000;
const PING_MS = 1_000;
const MISSES_MAX = 3;

type CallOf<Op extends StoreOperationName> = Extract<StoreCall, { readonly op: Op }>;

export interface ShardQuestion<Op extends StoreOperationName> {
  readonly shard: number;
  readonly namespace: string;
  /** Empty where the operation is about no job. */
  readonly job: string;
  readonly call: CallOf<Op>;
}

/** A value beside the operation: whole, or on its way. */
export type ShardBody =
  | { readonly bytes: Uint8Array<ArrayBuffer>; readonly type: string }
  | (ShardUpload & { readonly type?: string });

export interface ShardReply<Op extends StoreOperationName> {
  readonly answer: StoreAnswers[Op];
  /** Of `VALUE_OPERATIONS` the value is its body. */
  readonly response: Response;
}

/** Shards of the platform; each is in the cell `slotOf` it. */
export function shardsOf({ bindings }: GatewayState): number[] {
  return [...Array(bindings.settings.shards ?? 1).keys()];
}

export function slotOf({ bindings }: GatewayState, shard: number): number {
  return slotOfShard(shard, bindings.settings.cells ?? 1);
}

/** The shard that a job's id names. Errors: `JOB_NOT_FOUND`, in the words of a shard. */
export function shardOf(state: GatewayState, job: string): number {
  const shard = shardOfJob(job);
  if (shard !== undefined && shard < (state.bindings.settings.shards ?? 1)) return shard;
  throw new IsolaError("JOB_NOT_FOUND", {
    attempted: "open a store job",
    found: `none ${JSON.stringify(job.slice(0, 100))} in this namespace`,
  });
}

/**
 * Asks a shard.
 *
 * @throws IsolaError what the shard says; `CELL_RESTARTING`, `CELL_LOST`, `BODY_INCOMPLETE`.
 */
export async function askShard<Op extends StoreOperationName>(
  state: GatewayState,
  question: ShardQuestion<Op>,
  body?: ShardBody,
): Promise<ShardReply<Op>> {
  const response = await sendToShard(state, question, body);
  if (response.ok) return { answer: await answerOf(question.call.op, response), response };
  const refusal = await refusalOf(response, question.call.op);
  // Keeps 2 of shard-upload: the client has to be done before it hears the refusal.
  if (body && "ended" in body && (await body.ended) === "cut") throw bodyCut();
  throw refusal;
}

/** The same, with the shard's response as it is. */
export async function sendToShard(
  state: GatewayState,
  question: { readonly shard: number; readonly call: { readonly op: string } },
  body?: ShardBody,
): Promise<Response> {
  const slot = slotOf(state, question.shard);
  const upload = body && "ended" in body ? body : undefined;
  try {
    if (!state.cells.isUp(slot)) throw restarting(slot, question.call.op, "no process there");
    const controller = upload?.controller ?? new AbortController();
    return await whileLiving(state, slot, question.call.op, controller, ({ signal }) =>
      state.bindings.cell(slot).fetch(`http://cell${STORE_ROUTE}`, {
        method: "POST",
        signal,
        cf: question as unknown as RequestInitCfProperties,
        ...bodyInit(body),
      }),
    );
  } catch (thrown) {
    if ((await upload?.ended) === "cut") throw bodyCut();
    if (thrown instanceof IsolaError) throw thrown;
    throw lost(thrown, slot, question.call.op);
  }
}

function bodyInit(body: ShardBody | undefined): RequestInit {
  if (!body) return {};
  if ("ended" in body) {
    const { type = "application/octet-stream" } = body;
    return { body: body.stream, headers: { "content-type": type } };
  }
  return { body: body.bytes, headers: { "content-type": body.type } };
}

/** Waits as long as the cell shows signs of life. */
async function whileLiving(
  state: GatewayState,
  slot: number,
  op: string,
  controller: AbortController,
  send: (controller: AbortController) => Promise<Response>,
): Promise<Response> {
  const work = send(controller);
  for (let misses = 0; misses < MISSES_MAX;) {
    const pause = timeout(WATCH_MS);
    try {
      const first = await Promise.race([work, pause.elapsed]);
      if (first !== "elapsed") return first;
    } finally {
      pause.cancel();
    }
    misses = (await answersPing(state.bindings.control(slot))) ? 0 : misses + 1;
  }
  work.catch(() => undefined);
  controller.abort();
  throw restarting(slot, op, `${String(MISSES_MAX)} pings without an answer`);
}

async function answersPing(control: Fetcher): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(PING_MS);
    const response = await control.fetch(`http://cell${CELL_CONTROL.ping}`, { signal });
    await response.body?.cancel();
    return true;
  } catch {
    return false;
  }
}

async function answerOf<Op extends StoreOperationName>(
  op: Op,
  response: Response,
): Promise<StoreAnswers[Op]> {
  if (!VALUE_OPERATIONS.includes(op)) return response.json<StoreAnswers[Op]>();
  return JSON.parse(response.headers.get(STORE_HEADER) ?? "{}") as StoreAnswers[Op];
}

/** What a shard that refuses says. */
export async function refusalOf(response: Response, op: string): Promise<IsolaError> {
  const text = await response.text();
  const data = parseErrorData(parseJson(text));
  if (data) return IsolaError.fromData(data);
  return new IsolaError("INTERNAL", {
    attempted: `${op} in the store`,
    found: `status ${response.status} of its cell`,
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function bodyCut(): IsolaError {
  return new IsolaError("BODY_INCOMPLETE", {
    attempted: "store an object",
    found: "a body that ended early",
    required: "all that the request announces",
  });
}

function lost(thrown: unknown, slot: number, op: string): IsolaError {
  if (classifyLost(thrown) === "unsent") return restarting(slot, op, "no process there");
  return new IsolaError("CELL_LOST", {
    attempted: `${op} in the store`,
    found: `cell ${String(slot)} gone before it answered`,
    fix: "Look whether it took effect, or repeat it if it may happen twice.",
  });
}

function restarting(slot: number, op: string, found: string): IsolaError {
  return new IsolaError("CELL_RESTARTING", {
    attempted: `${op} in the store`,
    found: `cell ${String(slot)}, which holds the shard: ${found}`,
    required: "a cell that is up",
    retryAfterSeconds: 1,
  });
}
