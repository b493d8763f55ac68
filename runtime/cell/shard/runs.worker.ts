/**
 * The runs of a shard: the coordinator over the shard's log, and what carries its effects out.
 *
 * R1 A run is answered when it is on disk (G1); from then on its attempts are made until it ends.
 * R2 An attempt is placed by the gateway like a call from outside: admission, suspects, probation,
 *    records. What kept it from running at all is tried again; what ended with its cell is
 *    interrupted, and made again under the same idempotency key (G7).
 * R3 Each attempt has a store job of its own, as a call has: what a failed one put is gone.
 */
import {
  ERRORS,
  type ErrorCode,
  type ErrorData,
  IsolaError,
  RUN_BODY_MAX_BYTES,
  type RunAttempt,
  type RunAttempted,
  type RunFound,
  type RunInputHead,
  type RunOutputHead,
  type RunStart,
  frame,
  systemClock,
  systemRandom,
  unframe,
} from "../../contract/index.ts";
import {
  Coordinator,
  type Outcome,
  type OutwardEffect,
  type RunRef,
  type RunReport,
} from "../../../workflow/index.ts";
import { currentCell } from "../cell.worker.ts";
import { decodeValue, encodeValue } from "../value-codec.ts";
import type { CommitLog } from "./commit-log.ts";
import { ActorTimers } from "./system-timers.worker.ts";

/** Node of the one step that an asynchronous call is. */
const NODE = "call";
/** Attempts under way, and the octets of their requests; beyond, runs are refused (G8). */
const ATTEMPTS_MAX = 2_000;
const BYTES_MAX = 64 * 1024 * 1024;
/** Between two tries of what did not get to run. */
const PAUSE_MS = 500;
const PAUSE_MAX_MS = 5_000;
/** From this status on an HTTP function's answer is a failed attempt. */
const FAILURE_STATUS = 500;

/** The attempt did not run: nothing happened that would count. */
const NOT_RUN: ReadonlySet<ErrorCode> = new Set([
  "CELL_RESTARTING",
  "DRAINING",
  "CAPACITY",
  "QUEUE_FULL",
  "RATE_LIMITED",
]);

type Dispatch = Extract<OutwardEffect, { readonly do: "dispatch" }>;

interface RunInput {
  readonly request: RunInputHead;
  readonly body: Uint8Array;
}

interface RunOutput {
  readonly output: RunOutputHead;
  readonly body: Uint8Array;
}

export class Runs {
  readonly #log: CommitLog;
  readonly #coordinator: Coordinator;
  readonly #fail: (reason: unknown) => void;
  /** Attempts under way. */
  readonly #attempts = new Map<string, AbortController>();
  #bytes = 0;

  /** Opens synchronously. @param fail ends the actor. */
  constructor(log: CommitLog, fail: (reason: unknown) => void) {
    this.#log = log;
    this.#fail = fail;
    const timers = new ActorTimers(
      () => systemClock.now(),
      () => this.#guarded(() => this.#coordinator.wake()),
    );
    this.#coordinator = new Coordinator({
      sql: log,
      log,
      clock: systemClock,
      random: systemRandom,
      timers,
      codec: { encode: encodeValue, decode: decodeValue },
      outside: {
        // Definitions are not known here yet: runs are of plain functions.
        describe: () => undefined,
        perform: (run, _request, effect) => this.#perform(run, effect),
      },
      // R3: nothing of a run is in the store.
      store: { begin: () => undefined, settle: () => undefined, end: () => undefined },
    });
  }

  get openedPosition(): number {
    return this.#coordinator.openedPosition;
  }

  /** Errors: `KEY_REUSED`, `QUEUE_FULL`. */
  async start(start: RunStart, body: Uint8Array): Promise<{ readonly id: string }> {
    const { id, namespace, function: name, version, retry, key, request } = start;
    if (this.#attempts.size >= ATTEMPTS_MAX || this.#bytes >= BYTES_MAX) throw tooMany(name);
    const { value, position } = this.#coordinator.start({
      id,
      namespace,
      workflow: name,
      form: "dag",
      input: { value: { request, body } satisfies RunInput },
      query: {},
      headers: {},
      revision: 0,
      ...(key && { key }),
      planned: {
        plan: {
          format: 1,
          durability: "step",
          dag: {
            nodes: [{ id: NODE, kind: "chain", operations: [{ op: "apply", function: name }] }],
            edges: [],
          },
        },
        // The gateway bounds the attempt by the function's own timeout, from when it runs.
        pins: { [name]: { version, retry, timeoutMs: 0 } },
      },
    });
    await this.#log.committed(position);
    return { id: value.id };
  }

  /** Answers the position. */
  endNamespace(namespace: string): number {
    return this.#coordinator.endNamespace(namespace).position;
  }

  /** Errors: `RUN_NOT_FOUND`. */
  async find(id: string): Promise<{ readonly value: RunFound; readonly body?: Uint8Array }> {
    const found = this.#coordinator.find(id);
    if (!found) {
      throw new IsolaError("RUN_NOT_FOUND", { attempted: `find the run ${id}`, found: "none" });
    }
    // What is told of a run is on disk (G9).
    await this.#log.committed(this.#log.position);
    const { namespace, workflow, status, ended } = found;
    const { output, error } = ended ?? {};
    const result = output && "value" in output ? (output.value as RunOutput) : undefined;
    return {
      value: {
        id,
        namespace,
        function: workflow,
        status,
        ...(result && { output: result.output }),
        ...(error && {
          error: { message: error.message, ...(error.code && { code: error.code }) },
        }),
      },
      ...(result && { body: result.body }),
    };
  }

  #perform(run: RunRef, effect: OutwardEffect): void {
    if (effect.do === "dispatch") void this.#attempt(run, effect);
    if (effect.do === "cancel") this.#attempts.get(keyOf(run, effect))?.abort();
  }

  async #attempt(run: RunRef, effect: Dispatch): Promise<void> {
    const key = keyOf(run, effect);
    const controller = new AbortController();
    const sizeBytes = sizeOf(effect);
    this.#attempts.set(key, controller);
    this.#bytes += sizeBytes;
    const report = await attempted(run, effect, controller.signal);
    this.#attempts.delete(key);
    this.#bytes -= sizeBytes;
    this.#guarded(() => this.#coordinator.report(run, report));
  }

  #guarded(work: () => unknown): void {
    try {
      work();
    } catch (thrown) {
      this.#fail(thrown);
    }
  }
}

function keyOf({ id }: RunRef, { step, token }: { step: string; token: number }): string {
  return `${id} ${step} ${String(token)}`;
}

/** Never rejects. */
async function attempted(run: RunRef, effect: Dispatch, signal: AbortSignal): Promise<RunReport> {
  const { step, token } = effect;
  for (;;) {
    const answer = await ask(run, effect, signal);
    const { error } = answer;
    if (signal.aborted) return { type: "settled", step, token, outcome: canceled() };
    if (!error) return { type: "settled", step, token, outcome: answer.outcome };
    if (error.code === "CELL_LOST") {
      const lost = { name: error.code, message: error.parts.found, code: error.code };
      return { type: "interrupted", attempts: [{ step, token }], where: "cell", error: lost };
    }
    if (!NOT_RUN.has(error.code)) {
      return { type: "settled", step, token, outcome: failed(error) };
    }
    const pauseMs = (error.parts.retryAfterSeconds ?? 0) * 1_000;
    await scheduler.wait(Math.min(Math.max(pauseMs, PAUSE_MS), PAUSE_MAX_MS));
  }
}

type Asked =
  | { readonly error: ErrorData }
  | { readonly error?: undefined; readonly outcome: Outcome };

async function ask(run: RunRef, effect: Dispatch, signal: AbortSignal): Promise<Asked> {
  const cell = currentCell();
  const { operation, pin, input } = effect;
  if (!cell || operation.op !== "apply" || !("value" in input)) {
    return { error: notRun("no cell around it").toData() };
  }
  const { request, body } = input.value as RunInput;
  const attempt: RunAttempt = {
    namespace: run.namespace,
    function: operation.function,
    version: pin?.version ?? 0,
    attempt: effect.attempt,
    idempotencyKey: effect.idempotencyKey,
    request,
  };
  try {
    const response = await cell.supply.attempt({
      method: "POST",
      body: frame(attempt, body),
      signal,
    });
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (!response.ok) return { error: notRun(`status ${String(response.status)}`).toData() };
    const { head, body: answer } = unframe(bytes);
    const told = head as RunAttempted;
    return told.ok ? { outcome: settled(told.output, answer) } : { error: told.error };
  } catch (thrown) {
    // The gateway died, or was not there; what it had begun ended with its connection.
    return { error: notRun(String(thrown).slice(0, 200)).toData() };
  }
}

function settled(output: RunOutputHead, body: Uint8Array): Outcome {
  if (output.status >= FAILURE_STATUS) {
    const message = `the function answered with status ${String(output.status)}`;
    return { ok: false, error: { name: "Error", message, code: "FUNCTION_ERROR" } };
  }
  if (body.byteLength > RUN_BODY_MAX_BYTES) {
    const message =
      `a result of ${String(body.byteLength)} bytes, ` +
      `where a run keeps at most ${String(RUN_BODY_MAX_BYTES)}`;
    return {
      ok: false,
      error: { name: "RESULT_INVALID", message, code: "RESULT_INVALID", isFinal: true },
    };
  }
  return { ok: true, output: { value: { output, body } satisfies RunOutput } };
}

/** What the caller did wrong stays wrong, however often it is tried. */
function failed({ code, parts }: ErrorData): Outcome {
  const isFinal = ERRORS[code].fault === "caller";
  const message = parts.found;
  return { ok: false, error: { name: code, message, code, ...(isFinal && { isFinal }) } };
}

function sizeOf({ input }: Dispatch): number {
  return "value" in input ? (input.value as RunInput).body.byteLength : 0;
}

function tooMany(name: string): IsolaError {
  return new IsolaError("QUEUE_FULL", {
    attempted: `call ${name} asynchronously`,
    found: "as many runs under way as the shard takes",
    required: `fewer than ${String(ATTEMPTS_MAX)} runs and ${String(BYTES_MAX)} bytes of requests`,
    retryAfterSeconds: 1,
  });
}

function canceled(): Outcome {
  return { ok: false, error: { name: "Canceled", message: "the attempt was ended" } };
}

function notRun(found: string): IsolaError {
  return new IsolaError("CELL_RESTARTING", { attempted: "attempt a step", found });
}
