/**
 * What operators ask of the runs of a shard, and tell them (contract/run-admin.ts).
 *
 * P1 What is told is on disk (G9): an answer waits for the commit of what it was read from.
 * P2 A namespace sees its own runs; others are as if they were not (G6).
 * P3 A command is an event of the run's journal: it is carried out once it is on disk, or refused
 *    and nothing has changed.
 */
import {
  type GraphFormat,
  type ReplayAsk,
  RUN_ADMIN_LIMITS,
  type RunAnswers,
  type RunAsk,
  type RunsReplayed,
  type RunCommand,
  type RunFault,
  type RunInfo,
  type RunPin,
  type RunShown,
  type ShownValue,
} from "../../contract/index.ts";
import {
  type Coordinator,
  type HistoryEntry,
  type RunReport,
  type RunState,
  graphOfRun,
  graphOfSteps,
  toDot,
  toMermaid,
} from "../../../workflow/index.ts";
import type { CommitLog } from "../shard/commit-log.ts";
import type { CallInput, CallOutput } from "./async-call.worker.ts";
import type { LineWaiters } from "./line-waiters.ts";
import { shownBody, shownHeld } from "./shown-value.ts";

/** Beyond so many nobody waits: they are answered at once, and ask again. */
const WAITERS_MAX = 1_000;

type Asked<Ask extends RunAsk["ask"]> = Extract<RunAsk, { readonly ask: Ask }>;

export interface RunAdminDesk {
  readonly coordinator: Coordinator;
  readonly log: CommitLog;
  readonly waiters: LineWaiters;
  /** Starts a run with the input of another one; false if there is a run of that id. */
  startAgain(namespace: string, asked: StartAgain): Promise<boolean>;
  /** The graph of a definition. */
  draw(namespace: string, asked: Asked<"draw">): Promise<string>;
  /** Open runs against other code. */
  replay(ask: ReplayAsk): Promise<RunsReplayed>;
}

export type StartAgain = Asked<"startAgain">;

/** Errors: `RUN_NOT_FOUND`, `RUN_STATE`, `STEP_NOT_FOUND`, `REQUEST_INVALID`, `QUOTA_EXCEEDED`. */
export async function answerAsk(
  desk: RunAdminDesk,
  namespace: string,
  asked: RunAsk,
): Promise<RunAnswers[RunAsk["ask"]]> {
  if (asked.ask === "replay") return desk.replay({ ...asked.replay, namespace });
  if (asked.ask === "history") await waitForLines(desk, namespace, asked);
  const isNew = asked.ask === "startAgain" && (await desk.startAgain(namespace, asked));
  const drawn = asked.ask === "draw" ? await desk.draw(namespace, asked) : "";
  const answer = answerOf(desk, namespace, asked, { isNew, drawn });
  await desk.log.committed(desk.log.position);
  return answer;
}

function answerOf(
  desk: RunAdminDesk,
  namespace: string,
  asked: Exclude<RunAsk, { readonly ask: "replay" }>,
  { isNew, drawn }: { readonly isNew: boolean; readonly drawn: string },
): RunAnswers[RunAsk["ask"]] {
  const { coordinator } = desk;
  switch (asked.ask) {
    case "list":
      return coordinator.list(namespace, asked.filter);
    case "show":
      return show(coordinator, namespace, asked.run);
    case "history":
      return history(coordinator, namespace, asked);
    case "graph":
      return { text: graph(coordinator, namespace, asked) };
    case "tell": {
      const { request } = coordinator.inspect(namespace, asked.run);
      const report = reportOf(asked.command, request.planned !== undefined);
      coordinator.report({ id: asked.run, namespace }, report);
      return infoOf(coordinator, namespace, asked.run);
    }
    case "startAgain":
      return { ...infoOf(coordinator, namespace, asked.id), isNew };
    case "oldest":
      return { startedAtMs: coordinator.reader.oldestOpen(namespace) ?? null };
    case "draw":
      return { text: drawn };
    case "tally":
      return { rows: coordinator.reader.tally() };
  }
}

/** Until there is a line after the one that is known, the run has ended, or the time is up. */
async function waitForLines(
  { coordinator, waiters }: RunAdminDesk,
  namespace: string,
  { run, after, waitMs }: Asked<"history">,
): Promise<void> {
  if (waitMs <= 0 || waiters.count >= WAITERS_MAX) return;
  if (coordinator.reader.hasMore(namespace, run, after)) return;
  if (coordinator.show(namespace, run).endedAtMs !== undefined) return;
  const bound = new AbortController();
  const pause = scheduler
    .wait(Math.min(waitMs, RUN_ADMIN_LIMITS.waitMaxMs), { signal: bound.signal })
    .catch(() => undefined);
  await waiters.wait(run, pause);
  bound.abort();
}

function history(
  coordinator: Coordinator,
  namespace: string,
  { run, after }: Asked<"history">,
): RunAnswers["history"] {
  const page = coordinator.history(namespace, run, after);
  const hasEnded = coordinator.show(namespace, run).endedAtMs !== undefined;
  const isOver = hasEnded && !coordinator.reader.hasMore(namespace, run, page.after);
  return { items: page.entries, after: page.after, isOver };
}

function infoOf(coordinator: Coordinator, namespace: string, id: string): RunInfo {
  const { ended, ...summary } = coordinator.show(namespace, id);
  const { workflow, status, startedAtMs, endedAtMs, replayOf, replayedAs } = summary;
  const error = ended?.error && faultOf(ended.error);
  return {
    id,
    workflow,
    status,
    startedAtMs,
    ...(endedAtMs !== undefined && { endedAtMs }),
    ...(error && { error }),
    ...(replayOf !== undefined && { replayOf }),
    ...(replayedAs !== undefined && { replayedAs }),
  };
}

function show(coordinator: Coordinator, namespace: string, id: string): RunShown {
  const { summary, request, state } = coordinator.inspect(namespace, id);
  const isCall = request.planned !== undefined && request.version === undefined;
  const input = isCall ? callInput(request.input) : shownHeld(request.input);
  const held = summary.ended?.output;
  const output = held && (isCall ? callOutput(held) : shownHeld(held));
  const { deadlineMs, pausedAtMs, plan, pins, inbox, form } = state;
  const { parent, version = isCall ? pins[request.workflow]?.version : undefined } = request;
  const versions = Object.entries(pins).map(([name, pin]) => [name, pin.version] as const);
  const rollbackError = summary.ended?.rollbackError;
  return {
    ...infoOf(coordinator, namespace, id),
    ...(version !== undefined && { version }),
    form,
    durability: plan?.durability ?? "step",
    ...(input && { input }),
    ...(output && { output }),
    ...(rollbackError && { rollbackError: faultOf(rollbackError) }),
    ...(deadlineMs !== undefined && { deadlineAtMs: deadlineMs }),
    ...(pausedAtMs !== undefined && { pausedAtMs }),
    ...(parent && { parent: { run: parent.run, step: parent.step } }),
    pins: Object.fromEntries(versions),
    dues: duesOf(state),
    events: inbox.map(({ name }) => name),
  };
}

/** Of steps that sleep or listen. */
function duesOf({ steps }: RunState): Record<string, number> {
  const dues: Record<string, number> = {};
  let left: number = RUN_ADMIN_LIMITS.shownSteps;
  for (const { id, phase, dueAtMs } of steps.values()) {
    if ((phase !== "sleeping" && phase !== "listening") || dueAtMs === undefined) continue;
    if (left === 0) break;
    left -= 1;
    dues[id] = dueAtMs;
  }
  return dues;
}

function graph(
  coordinator: Coordinator,
  namespace: string,
  { run, format }: Asked<"graph">,
): string {
  const { state } = coordinator.inspect(namespace, run);
  const isCode = state.form === "code";
  return textOf(
    isCode ? graphOfSteps(linesOf(coordinator, namespace, run)) : graphOfRun(state),
    format,
  );
}

function* linesOf(
  coordinator: Coordinator,
  namespace: string,
  run: string,
): Generator<HistoryEntry> {
  for (let after = ""; ;) {
    const page = coordinator.history(namespace, run, after);
    if (page.entries.length === 0) return;
    yield* page.entries;
    ({ after } = page);
  }
}

/** A graph as it is asked for. */
export function textOf(drawn: ReturnType<typeof graphOfRun>, format: GraphFormat): string {
  if (format === "dot") return toDot(drawn);
  return format === "mermaid" ? toMermaid(drawn) : JSON.stringify(drawn);
}

function reportOf(command: RunCommand, isCall: boolean): RunReport {
  if (command.type === "signal") {
    const { type, id, name, payload } = command;
    return { type, id, name, payload: { value: payload } };
  }
  if (command.type !== "restart" || !isCall || !command.pins) return command;
  return { ...command, pins: unbounded(command.pins) };
}

/** Of asynchronous calls the gateway bounds the attempts, from when they run. */
function unbounded(pins: Readonly<Record<string, RunPin>>): Readonly<Record<string, RunPin>> {
  const entries = Object.entries(pins);
  return Object.fromEntries(entries.map(([name, pin]) => [name, { ...pin, timeoutMs: 0 }]));
}

function faultOf({ name, message, code, step }: RunFault): RunFault {
  return {
    name,
    message,
    ...(code !== undefined && { code }),
    ...(step !== undefined && { step }),
  };
}

type Held = Parameters<typeof shownHeld>[0];

/** The request that an asynchronous call is. */
function callInput(held: Held): ShownValue | undefined {
  if (!("value" in held)) return shownHeld(held);
  const { request, body } = held.value as CallInput;
  return shownBody(typeOf(request.headers), body);
}

function callOutput(held: Held): ShownValue | undefined {
  if (!("value" in held)) return shownHeld(held);
  const { output, body } = held.value as CallOutput;
  return shownBody(typeOf(output.headers), body);
}

function typeOf(headers: CallInput["request"]["headers"]): string {
  return headers.find(([name]) => name.toLowerCase() === "content-type")?.[1] ?? "";
}
