/** Dead letters: runs that failed are listed by themselves, and replayed once. */
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { IsolaError } from "../../runtime/contract/index.ts";
import { killCell } from "../support/cells.ts";
import type { Answer, CallInit } from "../support/http-calls.ts";
import { usePlatform } from "../support/platform.ts";

/** Refuses what is negative; a later version does not. */
const PICKY = `export default ({ n }) => { if (n < 0) throw new Error("negative"); return { n }; };
export const config = { retry: { limit: 1, delayMs: 10, backoff: "constant" } };`;
const MILD = `export default ({ n }) => ({ n, version: 2 });`;

const platform = usePlatform({ cells: 2 });

beforeAll(async () => {
  await platform().deploy("picky", PICKY);
});

async function start(n: number, init: CallInit = {}): Promise<string> {
  const answer = await platform().http.call("/async-function/picky", { ...init, json: { n } });
  expect(answer.status, answer.text).toBe(202);
  return String(answer.headers["x-run-id"]);
}

async function resultOf(id: string): Promise<Answer> {
  const untilMs = Date.now() + 20_000;
  for (;;) {
    const answer = await platform().http.call(`/runs/${id}`);
    if (answer.status !== 202 && answer.status !== 503) return answer;
    if (Date.now() > untilMs) throw new Error(`no result of ${id}`);
    await sleep(10);
  }
}

async function failed(n: number): Promise<string> {
  const id = await start(n);
  expect((await resultOf(id)).status).toBe(500);
  return id;
}

async function deadLetters(): Promise<string[]> {
  const { items, missing } = await platform().client.runs.list({ deadLetters: true });
  expect(missing).toEqual([]);
  return items.map(({ id }) => id);
}

async function refusal(work: Promise<unknown>): Promise<string> {
  const thrown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return thrown instanceof IsolaError ? thrown.code : String(thrown);
}

describe("dead letters", () => {
  it("are the failed runs, until they are replayed; a repeat is the same run", async () => {
    const { runs } = platform().client;
    const fine = await start(1);
    expect((await resultOf(fine)).status).toBe(200);
    const ids = [await failed(-1), await failed(-2)];
    expect(new Set(await deadLetters())).toEqual(new Set(ids));
    const [first = "", second = ""] = ids;
    await platform().deploy("picky", MILD);
    const again = await runs.replay(first);
    expect(again).toMatchObject({ workflow: "picky", replayOf: first });
    expect(again.id).not.toBe(first);
    expect((await resultOf(again.id)).json).toEqual({ n: -1, version: 2 });
    expect((await runs.replay(first)).id).toBe(again.id);
    expect(await deadLetters()).toEqual([second]);
    expect(await runs.show(first)).toMatchObject({ status: "failed", replayedAs: again.id });
    const { items } = await runs.list({ status: "failed" });
    expect(items.map(({ id }) => id)).toContain(first);
  });

  it("are replayed again under another key, or with the version that is asked for", async () => {
    const { client } = platform();
    const { runs } = client;
    const { version: mild } = await platform().deploy("picky", MILD);
    await platform().deploy("picky", PICKY);
    const id = await failed(-3);
    await client.promote("picky", mild, 50);
    const keyed = await runs.replay(id, { key: "noon", version: mild });
    expect((await resultOf(keyed.id)).json).toEqual({ n: -3, version: 2 });
    expect((await runs.replay(id, { key: "noon", version: mild })).id).toBe(keyed.id);
    const other = await runs.replay(id, { key: "night", version: mild });
    expect(other.id).not.toBe(keyed.id);
    await resultOf(other.id);
  });

  it("survive the end of their cells, and so do their replays (G1)", async () => {
    const { runs } = platform().client;
    await platform().deploy("picky", PICKY);
    const id = await failed(-4);
    await platform().deploy("picky", MILD);
    const { id: again } = await runs.replay(id);
    await Promise.all([killCell(platform(), 0), killCell(platform(), 1)]);
    expect((await resultOf(again)).json).toEqual({ n: -4, version: 2 });
    await sleep(500);
    expect((await runs.replay(id)).id).toBe(again);
  }, 40_000);

  it("are no other runs", async () => {
    const { client } = platform();
    const id = await start(5);
    await resultOf(id);
    expect(await refusal(client.runs.replay(id))).toBe("RUN_STATE");
    expect(await refusal(client.runs.replay(`0-${"0".repeat(32)}`))).toBe("RUN_NOT_FOUND");
    await client.namespaces.create({ namespace: "other" });
    expect(await refusal(client.in("other").runs.replay(id))).toBe("RUN_NOT_FOUND");
    expect(await refusal(client.runs.replay(id, { key: "k".repeat(300) }))).toBe("REQUEST_INVALID");
  });
});
