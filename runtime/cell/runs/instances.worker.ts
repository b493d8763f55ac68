/**
 * Instances of workflows, as functions command them through bindings (contract/instances.ts), in
 * the actor of the shard that keeps them.
 *
 * I1 An id that its creator chose is a key of the workflow: at most one run has it, whatever is
 *    repeated. The run's own id names it, too.
 * I2 What is answered is on disk (G9).
 * I3 A namespace reaches its own instances, and through a binding those of one workflow (G6).
 */
import {
  type InstanceAnswer,
  type InstanceAsk,
  type InstanceCall,
  type InstanceEvent,
  type InstanceStatus,
  IsolaError,
  newCallId,
  systemRandom,
} from "../../contract/index.ts";
import type {
  Coordinator,
  Held,
  HistoryEntry,
  RunHome,
  RunReport,
} from "../../../workflow/index.ts";
import type { CommitLog } from "../shard/commit-log.ts";
import type { LineWaiters } from "./line-waiters.ts";
import type { Holding } from "./run-store.ts";

/** All that is said of a key that is an instance's id: the same id is the same instance. */
const DIGEST = "instance";
/** Longest wait for further lines of a history. */
const WAIT_MAX_MS = 20_000;

const STATUS: Readonly<Record<string, InstanceStatus>> = {
  queued: "queued",
  running: "running",
  waiting: "waiting",
  pausing: "waitingForPause",
  paused: "paused",
  rollingBack: "rollingBack",
  completed: "complete",
  failed: "errored",
  terminated: "terminated",
};

const EVENTS: Readonly<Partial<Record<HistoryEntry["type"], readonly string[]>>> = {
  runQueued: ["workflow_queued"],
  runStarted: ["workflow_queued", "workflow_started", "workflow_running"],
  runPaused: ["workflow_paused"],
  runResumed: ["workflow_running"],
  runRestarted: ["workflow_running"],
  runRollingBack: ["rollback_started"],
  stepStarted: ["step_started"],
  stepCompleted: ["attempt_completed", "step_completed"],
  stepFailed: ["attempt_errored", "step_errored"],
  attemptStarted: ["attempt_started"],
  attemptFailed: ["attempt_errored"],
  attemptInterrupted: ["attempt_errored"],
};

const ENDED: Readonly<Record<string, string>> = {
  completed: "workflow_completed",
  failed: "workflow_errored",
  terminated: "workflow_terminated",
};

export interface InstancesDesk {
  readonly coordinator: Coordinator;
  readonly log: CommitLog;
  readonly waiters: LineWaiters;
  /** A value as the run keeps it. Errors: `VALUE_INVALID`, `BODY_TOO_LARGE`, `STORE_FULL`. */
  hold(run: RunHome, value: unknown): Promise<Held>;
  holdInput(run: RunHome, value: unknown): Promise<Holding>;
  /** What a value is. Errors: `VALUE_LOST`. */
  resolve(run: Pick<RunHome, "id" | "namespace">, held: Held): Promise<unknown>;
  /** Keeps an event until the step of the attempt commits. Errors: `ATTEMPT_ENDED`, … */
  stageEvent(ask: InstanceAsk, call: Asked<"stageEvent">, payload: unknown): void;
  /** The run is no more: nor is what runs for it. */
  gone(id: string): void;
}

export type Asked<Op extends InstanceCall["op"]> = Extract<InstanceCall, { readonly op: Op }>;

/** Errors: `RUN_NOT_FOUND`, `KEY_REUSED`, `RUN_STATE`, `STEP_NOT_FOUND`, `QUOTA_EXCEEDED`. */
export async function answerInstance(
  desk: InstancesDesk,
  ask: InstanceAsk,
  value: unknown,
): Promise<InstanceAnswer> {
  const answer = await answerOf(desk, ask, value);
  await desk.log.committed(desk.log.position);
  return answer;
}

async function answerOf(
  desk: InstancesDesk,
  ask: InstanceAsk,
  value: unknown,
): Promise<InstanceAnswer> {
  const { call } = ask;
  switch (call.op) {
    case "create":
      return create(desk, ask, call.id, value);
    case "get":
      find(desk, ask, call.id);
      return { id: call.id };
    case "status":
      return tellStatus(desk, ask, call.id);
    case "pause":
    case "resume":
      return tell(desk, ask, call.id, { type: call.op });
    case "terminate":
      return tell(desk, ask, call.id, { type: "terminate", rollback: call.rollback });
    case "sendEvent":
      return sendEvent(desk, ask, call, value);
    case "stageEvent":
      desk.stageEvent(ask, call, value);
      return {};
    case "restart":
      return restart(desk, ask, call);
    case "delete": {
      const run = find(desk, ask, call.id);
      desk.coordinator.remove(ask.namespace, run);
      desk.gone(run);
      return {};
    }
    case "events":
      return tellEvents(desk, ask, call);
  }
}

async function create(
  desk: InstancesDesk,
  ask: InstanceAsk,
  id: string | undefined,
  params: unknown,
): Promise<InstanceAnswer> {
  const { namespace, workflow, run, version, form, timeoutMs, concurrency, retention } = ask;
  const home = { id: run, namespace, workflow, durability: "step", epoch: 0 } as const;
  const holding = await desk.holdInput(home, params);
  const { value } = started(desk, holding, {
    id: run,
    namespace,
    workflow,
    form,
    version,
    input: holding.held,
    query: {},
    headers: {},
    revision: 0,
    ...(timeoutMs > 0 && { timeoutMs }),
    concurrency,
    retention,
    ...(id !== undefined && { instance: id, key: { key: id, digest: DIGEST } }),
  });
  // The same start, told twice, is one; another one under its id is not.
  if (!value.isNew && value.id !== run) throw exists(workflow, id ?? run);
  return { id: id ?? run };
}

/** The start, and what becomes of the input that was held for it. */
function started(
  { coordinator }: InstancesDesk,
  holding: Holding,
  start: Parameters<Coordinator["start"]>[0],
): ReturnType<Coordinator["start"]> {
  try {
    const answer = coordinator.start(start);
    if (answer.value.isNew) holding.keep();
    else holding.drop();
    return answer;
  } catch (thrown) {
    holding.drop();
    throw thrown;
  }
}

/** The run of an instance. */
function find({ coordinator }: InstancesDesk, ask: InstanceAsk, id: string): string {
  const { namespace, workflow } = ask;
  const keyed = coordinator.keys.named(namespace, workflow, id);
  if (keyed !== undefined) return keyed;
  const found = coordinator.find(id);
  if (found?.namespace === namespace && found.workflow === workflow) return id;
  throw new IsolaError("RUN_NOT_FOUND", {
    attempted: `find the instance ${id.slice(0, 100)} of ${workflow}`,
    found: "none",
  });
}

async function tellStatus(
  desk: InstancesDesk,
  ask: InstanceAsk,
  id: string,
): Promise<InstanceAnswer> {
  const { namespace } = ask;
  const run = find(desk, ask, id);
  const { status: own, ended } = desk.coordinator.show(namespace, run);
  const { output, error } = ended ?? {};
  return {
    id,
    status: STATUS[own] ?? "running",
    ...(output && { output: await desk.resolve({ id: run, namespace }, output) }),
    ...(error && { error: { name: error.name, message: error.message } }),
  };
}

function tell(
  desk: InstancesDesk,
  ask: InstanceAsk,
  id: string,
  report: RunReport,
): InstanceAnswer {
  const { namespace } = ask;
  desk.coordinator.report({ id: find(desk, ask, id), namespace }, report);
  return { id };
}

async function sendEvent(
  desk: InstancesDesk,
  ask: InstanceAsk,
  { id, type: name, event = newCallId(systemRandom) }: Asked<"sendEvent">,
  value: unknown,
): Promise<InstanceAnswer> {
  const { namespace, workflow } = ask;
  const run = find(desk, ask, id);
  const { epoch } = desk.coordinator;
  const home = { id: run, namespace, workflow, durability: "step", epoch } as const;
  const payload = await desk.hold(home, value);
  return tell(desk, ask, id, { type: "signal", id: event, name, payload });
}

/** From the beginning: another run takes the id over. From a step: the run itself goes on. */
function restart(
  desk: InstancesDesk,
  ask: InstanceAsk,
  { id, from }: Asked<"restart">,
): InstanceAnswer {
  const { coordinator } = desk;
  const { namespace, workflow } = ask;
  const run = find(desk, ask, id);
  const { request, summary } = coordinator.inspect(namespace, run);
  if (from) return tell(desk, ask, id, { type: "restart", from: stepOf(from) });
  if (summary.endedAtMs === undefined) {
    coordinator.report({ id: run, namespace }, { type: "terminate", rollback: false });
  }
  coordinator.keys.release(namespace, workflow, id);
  const { version } = ask;
  coordinator.start({
    ...request,
    id: ask.run,
    namespace,
    version,
    instance: id,
    key: { key: id, digest: DIGEST },
  });
  return { id };
}

function stepOf({ name, count = 1, type = "do" }: NonNullable<Asked<"restart">["from"]>): string {
  const kind = type === "waitForEvent" ? "event" : type;
  return `${kind}:${name}-${String(count)}`;
}

async function tellEvents(
  desk: InstancesDesk,
  ask: InstanceAsk,
  { id, after, waitMs }: Asked<"events">,
): Promise<InstanceAnswer> {
  const { coordinator } = desk;
  const { namespace } = ask;
  const run = find(desk, ask, id);
  const look = (): InstanceAnswer & { readonly events: readonly InstanceEvent[] } => {
    const all = eventsOf(linesOf(coordinator, namespace, run));
    const isOver = coordinator.show(namespace, run).endedAtMs !== undefined;
    return { events: all.slice(after), after: all.length, isOver };
  };
  const told = look();
  if (told.events.length > 0 || told.isOver === true || waitMs <= 0) return told;
  await desk.waiters.wait(run, scheduler.wait(Math.min(waitMs, WAIT_MAX_MS)));
  return look();
}

function linesOf(coordinator: Coordinator, namespace: string, run: string): HistoryEntry[] {
  const lines: HistoryEntry[] = [];
  let after = "";
  for (;;) {
    const page = coordinator.history(namespace, run, after);
    if (page.entries.length === 0) return lines;
    lines.push(...page.entries);
    after = page.after;
  }
}

/** A history in Cloudflare's words, which tell of some things twice. */
function eventsOf(lines: readonly HistoryEntry[]): InstanceEvent[] {
  const attempts = new Map<string, number>();
  const events: InstanceEvent[] = [];
  for (const line of lines) {
    const { atMs, step = "", attempt, error, retryAtMs } = line;
    if (line.type === "attemptStarted") attempts.set(step, attempt ?? 1);
    for (const type of typesOf(line)) {
      const isAttempt = type.includes("attempt_");
      const number = isAttempt ? (attempt ?? attempts.get(step)) : undefined;
      events.push({
        eventId: events.length + 1,
        atMs,
        type,
        ...(step !== "" && { stepName: step.replace(/^(?:do|sleep|event|invoke):|\/undo$/gu, "") }),
        ...(number !== undefined && { attempt: number }),
        ...(retryAtMs !== undefined && { retryDelayMs: retryAtMs - atMs }),
        ...(error && { error: { name: error.name, message: error.message } }),
      });
    }
  }
  return events;
}

function typesOf({ type, step = "", status }: HistoryEntry): readonly string[] {
  if (type === "runEnded") return [ENDED[status ?? ""] ?? ENDED["failed"] ?? ""];
  if (type === "stepFailed" && step.startsWith("event:")) return ["wait_timed_out"];
  const known = EVENTS[type] ?? [];
  const isDo = step.startsWith("do:");
  const told = isDo ? known : known.filter((one) => !step || !one.startsWith("attempt_"));
  if (step.endsWith("/undo")) return known.map((one) => `rollback_${one}`);
  if (step.startsWith("event:")) return told.map((one) => one.replace("step_", "wait_"));
  if (step.startsWith("sleep:")) return told.map((one) => one.replace("step_", "sleep_"));
  return told;
}

function exists(workflow: string, id: string): IsolaError {
  return new IsolaError("KEY_REUSED", {
    attempted: `create an instance of ${workflow}`,
    found: `the instance ${id}`,
    required: "an id that no instance of it has",
  });
}
