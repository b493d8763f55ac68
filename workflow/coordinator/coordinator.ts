/**
 * The coordinator of a shard: many runs over one database, one log, one timer.
 *
 * K1 An event, its history, what it did to other runs of the shard and to the store's job are one
 *    commit (G2, G9). What leaves the shard leaves after it, in order.
 * K2 An opening makes every run that was in flight anew and tells it what ended with the process
 *    (G1, G7). Runs that wait stay on disk until their timer or an event.
 * K3 Reports of another epoch are of attempts of a former opening and change nothing.
 * K4 Under durability `run` a run begins anew after a restart, with the commands that it was
 *    given; otherwise it goes on.
 */
import { formatTraceparent, toIsolaError, traceOfRun } from "../../runtime/contract/index.ts";
import { type Plan, validatePlan } from "../builder/index.ts";
import type { AttemptRef, Effect, Outcome, RunEvent, Started } from "../engine/model.ts";
import { Run } from "../engine/run.ts";
import { CALLBACK_DEFAULTS, type CallbackStep, callbackEntry } from "./callbacks.ts";
import { Departures } from "./departures.ts";
import { DueQueue } from "./due-queue.ts";
import { migrate } from "./migrate.ts";
import type {
  Answer,
  CallbackResult,
  ChildEffect,
  CoordinatorOptions,
  CoordinatorSeams,
  FoundRun,
  HistoryPage,
  OutwardEffect,
  RunFilter,
  RunDefinition,
  RunHome,
  RunPage,
  RunRef,
  RunReport,
  RunRequest,
  RunSummary,
  StartRequest,
  WorkflowKind,
} from "./model.ts";
import { Places } from "./places.ts";
import { Retention } from "./retention.ts";
import { RunReader, type RunView, notFound } from "./run-reader.ts";
import { RunKeys } from "./run-keys.ts";
import { type Live, RunTable, isDurable, linesOf } from "./run-table.ts";
import { type RunRow, STATEMENTS } from "./schema.ts";

const DAY_MS = 24 * 60 * 60 * 1_000;
const DEFAULTS: CoordinatorOptions = {
  keptMs: 7 * DAY_MS,
  keptRuns: 100_000,
  residentRuns: 1_000,
  snapshotEvents: 256,
  ...CALLBACK_DEFAULTS,
};

/** Until the timer of an attempt that waits for its turn is looked at again. */
const LOOK_AGAIN_MS = 1_000;

/** Commands; everything else is a report of something that was in flight. */
const COMMANDS: ReadonlySet<string> = new Set([
  "signal",
  "pause",
  "resume",
  "terminate",
  "restart",
]);

export class Coordinator {
  /** Committed before anything leaves: the opening itself. */
  readonly openedPosition: number;
  readonly epoch: number;
  readonly #seams: CoordinatorSeams;
  readonly #options: CoordinatorOptions;
  readonly #table: RunTable;
  /** What is told of runs. */
  readonly reader: RunReader;
  readonly #dues = new DueQueue<number>();
  readonly #places: Places;
  readonly #departures: Departures;
  readonly keys: RunKeys;
  readonly #retention: Retention;
  /** Plans that have been checked; whoever keeps one hands the same one over for each run. */
  readonly #valid = new WeakSet<Plan>();
  /** What a transition of one run asks of another, done before the transition's commit. */
  #next: (() => void)[] = [];

  /** Opens synchronously: in the first tick of the actor, before its first answer. */
  constructor(seams: CoordinatorSeams, options: Partial<CoordinatorOptions> = {}) {
    this.#seams = seams;
    this.#options = { ...DEFAULTS, ...options };
    const { sql, codec } = seams;
    migrate(sql);
    this.epoch = (sql.all(STATEMENTS.settingGet, "epoch")[0]?.value ?? 0) + 1;
    sql.all(STATEMENTS.settingPut, "epoch", this.epoch);
    this.#table = new RunTable(sql, codec);
    this.reader = new RunReader(sql, codec, this.#table);
    this.#departures = new Departures(seams, this.epoch, this.#options);
    this.keys = new RunKeys(sql);
    this.#retention = new Retention(sql, this.#options);
    this.#places = new Places(sql);
    for (const row of sql.all(STATEMENTS.runsOpen)) {
      const { number, namespace, workflow, status, dueAtMs, isBusy } = row;
      this.#places.known(namespace, workflow, number, status === "queued" && isBusy === 0);
      if (isBusy === 1) this.#recover(number);
      else this.#dues.set(number, dueAtMs ?? undefined);
    }
    this.#settle();
    this.openedPosition = seams.log.position;
  }

  /**
   * Starts a run, or answers the one that the key, or the id, names already.
   *
   * @throws IsolaError `KEY_REUSED` if the key came with another request; `RUN_NOT_FOUND` or
   *   `RUN_STATE` if it replays a run that is not there, or has not failed.
   */
  start(start: StartRequest): Answer<{ readonly id: string; readonly isNew: boolean }> {
    const { id, namespace, key, ...request } = start;
    const known = key ? this.keys.run(start, key) : this.#table.has(id) && id;
    if (typeof known === "string") return this.#answer({ id: known, isNew: false });
    const failed = request.replayOf && this.reader.failed(namespace, request.replayOf);
    const live = this.#begin(id, namespace, request);
    if (failed) this.#table.replay(failed.number, live);
    if (key) this.keys.put(start, key, live.number, this.#seams.clock.now());
    this.#settle();
    return this.#answer({ id, isNew: true });
  }

  /**
   * Tells a run something. Reports that come too late change nothing.
   *
   * @throws IsolaError `RUN_NOT_FOUND`, `RUN_STATE`, `STEP_NOT_FOUND`, `QUOTA_EXCEEDED`,
   *   `REQUEST_INVALID` for a command; nothing has changed then.
   */
  report(ref: Omit<RunRef, "epoch"> & { epoch?: number }, report: RunReport): Answer<undefined> {
    const isCommand = COMMANDS.has(report.type);
    // What is in memory is as the rows say (J1), and most reports are of runs that are.
    const known = this.#table.resident(ref.id);
    const row = known ? undefined : this.#table.row(ref.id);
    if ((known ?? row)?.namespace !== ref.namespace) {
      if (isCommand) throw notFound(ref.id);
      return this.#answer(undefined);
    }
    const isLate = ref.epoch !== undefined && ref.epoch !== this.epoch;
    const hasEnded = known ? known.run.state.ended !== undefined : row?.endedAtMs !== null;
    if (!isCommand && (isLate || hasEnded)) return this.#answer(undefined);
    const live = known ? this.#armed(known) : row && this.#loaded(row);
    if (live) this.#apply(live, this.#checked(report));
    else if (isCommand) throw notFound(ref.id);
    this.#settle();
    return this.#answer(undefined);
  }

  /** What came of a callback; undefined if nobody is owed it any more. */
  calledBack(ref: RunRef, result: CallbackResult): Answer<CallbackStep | undefined> {
    const row = this.#table.row(ref.id);
    if (!row || ref.epoch !== this.epoch) return this.#answer(undefined);
    const stamp = this.#stamp();
    const { number, namespace } = row;
    const step = this.#departures.callbacks.settled(number, namespace, result, stamp);
    if (step) this.#table.note(number, callbackEntry(stamp.atMs, step, result));
    this.#settle();
    return this.#answer(step);
  }

  /** What was asked about a workflow that a run invokes; undefined: there is none. */
  childDescribed(ref: RunRef, child: ChildEffect, kind: WorkflowKind | undefined): void {
    const row = this.#table.row(ref.id);
    const parent = row?.endedAtMs === null && ref.epoch === this.epoch && this.#loaded(row);
    if (!parent || this.#table.row(child.run)) return;
    const step = parent.run.state.steps.get(child.step);
    if (step?.token !== child.token || step.phase !== "child") return;
    this.#beginChild(parent, child, kind);
    this.#settle();
  }

  /** What a run's definition is asked with; undefined of a run that is over. */
  definition(id: string): RunDefinition | undefined {
    const row = this.#table.row(id);
    const live = row?.endedAtMs === null ? this.#loaded(row) : undefined;
    if (!live) return undefined;
    const { plan, input, startedAtMs } = live.run.state;
    return { plan, input, startedAtMs };
  }

  /** What came of the delivery of an event. */
  sent(number: number, result: CallbackResult): Answer<undefined> {
    this.#departures.mails.settled(number, result, this.#seams.clock.now());
    this.#settle();
    return this.#answer(undefined);
  }

  /** The shard's timer fired: whatever is due. */
  wake(): void {
    const nowMs = this.#seams.clock.now();
    for (const number of this.#dues.due(nowMs)) {
      const live = this.#open(number);
      if (!live) continue;
      for (const key of live.timers.due(nowMs)) {
        if (this.#isWaiting(live, key)) live.timers.set(key, nowMs + LOOK_AGAIN_MS);
        else this.#apply(live, { type: "timer", key });
      }
      this.#dues.set(number, live.run.state.ended ? undefined : live.timers.nextAtMs);
    }
    this.#delete(this.#retention.expired(nowMs));
    this.#settle();
  }

  /** An attempt begins so much later than it was dispatched: its time counts from now. */
  begins(ref: RunRef, { step: id, token }: AttemptRef, waitedMs: number): void {
    const row = this.#table.row(ref.id);
    const live = row && row.endedAtMs === null ? this.#loaded(row) : undefined;
    const step = live?.run.state.steps.get(id);
    if (!live || step?.token !== token || step.dueAtMs === undefined) return;
    live.timers.set(id, step.dueAtMs + waitedMs);
    this.#dues.set(live.number, live.timers.nextAtMs);
    this.#arm();
  }

  show(namespace: string, id: string): RunSummary {
    return this.reader.show(namespace, id);
  }

  /** Of whatever namespace: for who holds the id and is checked by what is found. */
  find(id: string): FoundRun | undefined {
    return this.reader.find(id);
  }

  /** A run as a whole, to be read. */
  inspect(namespace: string, id: string): RunView {
    return this.reader.inspect(namespace, id);
  }

  /** Newest first. `cursor` of a page goes on where it ended. */
  list(namespace: string, filter: RunFilter = {}): RunPage {
    return this.reader.list(namespace, filter);
  }

  /** What a run did, from its beginning or after what a former page ended with. */
  history(namespace: string, id: string, after = ""): HistoryPage {
    return this.reader.history(namespace, id, after);
  }

  /** The run is no more, whatever it was at. Errors: `RUN_NOT_FOUND`. */
  remove(namespace: string, id: string): Answer<undefined> {
    const row = this.#table.row(id);
    if (row?.namespace !== namespace) throw notFound(id);
    const { number, workflow, endedAtMs, status } = row;
    this.#departures.callbacks.drop(number);
    this.#forget(number);
    this.#dues.set(number, undefined);
    if (endedAtMs !== null) this.#retention.left(number);
    else {
      this.#table.tally.moved(namespace, workflow, status, "terminated");
      this.#places.leave(namespace, workflow, number);
      this.#next.push(() => this.#admit(namespace, workflow));
    }
    this.#settle();
    return this.#answer(undefined);
  }

  /** The namespace is no more: neither are its runs and keys, whatever they were at. */
  endNamespace(namespace: string): Answer<number> {
    const rows = this.#seams.sql.all(STATEMENTS.runsOfNamespace, namespace);
    for (const { number, endedAtMs } of rows) {
      this.#departures.callbacks.drop(number);
      this.#forget(number);
      this.#dues.set(number, undefined);
      if (endedAtMs !== null) this.#retention.left(number);
    }
    this.#places.forget(namespace);
    this.#departures.mails.forget(namespace);
    this.#table.tally.forget(namespace);
    this.#settle();
    return this.#answer(rows.length);
  }

  /** Something is under way that ends with its process: a run, or a callback. */
  get isBusy(): boolean {
    return this.#table.isBusy || this.#departures.isBusy;
  }

  /** Runs in memory: for metrics and tests. */
  get residents(): number {
    return this.#table.residents;
  }

  #begin(id: string, namespace: string, request: RunRequest): Live {
    const { workflow, form, input, chain = [], timeoutMs, concurrency } = request;
    const number = this.#table.next;
    const isQueued = this.#places.enter(namespace, workflow, number, concurrency);
    // A higher limit lets others go, too.
    this.#next.push(() => this.#admit(namespace, workflow));
    const event: Started = {
      type: "started",
      run: id,
      workflow,
      form,
      input,
      chain,
      ...(timeoutMs !== undefined && { timeoutMs }),
      ...(isQueued && { isQueued }),
      ...this.#stamp(),
    };
    const { run, effects } = Run.begin(event);
    const live = this.#table.insert(id, namespace, request, run, event);
    this.#seams.store.begin(this.#home(live));
    this.#record(live, event, effects);
    return live;
  }

  #apply(live: Live, report: RunReport): void {
    const wasEnded = live.run.state.ended !== undefined;
    const event = { ...report, ...this.#stamp() } as RunEvent;
    const effects = live.run.apply(event);
    if (wasEnded && !live.run.state.ended) {
      this.#table.reopen(live);
      this.#retention.left(live.number);
      this.#departures.callbacks.drop(live.number);
      this.#places.known(live.namespace, live.request.workflow, live.number, false);
      this.#seams.store.begin(this.#home(live));
    }
    this.#record(live, event, effects);
  }

  /** Writes down what happened, and does or queues what follows. */
  #record(live: Live, event: RunEvent, effects: readonly Effect[]): void {
    const entries = linesOf(effects);
    this.#table.append(live, event, isKept(live.run, event), entries);
    if (entries.length > 0) this.#seams.noted?.(live.id);
    for (const effect of effects) this.#effect(live, effect);
    if (live.run.state.ended) return;
    const { snapshotEvents } = this.#options;
    // As many events as the state has parts, so that wide runs do not write it again and again.
    const { scopes, steps } = live.run.state;
    const isLong = live.head - live.snapshot >= Math.max(snapshotEvents, scopes.size + steps.size);
    if (isLong && isDurable(live.run) && live.run.canBeSnapshot) this.#table.snapshot(live);
    this.#table.update(live);
    this.#dues.set(live.number, live.timers.nextAtMs);
  }

  #effect(live: Live, effect: Effect): void {
    switch (effect.do) {
      case "history":
        return;
      case "setTimer":
        live.timers.set(effect.key, effect.atMs);
        return;
      case "clearTimer":
        live.timers.set(effect.key, undefined);
        return;
      case "commitStore":
      case "abortStore": {
        const { step, token } = effect;
        const [home, isCommit] = [this.#home(live), effect.do === "commitStore"];
        this.#seams.store.settle(home, step, token, isCommit);
        const staged = this.#seams.takeStaged?.(home, step, token, isCommit);
        for (const mail of staged?.mails ?? [])
          this.#departures.mails.post(mail, this.#seams.clock.now());
        const starts = staged?.starts ?? [];
        this.#next.push(...starts.map((start) => () => this.#startStaged(start)));
        return;
      }
      case "startChild":
        this.#next.push(() => {
          this.#startChild(live, effect);
        });
        return;
      case "terminateChild":
        this.#next.push(() => {
          this.#terminateChild(live, effect);
        });
        return;
      case "end":
        this.#end(live);
        return;
      case "plan": {
        const { request, namespace } = live;
        const planned = request.planned ?? this.#seams.outside.planned?.(namespace, request);
        if (planned) this.#next.push(() => this.#apply(live, { type: "planned", ...planned }));
        else this.#send(live, effect);
        return;
      }
      default:
        this.#send(live, effect);
    }
  }

  /** Begins runs that wait for a place, as long as there is one. */
  #admit(namespace: string, workflow: string): void {
    for (;;) {
      const number = this.#places.next(namespace, workflow);
      const live = number === undefined ? undefined : this.#open(number);
      if (!live) return;
      const { timeoutMs } = live.request;
      this.#apply(live, { type: "admitted", ...(timeoutMs !== undefined && { timeoutMs }) });
    }
  }

  /** Of a step that is made once more, the same ids: what has begun does not begin again. */
  #startStaged({ id, namespace, key: _key, ...request }: StartRequest): void {
    if (!this.#table.has(id)) this.#begin(id, namespace, request);
  }

  #startChild(parent: Live, child: ChildEffect): void {
    if (this.#table.row(child.run)) return;
    const kind = this.#seams.outside.describe(parent.namespace, child);
    if (kind === "ask") this.#send(parent, { do: "describeChild", child });
    else this.#beginChild(parent, child, kind);
  }

  #beginChild(parent: Live, child: ChildEffect, kind: WorkflowKind | undefined): void {
    const { run: id, workflow, input, chain, step, token } = child;
    const trace = parent.request.headers["traceparent"];
    if (kind) {
      this.#begin(id, parent.namespace, {
        workflow,
        ...kind,
        input,
        query: {},
        headers: { traceparent: formatTraceparent(traceOfRun(parent.id, trace)) },
        revision: parent.request.revision,
        chain,
        parent: { run: parent.id, step, token },
      });
      return;
    }
    const message = `no workflow ${workflow} in ${parent.namespace}`;
    const code = "FUNCTION_NOT_FOUND";
    const error = { name: "NotFound", message, code, isFinal: true as const };
    this.#apply(parent, { type: "childEnded", step, token, outcome: { ok: false, error } });
  }

  /** Ends a child; if it has ended, or never began, its parent is told so. */
  #terminateChild(parent: Live, effect: Effect & { readonly do: "terminateChild" }): void {
    const row = this.#table.row(effect.run);
    const live = row && row.endedAtMs === null ? this.#loaded(row) : undefined;
    if (live && !live.run.state.ending) {
      this.#apply(live, { type: "terminate", rollback: true });
      return;
    }
    if (live) return;
    const { step, token } = effect;
    const error = { name: "Terminated", message: "the run was terminated" };
    this.#apply(parent, { type: "childEnded", step, token, outcome: { ok: false, error } });
  }

  #end(live: Live): void {
    const { ended } = live.run.state;
    if (!ended) return;
    const nowMs = this.#seams.clock.now();
    this.#table.end(live, nowMs);
    if (live.request.callback) this.#departures.callbacks.add(live.number, live.namespace, nowMs);
    const { number, namespace } = live;
    const { parent, workflow, retention: own } = live.request;
    this.#retention.ended({ number, namespace, workflow, own }, nowMs);
    this.#dues.set(live.number, undefined);
    this.#seams.store.end(this.#home(live), ended);
    this.#send(live, { do: "ended", ended, startedAtMs: live.run.state.startedAtMs });
    this.#places.leave(live.namespace, workflow, live.number);
    this.#next.push(() => this.#admit(live.namespace, workflow));
    if (!parent) return;
    const { run: id, step, token } = parent;
    const outcome: Outcome =
      ended.status === "completed"
        ? { ok: true, output: ended.output ?? { value: undefined } }
        : { ok: false, error: ended.error ?? { name: "Terminated", message: `${live.id} ended` } };
    this.#next.push(() => {
      const row = this.#table.row(id);
      const owner = row && row.endedAtMs === null ? this.#loaded(row) : undefined;
      if (owner) this.#apply(owner, { type: "childEnded", step, token, outcome });
    });
  }

  /** After an opening: what ended with the process is told, and made again. */
  #recover(number: number): void {
    const live = this.#open(number);
    if (!live) return;
    const { code, form, plan } = live.run.state;
    // Nothing but its start is known: either nothing happened yet, or it begins anew (K4).
    if (form === "dag" && !plan) this.#beginAnew(live);
    for (const effect of live.run.recovery()) {
      if (effect.do !== "setTimer") this.#effect(live, effect);
    }
    if (code?.isLive === true) this.#apply(live, { type: "codeLost", session: code.session });
    const error = { name: "CellLost", message: "the cell died", code: "CELL_LOST" };
    this.#apply(live, { type: "interrupted", where: "cell", error });
  }

  /** What its former life put and invoked is none of its own any more (K4). */
  #beginAnew(live: Live): void {
    this.#seams.store.beginAnew(this.#home(live));
    this.#apply(live, { type: "begunAnew", life: this.epoch });
    // Ids of child runs are the parent's with a number behind it.
    const [from, to] = [`${live.id}.`, `${live.id}/`];
    for (const { number } of this.#seams.sql.all(STATEMENTS.runsBetween, from, to)) {
      this.#next.push(() => {
        const child = this.#open(number);
        if (child && !child.run.state.ending && !child.run.state.ended) {
          this.#apply(child, { type: "terminate", rollback: true });
        }
      });
    }
  }

  #loaded(row: RunRow): Live | undefined {
    return this.#armed(this.#table.load(row));
  }

  #open(number: number): Live | undefined {
    return this.#armed(this.#table.byNumber(number));
  }

  /** Whether the timer is of an attempt whose time has not begun. */
  #isWaiting(live: Live, key: string): boolean {
    const step = live.run.state.steps.get(key);
    if (step?.phase !== "running") return false;
    const attempt = { step: key, token: step.token };
    return this.#seams.outside.isWaiting?.(this.#home(live), attempt) ?? false;
  }

  /** A run that comes from disk has its timers again. */
  #armed(live: Live | undefined): Live | undefined {
    if (!live || live.timers.nextAtMs !== undefined) return live;
    for (const effect of live.run.recovery()) {
      if (effect.do === "setTimer") live.timers.set(effect.key, effect.atMs);
    }
    return live;
  }

  /** Ends the transition: what it asked of other runs, the timer, and what leaves after it. */
  #settle(): void {
    for (let next = this.#next.shift(); next; next = this.#next.shift()) next();
    this.#table.evict(this.#options.residentRuns);
    this.#delete(this.#retention.surplus(this.#seams.clock.now()));
    this.#departures.settle();
    this.#arm();
  }

  #arm(): void {
    const { nextAtMs } = this.#retention;
    const times = [this.#dues.nextAtMs, this.#departures.nextAtMs, nextAtMs].filter(
      (atMs) => atMs !== undefined,
    );
    this.#seams.timers.wakeAt(times.length === 0 ? undefined : Math.min(...times));
  }

  /** Of runs that have ended. */
  #delete(numbers: readonly number[]): void {
    for (const number of numbers) {
      this.#departures.callbacks.drop(number);
      this.#forget(number);
      this.#retention.left(number);
    }
  }

  #forget(number: number): void {
    const row = this.#table.rowOf(number);
    if (row) this.#seams.store.forget({ id: row.id, namespace: row.namespace });
    this.#table.delete(number);
  }

  #send(live: Live, effect: OutwardEffect): void {
    this.#departures.add(this.#home(live), live.request, effect);
  }

  #home({ id, namespace, run }: Live): RunHome {
    const { workflow } = run.state;
    const durability = isDurable(run) ? "step" : "run";
    return { id, namespace, epoch: this.epoch, workflow, durability };
  }

  /** A plan comes from an isolate that is not ours: what is none fails the run. */
  #checked(report: RunReport): RunReport {
    if (report.type !== "planned" || this.#valid.has(report.plan)) return report;
    try {
      this.#valid.add(validatePlan(report.plan));
      return report;
    } catch (thrown) {
      const { name, message, code } = toIsolaError(thrown, "plan the run");
      return { type: "planFailed", error: { name, message, code, isFinal: true } };
    }
  }

  #answer<T>(value: T): Answer<T> {
    return { value, position: this.#seams.log.position };
  }

  #stamp(): { readonly atMs: number; readonly random: number } {
    const { clock, random } = this.#seams;
    return { atMs: clock.now(), random: random.fraction() };
  }
}

/** Whether an event has to be on disk before what follows from it. */
function isKept(run: Run, event: RunEvent): boolean {
  return isDurable(run) || event.type === "started" || COMMANDS.has(event.type);
}
