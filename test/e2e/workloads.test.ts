/**
 * The thesis's workloads as users run them: the functions of functions/ on a platform, a source and
 * a sink that are processes of their own, and kill -9 of whatever is at work (G1, G2).
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EtlRequest, EtlResult } from "../../functions/etl/records.ts";
import { type Account, SinkProcess } from "../../functions/demo/sink-process.ts";
import { serveSource } from "../../functions/demo/source.ts";
import type { Holding } from "../../functions/order/shop.ts";
import type { WordCount } from "../../functions/word-count-reduce.ts";
import { bundleFunction, findFunctions } from "../../runtime/cli/internal.ts";
import { killCell } from "../support/cells.ts";
import { type TestPlatform, startTestPlatform } from "../support/platform.ts";

const FILMS = "node_modules/vega-datasets/data/movies.json";
const BATCH_RECORDS = 100;
const BATCHES = 33;
/** Batches that the workflow works on at once. */
const SIDE_BY_SIDE = 4;

let platform: TestPlatform;

beforeAll(async () => {
  platform = await startTestPlatform({ allowPrivate: ["127.0.0.1/32"] });
  for (const { name, path } of await findFunctions("functions")) {
    const { bundle } = await bundleFunction({ name, path });
    await platform.client.deploy(name, { main: bundle.main }, bundle.modules);
  }
}, 60_000);

afterAll(() => platform.stop(), 60_000);

async function value<Result>(name: string, json: unknown): Promise<Result> {
  const headers = { prefer: "wait=50" };
  const answer = await platform.call(name, { json, headers, withinMs: 50_000 });
  expect(answer.status, answer.text).toBe(200);
  return answer.json as Result;
}

describe("FizzBuzz", () => {
  it("answers the same as a workflow, by a coordinator and merged", async () => {
    const forms = ["fizzbuzz", "fizzbuzz-coordinator", "fizzbuzz-merged"];
    for (const n of [1, 3, 5, 15]) {
      const answers = await Promise.all(forms.map((form) => value(form, n)));
      expect(new Set(answers)).toEqual(new Set([answers[0]]));
    }
    expect(await value("fizzbuzz", 15)).toBe("FizzBuzz");
  });
});

describe("the chain", () => {
  const forms = ["chain", "chain-merged", "chain-direct", "chain-coordinator", "chain-events"];

  it.each(forms)("hands a value through as many links as the request says, as %s", async (form) => {
    for (const links of [1, 6]) {
      const sent = { text: "hello", list: [1, null, { deep: true }] };
      expect(await value(form, { links, value: sent })).toEqual(sent);
    }
  });

  it("of 100 links is a run of 100 steps", async () => {
    expect(await value("chain", { links: 100, value: "far" })).toBe("far");
  });
});

describe("the word count", () => {
  const text = readFileSync("ARCHITECTURE.md", "utf8").repeat(8);
  const words = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

  it.each(["word-count", "word-count-coordinator"])(
    "counts every word once, as %s",
    async (name) => {
      const headers = { "content-type": "text/plain" };
      const answer = await platform.call(name, { method: "POST", headers, body: text });
      expect(answer.status, answer.text).toBe(200);
      const counted = answer.json as WordCount;
      expect(counted.parts).toBeGreaterThan(1);
      expect(counted.words).toBe(words.length);
      expect(counted.distinct).toBe(new Set(words).size);
      const [[most, times] = ["", 0]] = counted.top;
      expect(times).toBe(words.filter((word) => word === most).length);
    },
  );

  // Its parts are taken and its counter goes up with the steps, or not at all (G2).
  it("counts every word once when the cell dies in the middle", async () => {
    const headers = { "content-type": "text/plain" };
    const init = { method: "POST", headers, body: text.repeat(4) };
    const started = await platform.http.call("/async-function/word-count", init);
    const id = String(started.headers["x-run-id"]);
    for (let done = 0; done < 3;) {
      const { steps } = await platform.client.runs.show(id);
      done = steps.filter(({ status }) => status === "completed").length;
    }
    await killCell(platform, 0);
    await statusIs(id, "completed");
    const counted = (await platform.http.call(`/runs/${id}`)).json as WordCount;
    expect(counted.parts).toBeGreaterThan(10);
    expect(counted.words).toBe(4 * words.length);
  });
});

describe("orders", () => {
  it("that cannot be leave nothing behind, however many come at once", async () => {
    const shop = (await platform.client.store.createJob({ name: "shop", durability: "disk" })).id;
    const bucket = platform.client.store.job(shop).bucket("default");
    const holding = async (key: string): Promise<Holding> =>
      (await (await bucket.get(key)).value()) as Holding;
    await bucket.putValue("shelf/lamp", { left: 5, held: {} });
    await bucket.putValue("credit", { left: 60, held: {} });
    const countries = ["SE", "AQ", "NO", "SE", "AQ", "DK", "SE", "NO"];
    const results = await Promise.all(
      countries.map((country, index) =>
        value<{ state: string }>("order", {
          shop,
          order: `o-${String(index)}`,
          article: "lamp",
          pieces: 1,
          country,
        }),
      ),
    );
    const shipped = results.filter(({ state }) => state === "shipped").length;
    expect(shipped).toBeGreaterThan(0);
    expect(shipped).toBeLessThanOrEqual(3);
    const [shelf, credit] = [await holding("shelf/lamp"), await holding("credit")];
    expect(shelf.left).toBe(5 - shipped);
    expect(credit.left).toBe(60 - 20 * shipped);
    expect(Object.keys(shelf.held).sort()).toEqual(Object.keys(credit.held).sort());
  });
});

describe("an expense", () => {
  it.each(["expense", "expense-code"])(
    "waits for its decision, also while the cell dies, as %s",
    async (name) => {
      expect(await value(name, { who: "Ada", amount: 80 })).toMatchObject({ by: "rule" });
      const started = await platform.http.call(`/async-function/${name}`, {
        json: { who: "Alan", amount: 800 },
      });
      const id = String(started.headers["x-run-id"]);
      await statusIs(id, "waiting");
      await killCell(platform, 0);
      await statusIs(id, "waiting");
      await platform.client.runs.signal(id, {
        type: "decision",
        payload: { approved: false, by: "Grace" },
      });
      await statusIs(id, "completed");
      const answer = await platform.http.call(`/runs/${id}`);
      expect(answer.json).toEqual({ approved: false, by: "Grace" });
      expect(await platform.client.runs.drawing(id, "mermaid")).toMatch(/somebody.*:::done/);
    },
  );
});

async function statusIs(id: string, wanted: string, withinMs = 10_000): Promise<void> {
  const untilMs = Date.now() + withinMs;
  for (;;) {
    const run = await platform.client.runs.show(id).catch(() => undefined);
    if (run?.status === wanted) return;
    if (Date.now() > untilMs) throw new Error(`run ${id} is ${String(run?.status)}, not ${wanted}`);
    await sleep(20);
  }
}

interface Accidents {
  readonly onRead?: (count: number) => void;
  readonly onBatch?: (count: number, sink: SinkProcess) => Promise<void>;
}

interface Done {
  readonly result: EtlResult;
  readonly account: Account;
  readonly reads: readonly number[];
}

let databases = 0;

/** Runs the pipeline from a source into a sink that begins empty. */
async function etl({ onRead, onBatch = async () => {} }: Accidents): Promise<Done> {
  databases += 1;
  const file = join(platform.folder, `films-${String(databases)}.sqlite`);
  const accidents: Promise<void>[] = [];
  const source = await serveSource(FILMS, onRead);
  const sink = new SinkProcess(file, (count) => accidents.push(onBatch(count, sink)));
  try {
    await sink.start();
    const request: EtlRequest = {
      source: source.url,
      sink: sink.url,
      batchRecords: BATCH_RECORDS,
    };
    const result = await value<EtlResult>("etl", request);
    await Promise.all(accidents);
    return { result, account: await sink.account(), reads: source.reads };
  } finally {
    await sink.stop();
    source.close();
  }
}

function expectWhole({ result, account }: Done): void {
  expect(result).toMatchObject({ recordsIn: 3201, batches: BATCHES, films: 3014, groups: 24 });
  expect(result.rejectedBy.map(({ name, count }) => [name, count])).toEqual([
    ["title-missing", 1],
    ["budget-unknown", 1],
    ["gross-unknown", 54],
    ["rating-missing", 152],
  ]);
  const loaded = { batches: BATCHES, films: 3014, loads: 3014, rejects: 187, groups: 24 };
  expect(account).toMatchObject(loaded);
}

describe("the film pipeline", () => {
  it("goes on from its checkpoint when the cell dies in the middle of the source", async () => {
    const done = await etl({
      onRead: (count) => {
        if (count === 12) void killCell(platform, 0);
      },
    });
    expectWhole(done);
    // What was read is not read again, but for the batch that was under way.
    expect(new Set(done.reads).size).toBe(BATCHES);
    expect(done.reads.length).toBeLessThanOrEqual(BATCHES + 1);
  });

  it("loads nothing twice when the cell dies in the middle of the load", async () => {
    const done = await etl({
      onBatch: async (count) => {
        if (count === 12) await killCell(platform, 0);
      },
    });
    expectWhole(done);
    expect(done.account.arrivals).toBeLessThanOrEqual(BATCHES + SIDE_BY_SIDE);
    expect(done.reads).toHaveLength(BATCHES);
  });

  it("waits for a sink that dies in the middle of the load and comes back", async () => {
    const done = await etl({
      onBatch: async (count, sink) => {
        if (count !== 12) return;
        await sink.kill();
        await sleep(250);
        await sink.start();
      },
    });
    expectWhole(done);
    expect(done.account.arrivals).toBeGreaterThanOrEqual(BATCHES);
  });
});
