/**
 * Cells that are killed at any moment while a thousand jobs are at work: what was promised to be on
 * disk is there, what memory alone held is reported as lost, and nothing is left over (G4, G9).
 */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { IsolaError } from "../../runtime/contract/index.ts";
import { killCell } from "../support/cells.ts";
import { type TestPlatform, startTestPlatform } from "../support/platform.ts";
import { shardRows } from "../support/shard-database.ts";
import { until } from "../support/until.ts";

const JOBS = 1_000;
const WORKERS = 16;
const KILLS = 6;

/** What a job was told, and so has a right to. */
interface Ledger {
  readonly id: string;
  /** Octets by key, of puts that were answered. */
  readonly kept: Map<string, Uint8Array>;
  readonly memory: Map<string, Uint8Array>;
  /** Somebody asked for its end; whether it came, a crash may have kept from him. */
  isEnding: boolean;
}

const sizes = [0, 1, 100, 1_000, 70_000, 200_000];

function octets(seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(sizes[seed % sizes.length] ?? 0);
  for (let at = 0; at < bytes.length; at += 97) bytes[at] = (seed + at) % 251;
  return bytes;
}

/** The answer, or the code of the refusal. */
async function orCode<T>(work: () => Promise<T>): Promise<T | string> {
  try {
    return await work();
  } catch (thrown) {
    return thrown instanceof IsolaError ? thrown.code : String(thrown);
  }
}

/** The answer; undefined where a crash took it, and with it the knowledge of what happened. */
async function attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (thrown) {
    const code = thrown instanceof IsolaError ? thrown.code : String(thrown);
    expect(["CELL_LOST", "CELL_RESTARTING", "UNREACHABLE", "VALUE_LOST"]).toContain(code);
    // As a client would, before it asks again.
    await sleep(20);
    return undefined;
  }
}

async function workOn(platform: TestPlatform, seed: number): Promise<Ledger | undefined> {
  const { store } = platform.client;
  const job = await attempt(() => store.createJob({ name: `job ${String(seed)}` }));
  if (!job) return undefined;
  const ledger: Ledger = {
    id: job.id,
    kept: new Map(),
    memory: new Map(),
    isEnding: false,
  };
  const bucket = store.job(job.id).bucket();
  const onDisk = octets(seed);
  if (await attempt(() => bucket.put("disk", onDisk, { durability: "disk" }))) {
    ledger.kept.set("disk", onDisk);
  }
  const persisted = octets(seed + 1);
  if (await attempt(() => bucket.put("persisted", persisted, { persist: true }))) {
    ledger.kept.set("persisted", persisted);
  }
  const inMemory = octets(seed + 2);
  if (await attempt(() => bucket.put("memory", inMemory))) ledger.memory.set("memory", inMemory);
  await attempt(() => bucket.incr("counter"));
  ledger.isEnding = seed % 3 === 0;
  if (ledger.isEnding) await attempt(() => store.job(job.id).end());
  return ledger;
}

async function verify(platform: TestPlatform, ledger: Ledger): Promise<void> {
  const bucket = platform.client.store.job(ledger.id).bucket();
  for (const [key, expected] of ledger.kept) {
    if (ledger.isEnding && key !== "persisted") continue;
    const found = await bucket.get(key);
    expect(Buffer.from(await found.bytes()).equals(expected), `${key} of ${ledger.id}`).toBe(true);
  }
  if (ledger.isEnding) return;
  for (const [key, expected] of ledger.memory) {
    const found = await orCode(async () => (await bucket.get(key)).bytes());
    const isWhole = typeof found !== "string" && Buffer.from(found).equals(expected);
    expect(isWhole || found, `${key} of ${ledger.id}`).toBeOneOf([true, "VALUE_LOST"]);
  }
}

async function inTurns<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  const worker = async (): Promise<void> => {
    for (let item = left.pop(); item !== undefined; item = left.pop()) await work(item);
  };
  await Promise.all(Array.from({ length: WORKERS }, worker));
}

/** Ends everything, and takes away what was persisted. */
async function clear(platform: TestPlatform): Promise<void> {
  const { store } = platform.client;
  const { items } = await store.jobs();
  await inTurns(items, async ({ id, buckets, endedAtMs }) => {
    if (endedAtMs === undefined) await store.job(id).end();
    for (const bucket of buckets) {
      // With nothing persisted in it, the job went with its end.
      const removed = await orCode(() => store.job(id).bucket(bucket).remove());
      expect(removed).toBeOneOf([undefined, "JOB_ENDED"]);
    }
  });
}

/** Tables that hold something, but for what a shard knows of itself. */
function leftOver(dataDir: string): string {
  return Object.entries(shardRows(dataDir))
    .filter(([table, rows]) => rows > 0 && !table.endsWith("Settings"))
    .map(([table, rows]) => `${table}: ${String(rows)}`)
    .join(", ");
}

it("loses nothing that was promised, and leaves nothing, however often its cells die", async () => {
  const platform = await startTestPlatform({ cells: 2, shards: 3 });
  try {
    const ledgers: Ledger[] = [];
    let done = 0;
    let kills = 0;
    const killing = (async () => {
      while (kills < KILLS) {
        await until(() => done >= (JOBS * (kills + 0.5)) / KILLS, 120_000);
        await sleep(Math.random() * 50);
        await killCell(platform, kills % 2).catch(() => undefined);
        kills += 1;
      }
    })();
    await inTurns(
      Array.from({ length: JOBS }, (_, seed) => seed),
      async (seed) => {
        const ledger = await workOn(platform, seed);
        if (ledger) ledgers.push(ledger);
        done += 1;
      },
    );
    await killing;
    const promised = ledgers.reduce((sum, { kept }) => sum + kept.size, 0);
    expect(promised).toBeGreaterThan(JOBS);
    await until(async () => (await platform.client.store.jobs()).missing.length === 0);
    await inTurns(ledgers, (ledger) => verify(platform, ledger));
    expect(leftOver(platform.dataDir)).toMatch(/storeSlots: .*blocks: /);
    await clear(platform);
    expect((await platform.client.store.jobs()).items).toEqual([]);
    // Another opening of each shard sweeps what is nobody's.
    for (const slot of [0, 1]) await killCell(platform, slot);
    await until(() => leftOver(platform.dataDir) === "", 30_000);
    await until(async () => (await platform.client.store.jobs()).missing.length === 0);
    expect((await platform.client.store.jobs()).items).toEqual([]);
  } finally {
    await platform.stop();
  }
}, 300_000);
