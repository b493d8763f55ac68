/**
 * What runs leave and need: octets on disk when they have ended, memory while they wait, and the
 * time until they go on after their cell was killed. In a platform of its own.
 */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { FlowPlatform } from "../flow-targets.ts";
import type { Journal, RecoveryRecord } from "../journal.ts";
import { type LoadGenerator } from "../load/index.ts";
import type { Ask } from "../load/plan.ts";
import { memoryOf } from "../processes.ts";
import { quantile } from "../statistics.ts";
import type { FlowOptions } from "./flow-options.ts";
import { answerOf } from "./flow-shapes.ts";

const CLIENTS = 32;
const SETTLE_MS = 1_000;
/** Length of the chains that are in flight when their cell is killed; a step takes 20 ms. */
const CHAIN_STEPS = 60;
/** Longest wait for runs to begin, and to end. */
const WAIT_MAX_MS = 60_000;

export interface State {
  readonly platform: FlowPlatform;
  /** Folder of the platform. */
  readonly folder: string;
  readonly options: FlowOptions;
  readonly journal: Journal;
  readonly generator: LoadGenerator;
}

/** Octets of all databases with what belongs to them. */
function databaseBytes(folder: string): number {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return files
    .filter((file) => /\.sqlite(-wal)?$/.test(file))
    .reduce(
      (sum, file) => sum + (statSync(join(folder, file), { throwIfNoEntry: false })?.size ?? 0),
      0,
    );
}

export async function measureDisk(state: State, asks: readonly Ask[]): Promise<void> {
  const { platform, folder, options, journal, generator } = state;
  for (const target of platform.targets.filter(({ name }) => name.startsWith("isola"))) {
    let runs = 0;
    for (let point = 0; point < options.diskPoints; point++) {
      const plan = { kind: "closed", url: target.urls.fizzbuzz, clients: CLIENTS } as const;
      const report = await generator.run({ ...plan, durationMs: options.diskMs, asks });
      if (report.errors > 0) throw new Error(`${report.errors} wrong answers of ${target.name}`);
      runs += report.ok;
      journal.add({ type: "disk", target: target.name, runs, bytes: databaseBytes(folder) });
    }
  }
}

function cellOf({ isola }: FlowPlatform): number | undefined {
  return isola.processes().find(({ name }) => name === "cell")?.pid;
}

/** Kills the cell with chains in flight, and finds in their histories when they went on. */
export async function measureRecovery(state: State): Promise<void> {
  for (let round = 0; round < state.options.recoveries; round++) {
    state.journal.add({ type: "recovery", round, ...(await recover(state)) });
  }
}

async function recover({
  platform,
  options,
}: State): Promise<Omit<RecoveryRecord, "type" | "round">> {
  const { isola } = platform;
  const runs = await Promise.all(
    Array.from({ length: options.recoveryRuns }, () => start(platform, "pausing", CHAIN_STEPS)),
  );
  await untilBegun(platform, runs);
  const pid = cellOf(platform);
  if (pid === undefined) throw new Error("the platform has no cell");
  const killedAtMs = Date.now();
  process.kill(pid, "SIGKILL");
  let restartMs = Number.NaN;
  while (Number.isNaN(restartMs)) {
    await sleep(2);
    const now = cellOf(platform);
    if (now !== undefined && now !== pid) restartMs = Date.now() - killedAtMs;
    if (Date.now() - killedAtMs > WAIT_MAX_MS) throw new Error("the cell did not come back");
  }
  const answers = await Promise.all(runs.map((id) => answerOfRun(isola.publicUrl, id)));
  const wrong = answers.filter((answer) => answer !== String(answerOf("chain", CHAIN_STEPS)));
  const firstsMs = await Promise.all(runs.map((id) => firstStepAfter(platform, id, killedAtMs)));
  return {
    runs: runs.length,
    restartMs,
    firstStepMs: quantile(firstsMs, 0) - killedAtMs,
    wrong: wrong.length,
  };
}

/** Begins a run without waiting for it; answers its id. */
async function start({ isola }: FlowPlatform, name: string, input: unknown): Promise<string> {
  const response = await fetch(`${isola.publicUrl}/async-function/${name}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(input),
  });
  const text = await response.text();
  const id = response.headers.get("x-run-id");
  if (response.status !== 202 || id === null) {
    throw new Error(`the start of ${name} answered ${response.status}: ${text}`);
  }
  return id;
}

async function answerOfRun(publicUrl: string, id: string): Promise<string> {
  const deadlineMs = performance.now() + WAIT_MAX_MS;
  for (;;) {
    const response = await fetch(`${publicUrl}/runs/${id}`);
    const text = await response.text();
    const isUnderWay = response.status === 202 || response.status === 503;
    if (!isUnderWay || performance.now() > deadlineMs) return text;
    await sleep(50);
  }
}

/** Until each of them has made a step. */
async function untilBegun(platform: FlowPlatform, runs: readonly string[]): Promise<void> {
  await Promise.all(runs.map((id) => firstStepAfter(platform, id, 0)));
}

/** When the first step after that time began, by the run's history. */
async function firstStepAfter(
  { isola }: FlowPlatform,
  id: string,
  afterMs: number,
): Promise<number> {
  const deadlineMs = performance.now() + WAIT_MAX_MS;
  while (performance.now() < deadlineMs) {
    const lines = await isola.client.runs.history(id);
    const first = lines.find(({ type, atMs }) => type === "attemptStarted" && atMs > afterMs);
    if (first) return first.atMs;
    await sleep(20);
  }
  throw new Error(`the run ${id} did not go on`);
}

const STARTERS = 32;
const WAITING_ASKS = [{ body: "null", status: 202 }];

/** Starts runs that wait until there are so many, and reads the memory of their cell. */
export async function measureWaiting(state: State): Promise<void> {
  const { platform, options, journal, generator } = state;
  // A heap that has never been full grows whatever is in it: runs that wait fill it first.
  const url = `${platform.isola.publicUrl}/async-function/waiting`;
  const plan = { kind: "closed", url, clients: STARTERS, asks: WAITING_ASKS } as const;
  const { ok } = await generator.run({ ...plan, durationMs: options.memoryWarmUpMs });
  let runs = 0;
  for (const count of options.waiting) {
    const startSome = async (): Promise<void> => {
      while (runs < count) {
        runs += 1;
        await start(platform, "waiting", null);
      }
    };
    await Promise.all(Array.from({ length: STARTERS }, startSome));
    const anonymousBytes = await settledMemory(platform, options.memoryReads);
    journal.add({ type: "waiting", target: "isola, step", runs: ok + runs, anonymousBytes });
  }
}

/** The least of a few reads: what is garbage goes sooner or later. */
async function settledMemory(platform: FlowPlatform, times: number): Promise<number> {
  const reads: number[] = [];
  for (let read = 0; read < times; read++) {
    await sleep(SETTLE_MS);
    const pid = cellOf(platform);
    const memory = pid === undefined ? undefined : memoryOf(pid);
    if (memory) reads.push(memory.anonymousBytes);
  }
  return Math.min(...reads);
}
