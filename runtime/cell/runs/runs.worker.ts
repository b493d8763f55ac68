/**
 * The runs of a shard: the coordinator over the shard's log, and what carries its effects out.
 *
 * R1 A run is answered when it is on disk (G1); from then on its attempts are made until it ends.
 * R2 Effects are carried out by a table of performers; each answers by a report (performers.ts).
 * R3 Of an asynchronous call each attempt has a store job of its own, as a call has: what a failed
 *    one put is gone.
 */
import {
  IsolaError,
  type RunCallback,
  type RunAnswers,
  type RunAsk,
  type RunFound,
  type RunStart,
  assert,
  systemClock,
  systemRandom,
} from "../../contract/index.ts";
import {
  type CallbackResult,
  Coordinator,
  type OutwardEffect,
  type RunHome,
  type RunRef,
  type RunReport,
  type RunRequest,
} from "../../../workflow/index.ts";
import { currentCell } from "../cell.worker.ts";
import type { CommitLog } from "../shard/commit-log.ts";
import { ActorTimers } from "../shard/system-timers.worker.ts";
import { warn } from "../stdout.worker.ts";
import { decodeValue, encodeValue } from "../value-codec.ts";
import { type CallInput, type CallOutput, attemptCall } from "./async-call.worker.ts";
import { type CallbackContent, callBack } from "./callbacks.worker.ts";
import { withValues } from "./held-values.ts";
import type { RunJobs } from "./run-store.ts";
import { LineWaiters } from "./line-waiters.ts";
import type {
  Attempter,
  Attempters,
  Dispatch,
  Performer,
  Performers,
  RunsDesk,
} from "./performers.ts";
import { type StartAgain, answerAsk, unbounded } from "./run-admin.worker.ts";

/** Node of the one step that an asynchronous call is. */
const NODE = "call";
/** Attempts under way, and the octets of their requests; beyond, runs are refused (G8). */
const ATTEMPTS_MAX = 2_000;
const BYTES_MAX = 64 * 1024 * 1024;

export class Runs implements RunsDesk {
  readonly #log: CommitLog;
  readonly #jobs: RunJobs;
  readonly #coordinator: Coordinator;
  readonly #fail: (reason: unknown) => void;
  readonly #performers: Performers;
  readonly #attempters: Attempters;
  /** Attempts under way. */
  readonly #attempts = new Map<string, AbortController>();
  #bytes = 0;
  readonly #waiters = new LineWaiters();

  /** Opens synchronously. @param fail ends the actor. */
  constructor(log: CommitLog, jobs: RunJobs, fail: (reason: unknown) => void) {
    this.#log = log;
    this.#jobs = jobs;
    this.#fail = fail;
    this.#performers = this.#makePerformers();
    this.#attempters = {
      apply: (run, _request, effect, signal) => attemptCall(run, effect, signal),
      request: unattempted,
      do: unattempted,
      rollback: unattempted,
    };
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
        perform: (run, request, effect) => this.#perform(run, request, effect),
      },
      store: jobs,
      noted: (id) => this.#waiters.noted(id),
    });
    jobs.sweep((id) => this.#coordinator.find(id) !== undefined);
  }

  get openedPosition(): number {
    return this.#coordinator.openedPosition;
  }

  /** Errors: `KEY_REUSED`, `QUEUE_FULL`. */
  async start(start: RunStart, body: Uint8Array): Promise<{ readonly id: string }> {
    const { id, namespace, function: name, version, retry, key, callback, request } = start;
    if (this.#attempts.size >= ATTEMPTS_MAX || this.#bytes >= BYTES_MAX) throw tooMany(name);
    const { value, position } = this.#coordinator.start({
      id,
      namespace,
      workflow: name,
      form: "dag",
      input: { value: { request, body } satisfies CallInput },
      query: {},
      headers: {},
      revision: 0,
      ...(key && { key }),
      ...(callback && { callback }),
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
    const result = output && ((await this.#jobs.resolve(found, output)) as CallOutput);
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

  /** What operators ask and tell: see run-admin.worker.ts. */
  ask(namespace: string, asked: RunAsk): Promise<RunAnswers[RunAsk["ask"]]> {
    const desk = {
      coordinator: this.#coordinator,
      log: this.#log,
      waiters: this.#waiters,
      startAgain: this.#startAgain.bind(this),
    };
    return answerAsk(desk, namespace, asked);
  }

  report(run: RunRef, report: RunReport): void {
    this.#guarded(() => this.#coordinator.report(run, report));
  }

  /** A run of its own, with the input of another one and the functions of now. */
  #startAgain(namespace: string, { run, id, pins, isReplay }: StartAgain): boolean {
    const {
      parent: _parent,
      chain: _chain,
      replayOf: _replayOf,
      ...request
    } = this.#coordinator.inspect(namespace, run).request;
    const { planned } = request;
    const { value } = this.#coordinator.start({
      ...request,
      id,
      namespace,
      ...(isReplay && { replayOf: run }),
      ...(planned && { planned: { ...planned, pins: { ...planned.pins, ...unbounded(pins) } } }),
    });
    return value.isNew;
  }

  #makePerformers(): Performers {
    return {
      plan: nothing,
      hooks: nothing,
      dispatch: (run, request, effect) => void this.#attempt(run, request, effect),
      cancel: (run, _request, effect) => this.#attempts.get(keyOf(run, effect))?.abort(),
      runCode: nothing,
      answerStep: nothing,
      parkCode: nothing,
      ended: nothing,
      callback: (run, _request, effect) => void this.#callBack(run, effect.callback),
    };
  }

  #perform(run: RunHome, request: RunRequest, effect: OutwardEffect): void {
    // The name and what it carries belong together, which the union says and a lookup not.
    const perform = this.#performers[effect.do] as Performer<OutwardEffect["do"]>;
    perform(run, request, effect);
  }

  async #attempt(run: RunHome, request: RunRequest, effect: Dispatch): Promise<void> {
    const { op } = effect.operation;
    const attempter = this.#attempters[op as keyof Attempters] as Attempter | undefined;
    if (!attempter) return;
    const key = keyOf(run, effect);
    const controller = new AbortController();
    const sizeBytes = sizeOf(effect);
    this.#attempts.set(key, controller);
    this.#bytes += sizeBytes;
    this.#jobs.attempted(run, effect);
    const attempt = withValues(this.#jobs, attempter);
    const report = await attempt(run, request, effect, controller.signal);
    this.#attempts.delete(key);
    this.#bytes -= sizeBytes;
    this.report(run, report);
  }

  async #callBack(run: RunRef, callback: RunCallback): Promise<void> {
    const cell = currentCell();
    assert(cell !== undefined, "an actor lives in a cell");
    const desk = {
      content: (id: string) => this.#callbackContent(id),
      calledBack: async (ref: RunRef, result: CallbackResult) => {
        const { value, position } = this.#coordinator.calledBack(ref, result);
        await this.#log.committed(position);
        return value;
      },
    };
    try {
      await callBack(desk, cell, run, callback);
    } catch (thrown) {
      // It is owed until its row is gone: the next opening makes it again.
      warn(`callback of ${run.id}: ${String(thrown)}`);
    }
  }

  async #callbackContent(id: string): Promise<CallbackContent> {
    const { value: found, body = new Uint8Array(0) } = await this.find(id);
    const { startedAtMs = 0, endedAtMs = 0 } = this.#coordinator.find(id) ?? {};
    return { asked: { found, startedAtMs, endedAtMs }, body };
  }

  #guarded(work: () => unknown): void {
    try {
      work();
    } catch (thrown) {
      this.#fail(thrown);
    }
  }
}

function nothing(): void {}

async function unattempted(
  _run: RunRef,
  _request: RunRequest,
  effect: Dispatch,
): Promise<RunReport> {
  const { step, token, operation } = effect;
  const message = `${operation.op} is not attempted here`;
  const error = { name: "Error", message, code: "INTERNAL", isFinal: true as const };
  return { type: "settled", step, token, outcome: { ok: false, error } };
}

function keyOf({ id }: RunRef, { step, token }: { step: string; token: number }): string {
  return `${id} ${step} ${String(token)}`;
}

function sizeOf({ input }: Dispatch): number {
  const body = "value" in input ? (input.value as Partial<CallInput> | undefined)?.body : undefined;
  return body?.byteLength ?? 0;
}

function tooMany(name: string): IsolaError {
  return new IsolaError("QUEUE_FULL", {
    attempted: `call ${name} asynchronously`,
    found: "as many runs under way as the shard takes",
    required: `fewer than ${String(ATTEMPTS_MAX)} runs and ${String(BYTES_MAX)} bytes of requests`,
    retryAfterSeconds: 1,
  });
}
