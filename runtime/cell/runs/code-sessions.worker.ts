/**
 * Sessions of workflows in code form, in the shard's actor: one run of the code from its beginning
 * until it is parked, has ended, or is lost.
 *
 * X1 A session talks under the id of a call of its own, which only its isolate's scope can name;
 *    what it says is heard as long as it is the run's current session.
 * X2 An attempt of `do` or `rollback` is an order to the session. A session that is lost interrupts
 *    its attempts after the run knows of the loss, so that they are made in the next session.
 * X3 Orders are given in the order in which their effects left: answers decide races (C1).
 */
import { exports } from "cloudflare:workers";
import {
  type CallEnvelope,
  type CodeAnswer,
  type CodeBridge,
  type CodeError,
  type CodeOrder,
  type CodeOutcome,
  type CodeReport,
  type ErrorCode,
  IsolaError,
  blockBoundMs,
  formatTraceparent,
  functionKey,
  newCallId,
  sizeOfValue,
  traceOfRun,
} from "../../contract/index.ts";
import type {
  Held,
  Outcome,
  RunHome,
  RunRef,
  RunReport,
  RunRequest,
} from "../../../workflow/index.ts";
import { type Cell, currentCell } from "../cell.worker.ts";
import type { CodeDriven, CodeSession } from "./code-driver.worker.ts";
import { closeStepCall } from "./code-step-call.worker.ts";
import { BridgeTarget, Session, answerOrder, toCode } from "./code-session.worker.ts";
import { lossOf } from "./held-values.ts";
import type { Attempter, Dispatch, EffectOf, RunsDesk } from "./performers.ts";
import { targetOf } from "./targets.worker.ts";

/** How long nothing happens in a session until it is idle, and may be parked. */
const IDLE_MS = 2_000;
/** Of known outcomes that a session begins with. */
const KNOWN_MAX_BYTES = 8 * 1024 * 1024;
/** Between two tries of what did not get to run, and of sessions that are lost again and again. */
const PAUSE_MS = 500;
const PAUSE_MAX_MS = 10_000;
/** What an isolate has to return when its session is over. */
const CLOSE_GRACE_MS = 1_000;

/** The session did not begin: nothing happened that would count. */
const NOT_RUN: ReadonlySet<ErrorCode> = new Set(["CELL_RESTARTING", "CAPACITY", "QUEUE_FULL"]);

interface Driver {
  code(session: CodeSession): Promise<CodeDriven>;
}

const entrypoints = exports as unknown as { Driver(options: { props: object }): Driver };

/** What came of a step, as the journal has it. */
export interface KnownOutcome {
  readonly step: string;
  readonly outcome: Outcome;
}

/** What sessions have of their shard. */
export interface CodeDesk extends RunsDesk {
  /** Of a run. */
  shardOf(id: string): number;
  /** When the run began, for the event that its code gets. */
  startedAtMs(run: RunRef): number;
  /** What a value is. Errors: `VALUE_LOST`, `COLD_UNAVAILABLE`. */
  resolve(run: RunHome, held: Held): Promise<unknown>;
  /** Outcomes that the run's journal knows, in its order. */
  outcomes(run: RunHome): readonly KnownOutcome[];
  /** A value as the run keeps it. Errors: `VALUE_INVALID`, `BODY_TOO_LARGE`, `STORE_FULL`. */
  hold(run: RunHome, value: unknown): Promise<Held>;
}

export class CodeSessions {
  readonly #desk: CodeDesk;
  readonly #sessions = new Map<string, Session>();
  readonly #byCall = new Map<string, Session>();

  constructor(desk: CodeDesk) {
    this.#desk = desk;
  }

  /** The end of a session for the isolate that runs it. Errors: `CONFLICT`. */
  open(callId: string): CodeBridge {
    const session = this.#ofCall(callId);
    return new BridgeTarget(session, session.hear ?? ((of, reports) => this.#hear(of, reports)));
  }

  /** Whose session it is. Errors: `CONFLICT`. */
  runOf(callId: string): RunRef {
    return this.#ofCall(callId).run;
  }

  /** A session of a replay, which belongs to no run. Ends it by the function that it answers. */
  adopt(session: Session): () => void {
    this.#byCall.set(session.callId, session);
    return () => this.#byCall.delete(session.callId);
  }

  #ofCall(callId: string): Session {
    const session = this.#byCall.get(callId);
    if (session) return session;
    throw new IsolaError("CONFLICT", { attempted: "run a workflow", found: "its run is over" });
  }

  /** Performs `runCode`. */
  run(run: RunHome, request: RunRequest, effect: EffectOf<"runCode">): void {
    this.#end(this.#sessions.get(run.id));
    const cell = currentCell();
    if (!cell) return;
    const session = new Session(run, effect.session, newCallId(cell.random));
    this.#sessions.set(run.id, session);
    this.#byCall.set(session.callId, session);
    const answers = knownAnswers(this.#desk.outcomes(run));
    session.known = answers.length;
    if (answers.length > 0) session.order({ type: "known", answers });
    void this.#drive(cell, session, request, effect.losses);
  }

  /** Performs `answerStep`. */
  answer(run: RunHome, effect: EffectOf<"answerStep">): void {
    const session = this.#sessions.get(run.id);
    if (session?.number !== effect.session) return;
    if (session.known > 0) session.known -= 1;
    else session.orderRead(answerOrder(this.#desk, run, effect));
  }

  /** Performs `parkCode`. */
  park(run: RunRef, { session: number }: EffectOf<"parkCode">): void {
    const session = this.#sessions.get(run.id);
    if (session?.number === number) this.#end(session);
  }

  /** The run has ended: so has its session. */
  ended(run: Pick<RunRef, "id">): void {
    this.#end(this.#sessions.get(run.id));
  }

  /** Attempts `do` and `rollback` in the run's session. */
  readonly attempt: Attempter = async (run, _request, effect, signal) => {
    const { step, token } = effect;
    const session = this.#sessions.get(run.id);
    if (!session) return interrupted(effect);
    return new Promise((resolve) => {
      const key = keyOf(effect);
      const settle = (report: RunReport): void => {
        if (!session.attempts.delete(key)) return;
        resolve(report);
      };
      session.attempts.set(key, settle);
      session.orderRead(orderOf(effect));
      signal.addEventListener("abort", () => {
        session.order({ type: "abort", step, token });
        void scheduler.wait(CLOSE_GRACE_MS).then(() => settle(canceled(effect)));
      });
    });
  };

  async #drive(cell: Cell, session: Session, request: RunRequest, losses: number): Promise<void> {
    if (losses > 1) await scheduler.wait(Math.min(PAUSE_MS * 2 ** (losses - 2), PAUSE_MAX_MS));
    while (!session.isOver) {
      const driven = await this.#driven(cell, session, request);
      if (session.isOver) return;
      const error = driven.ok ? undefined : driven.error;
      if (error?.code === "DRAINING") return;
      if (error && !driven.ok && !driven.isLoaded) {
        if (NOT_RUN.has(error.code)) {
          await scheduler.wait(PAUSE_MS);
          continue;
        }
        const outcome: Outcome = {
          ok: false,
          error: { name: error.code, message: error.parts.found, code: error.code, isFinal: true },
        };
        const { number, run } = session;
        this.#desk.report(run, { type: "codeEnded", session: number, outcome });
        return;
      }
      this.#lose(session);
    }
  }

  async #driven(cell: Cell, session: Session, request: RunRequest): Promise<CodeDriven> {
    const { run, callId } = session;
    try {
      await cell.routing();
      const envelope = await envelopeOf(cell, run, request, callId);
      return await entrypoints.Driver({ props: {} }).code({
        envelope,
        shard: this.#desk.shardOf(run.id),
        epoch: run.epoch,
        event: {
          payload: await this.#desk.resolve(run, request.input),
          timestampMs: this.#desk.startedAtMs(run),
          instanceId: request.instance ?? run.id,
          workflowName: request.workflow,
          idleMs: IDLE_MS,
        },
      });
    } catch (thrown) {
      const error =
        thrown instanceof IsolaError
          ? thrown
          : new IsolaError("CELL_RESTARTING", {
              attempted: `run ${request.workflow}`,
              found: String(thrown).slice(0, 200),
            });
      return { ok: false, error: error.toData(), isLoaded: false };
    }
  }

  /** X2 */
  #lose(session: Session): void {
    const { run, number } = session;
    this.#desk.report(run, { type: "codeLost", session: number });
    this.#end(session);
  }

  #end(session: Session | undefined): void {
    if (!session || session.isOver) return;
    session.isOver = true;
    for (const [key, settle] of [...session.attempts]) {
      const [step = "", token = ""] = key.split("\n");
      settle(interrupted({ step, token: Number(token) }));
    }
    if (this.#sessions.get(session.run.id) === session) this.#sessions.delete(session.run.id);
    this.#byCall.delete(session.callId);
    session.order({ type: "close" });
    void scheduler.wait(CLOSE_GRACE_MS).then(() => {
      currentCell()?.live.get(session.callId)?.finish("disconnect");
    });
  }

  #hear(session: Session, reports: readonly CodeReport[]): void {
    session.inbox.push(...reports);
    if (!session.isHearing) void this.#hearAll(session);
  }

  /** In order; whatever is heard may end the session. */
  async #hearAll(session: Session): Promise<void> {
    const { run, number, inbox } = session;
    session.isHearing = true;
    for (let next = inbox.shift(); next && !session.isOver; next = inbox.shift()) {
      const value = valueIn(next);
      try {
        const held = value === undefined ? NOTHING : await this.#desk.hold(run, value);
        if (!session.isOver) this.#hearOne(session, next, held);
      } catch (thrown) {
        const error = { ...lossOf(thrown, "keep a value"), isFinal: true as const };
        const outcome = { ok: false, error } as const;
        this.#desk.report(run, { type: "codeEnded", session: number, outcome });
      }
    }
    session.isHearing = false;
  }

  #hearOne(session: Session, report: CodeReport, held: Held): void {
    const { run, number } = session;
    switch (report.type) {
      case "called": {
        const { step, operation } = report;
        this.#desk.report(run, {
          type: "stepCalled",
          session: number,
          step,
          // Looked at by the run, as it comes from an isolate.
          operation: operation as never,
          ...(held !== NOTHING && { input: held }),
        });
        return;
      }
      case "settled": {
        const { step, token, outcome } = report;
        const settle = session.attempts.get(keyOf({ step, token }));
        settle?.({ type: "settled", step, token, outcome: toOutcome(outcome) });
        const cell = currentCell();
        if (cell) closeStepCall(cell, cell.live.get(session.callId), { step, token });
        return;
      }
      case "ended":
        this.#desk.report(run, {
          type: "codeEnded",
          session: number,
          outcome: report.outcome.ok ? { ok: true, output: held } : report.outcome,
        });
        return;
      case "idle":
        this.#desk.report(run, {
          type: "codeIdle",
          session: number,
          quietMs: report.quietMs,
        });
        return;
      default:
    }
  }
}

const keyOf = ({ step, token }: { readonly step: string; readonly token: number }): string =>
  `${step}\n${String(token)}`;

/** Those that are at hand, from the first on, as many as one message bears. */
function knownAnswers(outcomes: readonly KnownOutcome[]): CodeAnswer[] {
  const answers: CodeAnswer[] = [];
  let bytes = 0;
  for (const { step, outcome } of outcomes) {
    if (!outcome.ok) {
      answers.push({ step, outcome: { ok: false, error: toCode(outcome.error) } });
      continue;
    }
    const { output } = outcome;
    if (!("value" in output)) break;
    bytes += sizeOfValue(output.value);
    if (bytes > KNOWN_MAX_BYTES) break;
    answers.push({ step, outcome: { ok: true, output: output.value } });
  }
  return answers;
}

const NOTHING: Held = { value: undefined };

/** A value that goes into the journal with the report, other than a step's result. */
function valueIn(report: CodeReport): unknown {
  if (report.type === "called") return report.input;
  return report.type === "ended" && report.outcome.ok ? report.outcome.output : undefined;
}

/** What a rollback is called with; values were read before. */
interface RollbackGiven {
  readonly output?: unknown;
  readonly error?: CodeError;
}

function orderOf(effect: Dispatch): CodeOrder {
  const { step, token, attempt, operation, input, idempotencyKey } = effect;
  if (operation.op !== "rollback") return { type: "attempt", step, token, attempt, idempotencyKey };
  const given = "value" in input ? (input.value as RollbackGiven) : {};
  return { type: "rollback", step, of: operation.step, token, attempt, ...given };
}

function toOutcome(told: CodeOutcome): Outcome {
  return told.ok ? { ok: true, output: { value: told.output } } : told;
}

function interrupted({
  step,
  token,
}: {
  readonly step: string;
  readonly token: number;
}): RunReport {
  const error = { name: "IsolateLost", message: "the isolate of the workflow is gone" };
  return { type: "interrupted", attempts: [{ step, token }], where: "cell", error };
}

function canceled({ step, token }: Dispatch): RunReport {
  const error = { name: "Canceled", message: "the attempt was ended" };
  return { type: "settled", step, token, outcome: { ok: false, error } };
}

/** Errors: those of `targetOf`. */
async function envelopeOf(
  cell: Cell,
  { id, namespace: ns }: RunRef,
  { workflow: fn, version, chain = [], headers }: RunRequest,
  callId: string,
): Promise<CallEnvelope> {
  const target = await targetOf(cell, { namespace: ns, name: fn, version });
  return {
    id: callId,
    ns,
    fn,
    v: target.version,
    dl: 0,
    // What the code calls hangs under the run itself.
    tp: formatTraceparent(traceOfRun(id, headers["traceparent"])),
    at: 1,
    ik: id,
    ch: chain.map((name) => functionKey(ns, name)),
    sg: target.secretsGeneration,
    fr: 0,
    mb: blockBoundMs(cell.table.namespace(ns), target),
  };
}
