/**
 * The runs of a shard: the coordinator over the shard's log, and what carries its effects out.
 *
 * R1 A run is answered when it is on disk (G1); from then on its attempts are made until it ends.
 * R2 Effects are carried out by a table of performers; each answers by a report (performers.ts).
 * R3 Runs that an attempt starts are staged with it: they begin in the commit of its step, or never
 *    (G2).
 */
import {
  type InstanceAnswer,
  type InstanceAsk,
  IsolaError,
  type ReplayAsk,
  type RunsReplayed,
  type RunAnswers,
  type RunAsk,
  type RunCallback,
  type RunStart,
  type RunStepRef,
  type RunTold,
  assert,
  shardOfJob,
  systemClock,
  systemRandom,
} from "../../contract/index.ts";
import {
  type CallbackResult,
  type ChildEffect,
  Coordinator,
  type Held,
  type Mail,
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
import { applyStep } from "./apply-step.worker.ts";
import { Attempts, ROOM } from "./attempts.worker.ts";
import { type CallInput, type CallOutput, attemptCall } from "./async-call.worker.ts";
import { type CallbackContent, callBack, shownTo } from "./callbacks.worker.ts";
import { CodeSessions, type KnownOutcome } from "./code-sessions.worker.ts";
import { replayOpenRuns } from "./deploy-replay.worker.ts";
import { callHooks, knownPlan, planRun } from "./flow-driver.worker.ts";
import { callsWithValues, heldResults, lossOf, withValues } from "./held-values.ts";
import type {
  Attempter,
  Attempters,
  EffectOf,
  Performer,
  Performers,
  RunsDesk,
} from "./performers.ts";
import { drawDefinition } from "./draw-definition.worker.ts";
import { deliverEvent } from "./events-sent.worker.ts";
import { type Asked, answerInstance } from "./instances.worker.ts";
import { LineWaiters } from "./line-waiters.ts";
import { type StartAgain, answerAsk } from "./run-admin.worker.ts";
import { requestStep } from "./request-step.worker.ts";
import { spanOfRun } from "./run-span.worker.ts";
import { remakeOf } from "./remake.ts";
import type { Remake, RunJobs } from "./run-store.ts";
import { StagedEffects } from "./staged-effects.ts";
import { requestAgain, startRequest } from "./start-request.ts";
import { askForWorkflow, describeWorkflow } from "./targets.worker.ts";
import { type Ended, Waiters } from "./waiters.worker.ts";

/** What is known of a run that is told of. */
interface ToldRun {
  readonly id: string;
  readonly namespace: string;
  readonly workflow: string;
  /** Of a workflow. */
  readonly version?: number;
  readonly status: string;
  readonly ended?: Ended;
}

/** How long ended runs are kept, and how many. */
export interface RunsKept {
  readonly keptMs?: number;
  readonly keptRuns?: number;
  /** How long a callback is tried after the end of its run. */
  readonly callbackLastsMs?: number;
}

export class Runs implements RunsDesk {
  readonly #log: CommitLog;
  readonly #jobs: RunJobs;
  readonly #coordinator: Coordinator;
  readonly #fail: (reason: unknown) => void;
  readonly #performers: Performers;
  readonly #attempts: Attempts;
  readonly #attempters: Attempters;
  /** Sessions of workflows in code form. */
  readonly code: CodeSessions;
  readonly #waiters = new Waiters();
  readonly #staged = new StagedEffects();
  readonly #lineWaiters = new LineWaiters();
  #dueAtMs: number | undefined;

  /** Opens synchronously. @param fail ends the actor. */
  constructor(log: CommitLog, jobs: RunJobs, fail: (reason: unknown) => void, kept: RunsKept = {}) {
    this.#log = log;
    this.#jobs = jobs;
    this.#fail = fail;
    this.code = this.#makeSessions();
    this.#performers = this.#makePerformers();
    this.#attempters = this.#makeAttempters();
    this.#attempts = this.#makeAttempts();
    const timers = new ActorTimers(
      () => systemClock.now(),
      () => this.#guarded(() => this.#coordinator.wake()),
    );
    const wakeAt = (atMs: number | undefined): void => {
      this.#dueAtMs = atMs;
      timers.wakeAt(atMs);
    };
    this.#coordinator = new Coordinator(
      {
        sql: log,
        log,
        clock: systemClock,
        random: systemRandom,
        timers: { wakeAt },
        codec: { encode: encodeValue, decode: decodeValue },
        outside: {
          describe: describeWorkflow,
          planned: knownPlan,
          isWaiting: (run, attempt) => this.#attempts.isWaiting(run, attempt),
          perform: (run, request, effect) => this.#perform(run, request, effect),
          deliver: (mail, number) => void this.#deliver(mail, number),
        },
        store: jobs,
        takeStaged: (run, step, token, isCommit) => this.#staged.take(run, step, token, isCommit),
        noted: (id) => this.#lineWaiters.noted(id),
      },
      kept,
    );
    jobs.sweep((id) => this.#coordinator.find(id) !== undefined);
  }

  /** Something is under way that ends with the process. */
  get isBusy(): boolean {
    return this.#coordinator.isBusy;
  }

  /** When something that waits is due. */
  get dueAtMs(): number | undefined {
    return this.#dueAtMs;
  }

  get openedPosition(): number {
    return this.#coordinator.openedPosition;
  }

  /**
   * Resolves when the run is on disk; then it may wait for its end. Errors: `KEY_REUSED`,
   * `QUEUE_FULL`; those of holding its input.
   *
   * @param input octets of an asynchronous call, a value for a workflow.
   */
  async start(start: RunStart, input: unknown): Promise<RunTold> {
    const { id, namespace, function: name, workflow, request, byFunction } = start;
    if (!this.#attempts.hasRoom(namespace)) throw tooMany(name);
    const isValue = workflow !== undefined || byFunction !== undefined;
    const given = isValue ? input : ({ request, body: input as Uint8Array } satisfies CallInput);
    const isKnown = this.#coordinator.find(id) !== undefined;
    const home = { id, namespace, workflow: name, durability: "step", epoch: 0 } as const;
    // A start that is repeated finds its input held.
    const holding = isKnown ? undefined : await this.#jobs.holdInput(home, given);
    const held = holding?.held ?? { value: undefined };
    try {
      const asked = startRequest(start, held);
      const attempt = byFunction && this.#attemptOf(byFunction);
      if (attempt) {
        this.#jobs.checkOpen({ id: attempt.run, namespace }, attempt);
        this.#staged.start(attempt, asked, holding);
        return { id, namespace, function: name, status: "queued" };
      }
      const { value, position } = this.#coordinator.start(asked);
      if (value.isNew) holding?.keep();
      else holding?.drop();
      const { waitMs = 0 } = workflow ?? {};
      if (!value.isNew || !workflow) {
        await this.#log.committed(position);
        return await this.find(value.id, waitMs);
      }
      // Whoever waits hears of the end after its commit, which comes after that of the start.
      const ended = waitMs > 0 ? await this.#waiters.wait(id, waitMs) : undefined;
      if (!ended) await this.#log.committed(position);
      return await this.#told({ ...this.#startedRun(start), ...(ended && { ended }) });
    } catch (thrown) {
      holding?.drop();
      throw thrown;
    }
  }

  /** Answers the position. */
  endNamespace(namespace: string): number {
    return this.#coordinator.endNamespace(namespace).position;
  }

  /** Waits for the run's end at most so long. Errors: `RUN_NOT_FOUND`. */
  async find(id: string, waitMs: number): Promise<RunTold> {
    let found = this.#view(id);
    if (waitMs > 0 && !found.ended) {
      const ended = await this.#waiters.wait(id, waitMs);
      found = ended ? { ...found, ended } : this.#view(id);
    }
    // What is told of a run is on disk (G9).
    await this.#log.committed(this.#log.position);
    return this.#told(found);
  }

  /** The attempt that a start is staged with; undefined outside of runs. Errors: `CONFLICT`. */
  #attemptOf({ attempt, session }: NonNullable<RunStart["byFunction"]>): RunStepRef | undefined {
    if (!session) return attempt;
    const { call, step, token } = session;
    const { id, epoch } = this.code.runOf(call);
    return { run: id, step, token, epoch, call: "" };
  }

  #startedRun({ id, namespace, function: workflow, version }: RunStart): ToldRun {
    return { id, namespace, workflow, version, status: "running" };
  }

  #view(id: string): ToldRun {
    const found = this.#coordinator.find(id);
    if (found) return found;
    throw new IsolaError("RUN_NOT_FOUND", { attempted: `find the run ${id}`, found: "none" });
  }

  async #told(found: ToldRun): Promise<RunTold> {
    const { id, namespace, workflow, version, ended } = found;
    const status = ended?.status ?? found.status;
    const { output, error } = ended ?? {};
    const base = { id, namespace, function: workflow, status };
    if (error) {
      const { message, code, step } = error;
      const told = { message, ...(code && { code }), ...(step !== undefined && { step }) };
      return { ...base, ...(version !== undefined && { version }), error: told };
    }
    if (!output) return { ...base, ...(version !== undefined && { version }) };
    const value = await this.#valueOf({ id, namespace }, output);
    if (version !== undefined) return { ...base, version, result: { value } };
    const call = value as CallOutput;
    return { ...base, output: call.output, body: call.body };
  }

  /** A value of a run; one that was lost with memory is made again (G5). */
  async #valueOf({ id, namespace }: Pick<RunHome, "id" | "namespace">, held: Held) {
    if ("value" in held) return held.value;
    const { request, state } = this.#coordinator.inspect(namespace, id);
    const durability = state.plan?.durability ?? "step";
    const { epoch } = this.#coordinator;
    const home = { id, namespace, workflow: request.workflow, durability, epoch };
    return this.#jobs.resolve(home, held, this.#remake(home, request));
  }

  /** What operators ask and tell: see run-admin.worker.ts. */
  ask(namespace: string, asked: RunAsk): Promise<RunAnswers[RunAsk["ask"]]> {
    const desk = {
      coordinator: this.#coordinator,
      log: this.#log,
      waiters: this.#lineWaiters,
      startAgain: this.#startAgain.bind(this),
      draw: drawDefinition,
      replay: (ask: ReplayAsk) => this.#replay(ask),
    };
    return answerAsk(desk, namespace, asked);
  }

  report(run: RunRef, report: RunReport): void {
    this.#guarded(() => this.#coordinator.report(run, report));
  }

  /**
   * A run of its own, with the input of another one and the function of now. Errors: `RUN_STATE`;
   * those of holding its input.
   */
  async #startAgain(
    namespace: string,
    { run, id, target, isReplay }: StartAgain,
  ): Promise<boolean> {
    if (this.#coordinator.find(id)) return false;
    const { request } = this.#coordinator.inspect(namespace, run);
    const again = requestAgain(request, run, target);
    // What is held for the first run goes with it.
    const value = await this.#jobs.resolve({ namespace }, request.input);
    const home = {
      id,
      namespace,
      workflow: request.workflow,
      durability: "step",
      epoch: 0,
    } as const;
    const holding = await this.#jobs.holdInput(home, value);
    try {
      const { value: begun } = this.#coordinator.start({
        ...again,
        id,
        namespace,
        input: holding.held,
        ...(isReplay && { replayOf: run }),
      });
      if (begun.isNew) holding.keep();
      else holding.drop();
      return begun.isNew;
    } catch (thrown) {
      holding.drop();
      throw thrown;
    }
  }

  /** Commands to instances, from bindings. Errors: those of `answerInstance`. */
  async instance(ask: InstanceAsk, value: unknown): Promise<InstanceAnswer> {
    const desk = {
      coordinator: this.#coordinator,
      log: this.#log,
      waiters: this.#lineWaiters,
      hold: (run: RunHome, given: unknown) => this.#jobs.hold(run, given),
      holdInput: (run: RunHome, given: unknown) => this.#jobs.holdInput(run, given),
      resolve: (run: { readonly namespace: string }, held: Held) => this.#jobs.resolve(run, held),
      gone: (id: string) => this.code.ended({ id }),
      stageEvent: (of: InstanceAsk, call: Asked<"stageEvent">, payload: unknown) => {
        const { namespace, workflow } = of;
        const { id: instance, type, event: id, attempt } = call;
        this.#jobs.checkOpen({ id: attempt.run, namespace }, attempt);
        this.#staged.send(attempt, { namespace, workflow, instance, type, id, payload });
      },
    };
    return answerInstance(desk, ask, value);
  }

  #outcomes(namespace: string, id: string): KnownOutcome[] {
    const { steps, code } = this.#coordinator.inspect(namespace, id).state;
    return (code?.order ?? []).flatMap((step) => {
      const outcome = steps.get(step)?.outcome;
      return outcome ? [{ step, outcome }] : [];
    });
  }

  #replay(ask: ReplayAsk): Promise<RunsReplayed> {
    const cell = currentCell();
    assert(cell !== undefined, "an actor lives in a cell");
    const desk = {
      cell,
      coordinator: this.#coordinator,
      sessions: this.code,
      resolve: (run: RunHome, held: Held) => this.#jobs.resolve(run, held),
      shardOf: (id: string) => shardOfJob(id) ?? 0,
    };
    return replayOpenRuns(desk, ask);
  }

  #makeSessions(): CodeSessions {
    return new CodeSessions({
      report: (run, report) => this.report(run, report),
      startedAtMs: (run) => this.#coordinator.definition(run.id)?.startedAtMs ?? 0,
      resolve: (run, held) => this.#valueOf(run, held),
      outcomes: ({ namespace, id }) => this.#outcomes(namespace, id),
      hold: (run, value) => this.#jobs.hold(run, value),
      shardOf: (id) => shardOfJob(id) ?? 0,
    });
  }

  #makeAttempters(): Attempters {
    return {
      apply: (run, request, effect, signal) =>
        request.version === undefined
          ? attemptCall(run, request, effect, signal)
          : applyStep(run, request, effect, signal),
      request: requestStep,
      do: this.code.attempt,
      rollback: this.code.attempt,
    };
  }

  /** Lost values are made again by attempts that are none of the run's (G5). */
  #remake(run: RunHome, request: RunRequest): Remake {
    const attempt = this.#attempters.apply;
    const report = (ref: RunRef, told: RunReport): void => this.report(ref, told);
    return remakeOf({ jobs: this.#jobs, attempt, report }, run, request);
  }

  #makeAttempts(): Attempts {
    return new Attempts({
      report: (run, report) => this.report(run, report),
      attempter: (op) => {
        const attempter = this.#attempters[op] as Attempter | undefined;
        const remakeFor = (run: RunHome, request: RunRequest) => this.#remake(run, request);
        return attempter && withValues(this.#jobs, attempter, remakeFor);
      },
      begins: (run, effect, waitedMs) => {
        this.#jobs.attempted(run, effect);
        if (waitedMs > 0) this.#guarded(() => this.#coordinator.begins(run, effect, waitedMs));
      },
    });
  }

  #makePerformers(): Performers {
    return {
      plan: (run, request) => void this.#plan(run, request),
      hooks: (run, request, effect) => void this.#callHooks(run, request, effect),
      describeChild: (run, _request, effect) => void this.#describeChild(run, effect.child),
      dispatch: (run, request, effect) => this.#attempts.add(run, request, effect),
      cancel: (run, _request, effect) => this.#attempts.cancel(run, effect),
      runCode: (run, request, effect) => this.code.run(run, request, effect),
      answerStep: (run, _request, effect) => this.code.answer(run, effect),
      parkCode: (run, _request, effect) => this.code.park(run, effect),
      ended: (run, request, { ended, startedAtMs }) => {
        this.code.ended(run);
        this.#staged.forget(run.id);
        this.#waiters.ended(run.id, ended);
        tellSpan(run, request, ended, startedAtMs);
      },
      callback: (run, _request, effect) => void this.#callBack(run, effect.callback),
    };
  }

  #perform(run: RunHome, request: RunRequest, effect: OutwardEffect): void {
    // The name and what it carries belong together, which the union says and a lookup not.
    const perform = this.#performers[effect.do] as Performer<OutwardEffect["do"]>;
    perform(run, request, effect);
  }

  async #plan(run: RunHome, request: RunRequest): Promise<void> {
    try {
      const context = await this.#context(run, request);
      if (context) this.report(run, await planRun(context));
    } catch (thrown) {
      // Its input is gone: that of a run whose parent has ended, for one.
      const error = { ...lossOf(thrown, "plan the run"), isFinal: true as const };
      this.report(run, { type: "planFailed", error });
    }
  }

  async #callHooks(run: RunHome, request: RunRequest, effect: EffectOf<"hooks">): Promise<void> {
    const { batch } = effect;
    try {
      const context = await this.#context(run, request);
      if (!context?.plan) return;
      const calls = await callsWithValues(
        this.#jobs,
        run,
        effect.calls,
        this.#remake(run, request),
      );
      const report = await callHooks(context, context.plan, { batch, calls });
      if (report.type !== "hooksReturned") this.report(run, report);
      else {
        const results = await heldResults(this.#jobs, run, report.results);
        this.report(run, { ...report, results });
      }
    } catch (thrown) {
      const error = { ...lossOf(thrown, "call hooks"), isFinal: true as const };
      this.report(run, { type: "hooksFailed", batch, error });
    }
  }

  /** Undefined: the run is over. */
  async #context(run: RunHome, request: RunRequest) {
    const definition = this.#coordinator.definition(run.id);
    if (!definition) return undefined;
    const { plan, startedAtMs } = definition;
    const input = await this.#valueOf(run, definition.input);
    return { run, request, plan, startedAtMs, input };
  }

  async #describeChild(run: RunHome, child: ChildEffect): Promise<void> {
    const kind = await askForWorkflow(run, child);
    this.#guarded(() => this.#coordinator.childDescribed(run, child, kind));
  }

  async #deliver(mail: Mail, number: number): Promise<void> {
    const cell = currentCell();
    const result = cell ? await deliverEvent(cell, mail) : undefined;
    if (result) this.#guarded(() => this.#coordinator.sent(number, result));
  }

  async #callBack(run: RunHome, callback: RunCallback): Promise<void> {
    const cell = currentCell();
    assert(cell !== undefined, "an actor lives in a cell");
    const desk = {
      sizeBytes: (id: string) => {
        const { output } = this.#coordinator.find(id)?.ended ?? {};
        return output && "ref" in output ? output.sizeBytes : 0;
      },
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
    const { found, body } = await shownTo(await this.find(id, 0));
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

/** What carries it belongs to the actor, whose work goes on by itself. */
function tellSpan(run: RunHome, request: RunRequest, ended: Ended, startedAtMs: number): void {
  const span = spanOfRun({ run, request, ended, startedAtMs, endedAtMs: systemClock.now() });
  currentCell()?.telemetry.addSpan({ waitUntil: () => undefined }, span);
}

function tooMany(name: string): IsolaError {
  return new IsolaError("QUEUE_FULL", {
    attempted: `call ${name} asynchronously`,
    found: "as many runs of its namespace under way as the shard takes",
    required: `fewer than ${String(ROOM.runs)} runs and ${String(ROOM.bytes)} bytes of requests`,
    retryAfterSeconds: 1,
  });
}
