/**
 * Replays of open runs against code that is to be deployed (contract/replay.ts), in the actor of
 * the shard that keeps them.
 *
 * Y1 The code runs in an isolate of its own, without network and secrets, and its scope refuses
 *    everything but the session: nothing that it does has an effect.
 * Y2 It works on copies: the runs hear nothing of it, and go on meanwhile.
 */
import { exports } from "cloudflare:workers";
import {
  type CodeReport,
  IsolaError,
  LIMITS,
  REPLAY_LIMITS,
  type ReplayAsk,
  type ReplayDivergence,
  type RunsReplayed,
  SCOPE_BINDING,
  formatTraceparent,
  newCallId,
  newTrace,
  suspectKey,
} from "../../contract/index.ts";
import {
  CodeReplay,
  type Coordinator,
  type ReplayReport,
  type ReplayVerdict,
  type RunHome,
  canReplay,
  shapeOf,
} from "../../../workflow/index.ts";
import type { Cell } from "../cell.worker.ts";
import { workerCode } from "../worker-code.worker.ts";
import { type CodeDriven, type CodeSession, keepReplayCode } from "./code-driver.worker.ts";
import { Session, type ValueReader, answerOrder } from "./code-session.worker.ts";
import type { CodeSessions } from "./code-sessions.worker.ts";

/** What a replay waits for of code that says nothing: its steps are answered at once. */
const IDLE_MS = 200;
const STATUSES = ["waiting", "running", "pausing", "paused"] as const;
const PAGE = 1_000;
/** Of the code that is replayed: no version yet. */
const VERSION = 0;

export interface ReplayDesk extends ValueReader {
  readonly cell: Cell;
  readonly coordinator: Coordinator;
  readonly sessions: CodeSessions;
  shardOf(id: string): number;
}

const entrypoints = exports as unknown as {
  Driver(options: { props: object }): { code(session: CodeSession): Promise<CodeDriven> };
  Scope(options: { props: { key: string } }): unknown;
};

interface Tally {
  agreed: number;
  diverged: number;
  unchecked: number;
  readonly diverging: ReplayDivergence[];
}

/** Errors: those of supply, and `LOAD_FAILED`. */
export async function replayOpenRuns(desk: ReplayDesk, ask: ReplayAsk): Promise<RunsReplayed> {
  const { cell } = desk;
  const untilMs = cell.now() + Math.min(ask.timeoutMs, REPLAY_LIMITS.timeoutMs);
  const tally: Tally = { agreed: 0, diverged: 0, unchecked: 0, diverging: [] };
  const runs = openRuns(desk, ask, tally);
  if (runs.length === 0) return tally;
  const loaderId = await load(cell, ask);
  try {
    const worker = async (): Promise<void> => {
      for (let run = runs.shift(); run !== undefined; run = runs.shift()) {
        if (cell.now() < untilMs) await replayOne(desk, ask, { run, loaderId, untilMs }, tally);
        else tally.unchecked += 1;
      }
    };
    await Promise.all(Array.from({ length: REPLAY_LIMITS.atOnce }, worker));
  } finally {
    keepReplayCode(loaderId, undefined);
    await endIsolate(cell, loaderId);
  }
  return tally;
}

/** Newest first, so many of each shape; the others count as not checked. */
function openRuns({ coordinator }: ReplayDesk, ask: ReplayAsk, tally: Tally): string[] {
  const { namespace, workflow } = ask;
  const shapes = new Map<string, number>();
  const runs: string[] = [];
  for (const status of STATUSES) {
    let cursor: string | undefined;
    for (let looked = 0; looked < REPLAY_LIMITS.runsMax; looked += PAGE) {
      const filter = { workflow, status, limit: PAGE, ...(cursor !== undefined && { cursor }) };
      const page = coordinator.list(namespace, filter);
      for (const { id } of page.runs) {
        const { state } = coordinator.inspect(namespace, id);
        if (!canReplay(state)) continue;
        const shape = shapeOf(state);
        const count = (shapes.get(shape) ?? 0) + 1;
        shapes.set(shape, count);
        if (count <= REPLAY_LIMITS.runsPerShape) runs.push(id);
        else tally.unchecked += 1;
      }
      ({ cursor } = page);
      if (cursor === undefined) break;
    }
  }
  return runs;
}

interface Replayed {
  readonly run: string;
  readonly loaderId: string;
  readonly untilMs: number;
}

async function replayOne(
  desk: ReplayDesk,
  ask: ReplayAsk,
  replayed: Replayed,
  tally: Tally,
): Promise<void> {
  const verdict = await verdictOf(desk, ask, replayed).catch(() => undefined);
  if (verdict?.is === "agrees") tally.agreed += 1;
  else if (verdict?.is === "diverges") {
    tally.diverged += 1;
    const { run } = replayed;
    const isNamed = tally.diverging.length < REPLAY_LIMITS.namedMax;
    if (isNamed) tally.diverging.push({ run, message: verdict.message });
  } else tally.unchecked += 1;
}

/** Undefined: there was no time, or the session did not last. */
async function verdictOf(
  desk: ReplayDesk,
  { namespace, workflow }: ReplayAsk,
  { run: id, loaderId, untilMs }: Replayed,
): Promise<ReplayVerdict | undefined> {
  const { cell, coordinator, sessions } = desk;
  const { request, state } = coordinator.inspect(namespace, id);
  // It may have ended since it was listed.
  if (!canReplay(state)) return { is: "agrees" };
  const replay = new CodeReplay(state);
  const home: RunHome = { id, namespace, workflow, durability: "step", epoch: coordinator.epoch };
  const session = new Session(home, 0, newCallId(cell.random));
  const over = Promise.withResolvers<ReplayVerdict | undefined>();
  session.hear = (_session, reports) => {
    for (const report of reports) {
      for (const answer of replay.apply(saidOf(report))) {
        session.orderRead(answerOrder(desk, home, answer));
      }
    }
    if (replay.verdict) over.resolve(replay.verdict);
  };
  const release = sessions.adopt(session);
  const payload = await desk.resolve(home, request.input);
  const driven = entrypoints.Driver({ props: {} }).code({
    envelope: envelopeOf(cell, namespace, workflow, session.callId),
    shard: desk.shardOf(id),
    epoch: coordinator.epoch,
    replayOf: loaderId,
    event: {
      payload,
      timestampMs: state.startedAtMs,
      instanceId: request.instance ?? id,
      workflowName: workflow,
      idleMs: IDLE_MS,
    },
  });
  driven.then(() => over.resolve(replay.verdict), over.reject);
  const late = scheduler.wait(Math.max(0, untilMs - cell.now())).then(() => undefined);
  try {
    return await Promise.race([over.promise, late]);
  } finally {
    release();
    session.order({ type: "close" });
    cell.live.get(session.callId)?.finish("canceled");
  }
}

/** A report as the engine takes it; values are not kept, and attempts are never made. */
function saidOf(report: CodeReport): ReplayReport {
  switch (report.type) {
    case "called": {
      const { step, operation } = report;
      // Looked at by the run, as it comes from an isolate.
      return { type: "stepCalled", step, operation: operation as never };
    }
    case "ended":
      return report.outcome.ok
        ? { type: "codeEnded", outcome: { ok: true, output: { value: undefined } } }
        : { type: "codeEnded", outcome: report.outcome };
    default:
      return { type: "codeIdle" };
  }
}

async function load(cell: Cell, ask: ReplayAsk): Promise<string> {
  const { namespace, workflow, envNames } = ask;
  const bundle = await cell.supply.bundle(ask.bundleHash, false);
  const loaderId = `replay:${newCallId(cell.random)}`;
  const env = Object.fromEntries(envNames.map((name) => [name, ""]));
  // Made where it is loaded: the scope's stub belongs to the invocation that makes it.
  const code = (): WorkerLoaderWorkerCode =>
    workerCode({
      bundle,
      mark: cell.bindings.mark,
      compatibilityDate: ask.compatibilityDate,
      compatibilityFlags: ask.compatibilityFlags,
      env: { ...env, [SCOPE_BINDING]: scopeOf(suspectKey(namespace, workflow, VERSION)) },
      outbound: null,
    });
  keepReplayCode(loaderId, code);
  return loaderId;
}

const scopeOf = (key: string): unknown => entrypoints.Scope({ props: { key } });

async function endIsolate(cell: Cell, loaderId: string): Promise<void> {
  try {
    const stub = cell.bindings.loader.get(loaderId, () => {
      throw new IsolaError("INTERNAL", { attempted: "end a replay", found: "no isolate" });
    });
    await (stub.getEntrypoint("IsolaEntry") as unknown as { abort(): Promise<void> }).abort();
  } catch {
    // It answers its own abort with an error, or was never loaded.
  }
}

function envelopeOf(cell: Cell, ns: string, fn: string, id: string): CodeSession["envelope"] {
  return {
    id,
    ns,
    fn,
    v: VERSION,
    dl: 0,
    tp: formatTraceparent(newTrace(cell.random)),
    at: 1,
    ik: id,
    ch: [],
    sg: 0,
    fr: 0,
    mb: LIMITS.sharedBlockMaxMs,
  };
}
