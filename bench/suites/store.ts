/**
 * Suite `store`: what putting and getting intermediate data costs a function, in Isola's store, in
 * Redis over loopback and in an object store, interleaved in one run and timed from outside.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StoreBatch, StoreBatchResult } from "../fixtures/index.ts";
import { type BatchRecord, Journal } from "../journal.ts";
import { cpuMsOf } from "../processes.ts";
import { provenance } from "../provenance.ts";
import {
  type StoreTarget,
  redisVersion,
  startObjectStore,
  startRedis,
  startStore,
} from "../store-targets.ts";
import { isMet } from "./figures.ts";
import {
  type StoreCase,
  type StoreOptions,
  handOverCases,
  pairedCases,
  streamCases,
  valueCases,
} from "./store-cases.ts";
import { storeFaultsOf, storeFiguresOf } from "./store-figures.ts";
import { storeReportOf } from "./store-report.ts";

const WARM_UP_ROUNDS = 3;
/** Longest wait for a batch. */
const BATCH_MAX_MS = 120_000;

export interface StoreResult {
  readonly report: string;
  readonly isValid: boolean;
  readonly aimsMet: boolean;
}

interface Running {
  readonly targets: ReadonlyMap<StoreTarget["name"], StoreTarget>;
  readonly journal: Journal;
}

export async function runStore(
  options: StoreOptions,
  tell: (line: string) => void,
  jsonFile?: string,
): Promise<StoreResult> {
  const journal = new Journal();
  const origin = provenance();
  journal.add({ type: "provenance", value: origin });
  journal.add({ type: "options", value: options });
  try {
    await withTargets(journal, (targets) => measure({ targets, journal }, options, tell));
  } catch (error) {
    // What was measured until then is kept.
    journal.add({ type: "note", value: String(error) });
    if (jsonFile !== undefined) journal.write(jsonFile);
    throw error;
  }
  const figures = storeFiguresOf(journal);
  const faults = storeFaultsOf(journal);
  for (const value of figures) journal.add({ type: "figure", value });
  journal.add({ type: "verdict", value: { valid: faults.length === 0, faults } });
  if (jsonFile !== undefined) journal.write(jsonFile);
  return {
    report: storeReportOf(journal, figures, faults, origin),
    isValid: faults.length === 0,
    aimsMet: figures.every((figure) => isMet(figure) !== false),
  };
}

async function withTargets(
  journal: Journal,
  use: (targets: Running["targets"]) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "isola-bench-"));
  const started: StoreTarget[] = [];
  try {
    started.push(await startStore(folder));
    const redis = redisVersion();
    if (redis === undefined) {
      journal.add({ type: "note", value: "redis-server is not installed: not compared with it" });
    } else {
      journal.add({ type: "note", value: `redis-server ${redis}, nothing written to disk` });
      started.push(await startRedis(folder));
    }
    started.push(...(await startObjectStore(folder)));
    await use(new Map(started.map((target) => [target.name, target])));
  } finally {
    await Promise.all(started.map((target) => target.stop()));
    await rm(folder, { recursive: true, force: true });
  }
}

async function measure(
  running: Running,
  options: StoreOptions,
  tell: (line: string) => void,
): Promise<void> {
  const small = [...valueCases(["100 B", "1 KB", "64 KB"], options), ...handOverCases(options)];
  tell(`values up to 64 KB: ${options.rounds} rounds of ${small.length} cases`);
  await runRounds(running, small, options.rounds);
  tell(`the same with and without expiry: ${options.pairedRounds} rounds`);
  await runRounds(running, pairedCases(options), options.pairedRounds);
  tell(`values of 1 MB: ${options.largeRounds} rounds`);
  await runRounds(running, valueCases(["1 MB"], options), options.largeRounds);
  tell(`streams of 100 MB: ${options.streamRounds} rounds`);
  await runRounds(running, streamCases(options), options.streamRounds);
}

async function runRounds(
  { targets, journal }: Running,
  cases: readonly StoreCase[],
  rounds: number,
): Promise<void> {
  const present = cases.filter(({ target }) => targets.has(target));
  const warmUps = Math.min(WARM_UP_ROUNDS, rounds);
  const jobs = new Map<string, string>();
  for (let round = -warmUps; round < rounds; round++) {
    for (const each of round % 2 === 0 ? present : present.toReversed()) {
      const target = targets.get(each.target);
      if (!target) continue;
      const job = await jobOf(each, target, jobs);
      // What goes around the operations, by itself, at the same moment.
      for (const count of [0, each.batch.count]) {
        const measured = await runBatch(target, { ...each.batch, count, job });
        const { sizeBytes } = each.batch;
        const batch = { type: "batch", round, name: each.name, count, sizeBytes } as const;
        if (round >= 0) journal.add({ ...batch, ...measured });
      }
    }
  }
}

/** What is read stays where it is over all rounds; in Isola's store it has a job of its own. */
async function jobOf(
  { name, batch }: StoreCase,
  target: StoreTarget,
  jobs: Map<string, string>,
): Promise<string> {
  const known = jobs.get(name);
  if (known !== undefined || !batch.op.startsWith("get")) return known ?? "";
  // Redis and R2 have one place for all sizes: it is filled whenever another size is read.
  const isStream = batch.op === "getStream";
  const { job = "" } = await ask(target.url, { ...batch, op: "fill", isStream });
  if (target.name === "isola") jobs.set(name, job);
  return job;
}

async function runBatch(
  target: StoreTarget,
  batch: StoreBatch,
): Promise<Pick<BatchRecord, "elapsedMs" | "cpuMs" | "octets" | "wantedOctets">> {
  const cpuBeforeMs = cpuMsOfAll(target);
  const beganMs = performance.now();
  const { octets } = await ask(target.url, batch);
  const elapsedMs = performance.now() - beganMs;
  const cpuMs = cpuMsOfAll(target) - cpuBeforeMs;
  const reads = !batch.op.startsWith("put");
  return { elapsedMs, cpuMs, octets, wantedOctets: reads ? batch.count * batch.sizeBytes : 0 };
}

const cpuMsOfAll = (target: StoreTarget): number =>
  target.processes().reduce((sum, pid) => sum + cpuMsOf(pid), 0);

async function ask(url: string, batch: StoreBatch): Promise<StoreBatchResult> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(batch),
    signal: AbortSignal.timeout(BATCH_MAX_MS),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${text.slice(0, 2_000)}`);
  return JSON.parse(text) as StoreBatchResult;
}
