/**
 * Hundreds of runs while cells are killed at random: each ends with the right answer, and a ledger
 * in a process of its own has each step's effect once, under the step's key (G1, G2, G7). What the
 * steps put, counted and took says the same.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { killCell } from "../support/cells.ts";
import { type Ledger, type LedgerEntry, startLedger } from "../support/ledger.ts";
import { usePlatform } from "../support/platform.ts";
import { seededRandom } from "../support/workflow-world.ts";

const RUNS = Number(process.env["ISOLA_CHAOS_RUNS"] ?? 200);
const SEED = Number(process.env["ISOLA_SEED"] ?? Date.now() % 100_000);
const CLIENTS = 12;
const TIMEOUT_MS = Math.max(180_000, 500 * RUNS);
const MEANWHILE = new Set([202, 429, 502, 503]);
/** Steps that each run takes. */
const STEPS = ["first", "left", "right", "last"];

const platform = usePlatform({ cells: 2, allowPrivate: ["127.0.0.0/8"] });
let ledger: Ledger;

beforeAll(async () => {
  ledger = await startLedger();
  const effect = `async (input, ctx) => {
    const { store } = ctx;
    const name = ctx.step.split("/")[0];
    const counted = await store.incr("count/" + name);
    const answer = await fetch("${ledger.url}/" + name, {
      method: "POST", headers: { "idempotency-key": ctx.idempotencyKey },
    });
    await answer.json();
    const taken = name === "last" ? await store.take("from/first") : undefined;
    await store.put("from/" + name, { name, counted });
    // Some fail once after all of it; some take longer than others.
    await new Promise((go) => setTimeout(go, (input.n * 7) % 40));
    if (ctx.attempt === 1 && (input.n + name.length) % 5 === 0) throw new Error("the first time");
    const seen = name === "last" ? [await store.get("from/left"), taken] : [];
    return { n: input.n ?? input.left.n, path: (input.path ?? "") + name, counted, seen };
  }`;
  await platform().deploy("effect", `export default ${effect};`, {
    retry: { limit: 3, delayMs: 20 },
  });
  await platform().deploy(
    "chaos",
    `import { flow } from "isola";
    export default flow((dag) => {
      for (const name of ["first", "left", "right"]) dag.node(name).apply("effect");
      const both = ({ left, right }) => ({ n: left.n, path: left.path + right.path });
      dag.node("last", { aggregator: both }).apply("effect");
      dag.edge("first", "left"); dag.edge("first", "right");
      dag.edge("left", "last"); dag.edge("right", "last");
    });`,
  );
});

afterAll(() => ledger.stop());

/** Asks again until the platform has an answer; a start under one key is one run. */
async function start(n: number): Promise<string> {
  for (;;) {
    const headers = { "idempotency-key": `chaos-${String(n)}` };
    const answer = await platform()
      .http.call("/async-function/chaos", { json: { n }, headers })
      .catch(() => undefined);
    const location = answer?.headers["location"];
    if (answer?.status === 202 && typeof location === "string") return location;
    if (answer && !MEANWHILE.has(answer.status)) throw new Error(answer.text);
    await sleep(50);
  }
}

async function ended(location: string): Promise<unknown> {
  for (;;) {
    const answer = await platform()
      .http.call(location)
      .catch(() => undefined);
    if (answer?.status === 200) return answer.json;
    if (answer && !MEANWHILE.has(answer.status)) throw new Error(`${location}: ${answer.text}`);
    await sleep(50);
  }
}

/** Until `isOver`: a cell dies every second or so. */
async function killAtRandom(isOver: () => boolean): Promise<number> {
  const fraction = seededRandom(SEED);
  let kills = 0;
  while (!isOver()) {
    await sleep(600 + fraction() * 1_400);
    if (isOver()) break;
    const slot = fraction() < 0.5 ? 0 : 1;
    const atMs = await killCell(platform(), slot).catch(() => undefined);
    if (atMs !== undefined) kills += 1;
  }
  return kills;
}

describe("runs whose cells are killed at random", () => {
  it(
    `end as they should, and have each effect once (ISOLA_SEED=${String(SEED)})`,
    async () => {
      const found = new Map<number, unknown>();
      let next = 0;
      const clients = Array.from({ length: CLIENTS }, async () => {
        while (next < RUNS) {
          const n = next;
          next += 1;
          found.set(n, await ended(await start(n)));
        }
      });
      const killing = killAtRandom(() => found.size >= RUNS);
      await Promise.all(clients);
      const kills = await killing;
      expect(kills).toBeGreaterThan(2);
      for (let n = 0; n < RUNS; n += 1)
        expect(found.get(n), `run ${String(n)}`).toEqual(answerOf(n));
      checkLedger(await ledger.entries());
      const { items } = await platform().client.runs.list({ function: "chaos", limit: 1_000 });
      expect(items.map(({ status }) => status)).toEqual(Array(RUNS).fill("completed"));
      const jobs = (await platform().client.store.jobs()).items;
      expect(jobs.filter(({ kind }) => kind === "run")).toEqual([]);
    },
    TIMEOUT_MS,
  );
});

function answerOf(n: number): unknown {
  const path = "firstleftfirstrightlast";
  const seen = ["left", "first"].map((name) => ({ name, counted: 1 }));
  return { n, path, counted: 1, seen };
}

/** One effect of each step of each run, each under a key of its own. */
function checkLedger(entries: readonly LedgerEntry[]): void {
  const byRun = new Map<string, string[]>();
  for (const { key, step } of entries) {
    const [run = ""] = key.split("/");
    byRun.set(run, [...(byRun.get(run) ?? []), step]);
  }
  expect(byRun.size).toBe(RUNS);
  for (const [run, steps] of byRun) expect(steps.sort(), run).toEqual([...STEPS].sort());
}
