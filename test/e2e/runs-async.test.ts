/**
 * Asynchronous calls are runs: accepted when they are on disk, made until they end, answered by
 * their id; neither the end of their cell nor of the gateway loses one (G1, G7).
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { killCell, processOf } from "../support/cells.ts";
import type { Answer, CallInit } from "../support/http-calls.ts";
import { FORM, type TestPlatform, startTestPlatform } from "../support/platform.ts";

const ADD = "export default ({ a, b }) => ({ sum: a + b });";
const ECHO_HTTP = `export default { async fetch(request) {
  const { pathname, search } = new URL(request.url);
  const said = [request.method, pathname + search, request.headers.get("x-own"),
    request.headers.get("x-forwarded-prefix"), await request.text()];
  return new Response(said.join("|"), { status: 201, headers: { "x-said": "yes" } });
} };`;
/** Fails until its attempt number is what it was asked for. */
const FLAKY = `export default (wanted, ctx) => {
  if (ctx.attempt < wanted) throw new Error("attempt " + ctx.attempt);
  return { attempt: ctx.attempt, key: ctx.idempotencyKey };
};
export const config = { retry: { limit: 2, delayMs: 20, backoff: "constant" } };`;
const SLOW = `export default async (ms, ctx) => {
  await new Promise((resolve) => setTimeout(resolve, ms));
  return { key: ctx.idempotencyKey };
};`;
const STALE = `export default () => new Promise(() => setTimeout(() => {}, 60_000));
export const config = { timeoutMs: 200 };`;
const TALKATIVE = `export default () => "x".repeat(17 * 1024 * 1024);`;

let platform: TestPlatform;

beforeAll(async () => {
  platform = await startTestPlatform({ cells: 2 }, FORM);
  await platform.deploy("add", ADD);
  await platform.deploy("echo-http", ECHO_HTTP);
  await platform.deploy("flaky", FLAKY);
  await platform.deploy("slow", SLOW);
  await platform.deploy("stale", STALE);
  await platform.deploy("talkative", TALKATIVE);
  await platform.deploy("mirror", "export default (octets) => octets;");
  await platform.deploy("spinner", "export default () => { for (;;); };", { maxBlockMs: 200 });
  await platform.deploy("guarded", ADD, { auth: "token" });
  await platform.deploy("inner", ADD, { auth: "internal" });
}, 60_000);

afterAll(async () => {
  await platform.stop();
});

async function start(target: string, init: CallInit = {}): Promise<string> {
  const answer = await platform.http.call(`/async-function/${target}`, init);
  expect(answer.status, answer.text).toBe(202);
  const id = String(answer.headers["x-run-id"]);
  expect(id).toMatch(/^\d+-[0-9a-f]{32}$/);
  expect(answer.headers["x-call-id"]).toBe(id);
  expect(answer.headers.location).toBe(`/runs/${id}`);
  return id;
}

/** The answer of a run, when it has one. */
async function resultOf(id: string, init: CallInit = {}, withinMs = 20_000): Promise<Answer> {
  const untilMs = Date.now() + withinMs;
  for (;;) {
    const answer = await platform.http.call(`/runs/${id}`, init).catch(() => undefined);
    const isOver = answer && answer.status !== 202 && answer.code !== "CELL_RESTARTING";
    if (isOver && answer.code !== "CELL_LOST") return answer;
    if (Date.now() > untilMs) throw new Error(`no result of ${id}: ${answer?.text ?? "none"}`);
    await sleep(20);
  }
}

function keyed(key: string, json: unknown): CallInit {
  return { json, headers: { "idempotency-key": key } };
}

async function codes(path: string, init: CallInit = {}): Promise<unknown[]> {
  const { status, code } = await platform.http.call(path, init);
  return [status, code];
}

describe("an asynchronous call", () => {
  it("is accepted with its id, and its result is fetched there", async () => {
    const id = await start("add", { json: { a: 2, b: 3 } });
    const answer = await resultOf(id);
    expect(answer.status).toBe(200);
    expect(answer.json).toEqual({ sum: 5 });
    expect(answer.headers["x-run-id"]).toBe(id);
    expect(answer.headers["content-type"]).toBe("application/json");
  });

  it("answers 202 with Retry-After while it runs", async () => {
    const id = await start("slow", { json: 600 });
    const early = await platform.http.call(`/runs/${id}`);
    expect(early.status).toBe(202);
    expect(early.headers["retry-after"]).toBe("1");
    expect(early.headers.location).toBe(`/runs/${id}`);
    expect((await resultOf(id)).status).toBe(200);
  });

  it("gives an HTTP function its method, path, headers and body", async () => {
    const id = await start("echo-http/some/where?x=1", {
      method: "PUT",
      body: "hello",
      headers: { "x-own": "mine" },
    });
    const answer = await resultOf(id);
    expect(answer.status).toBe(201);
    expect(answer.headers["x-said"]).toBe("yes");
    expect(answer.text).toBe("PUT|/some/where?x=1|mine|/async-function/echo-http|hello");
  });

  it("is tried again by the function's policy, under one key", async () => {
    const answer = await resultOf(await start("flaky", { json: 3 }));
    expect(answer.json).toMatchObject({ attempt: 3 });
  });

  it("fails by its code when its attempts are used up", async () => {
    const id = await start("flaky", { json: 9 });
    const answer = await resultOf(id);
    expect([answer.status, answer.code]).toEqual([500, "FUNCTION_ERROR"]);
    expect(answer.text).not.toContain("attempt 3");
    const stale = await resultOf(await start("stale"));
    expect([stale.status, stale.code]).toEqual([504, "TIMEOUT"]);
  });

  it("keeps requests and answers of the largest size that it accepts", async () => {
    const body = new Uint8Array(16 * 1024 * 1024).fill(7);
    const headers = { "content-type": "application/octet-stream" };
    const answer = await resultOf(await start("mirror", { body, headers }));
    expect(answer.status, answer.text.slice(0, 300)).toBe(200);
    expect(answer.bytes.equals(body)).toBe(true);
  });

  it("fails when its result is larger than a run keeps", async () => {
    const answer = await resultOf(await start("talkative"));
    expect(answer.code).toBe("RESULT_INVALID");
  });
});

describe("an idempotency key", () => {
  it("names one run, however often it is said", async () => {
    const first = await start("add", keyed("order-1", { a: 1, b: 1 }));
    const repeats = await Promise.all(
      [1, 2, 3].map(() => start("add", keyed("order-1", { a: 1, b: 1 }))),
    );
    expect(new Set([first, ...repeats]).size).toBe(1);
    const other = await start("add", keyed("order-2", { a: 1, b: 1 }));
    expect(other).not.toBe(first);
  });

  it("is refused with another body", async () => {
    await start("add", keyed("order-3", { a: 1, b: 1 }));
    const answer = await platform.http.call(
      "/async-function/add",
      keyed("order-3", { a: 2, b: 2 }),
    );
    expect([answer.status, answer.code]).toEqual([422, "KEY_REUSED"]);
  });
});

describe("what cannot be a run", () => {
  it("is refused with its reason", async () => {
    expect(await codes("/async-function/nobody")).toEqual([404, "FUNCTION_NOT_FOUND"]);
    expect(await codes("/async-function/inner")).toEqual([403, "INTERNAL_ONLY"]);
    expect(await codes("/async-function/guarded")).toEqual([401, "TOKEN_MISSING"]);
    const large = { body: new Uint8Array(17 * 1024 * 1024) };
    expect(await codes("/async-function/add", large)).toEqual([413, "BODY_TOO_LARGE"]);
    const callback = { headers: { "x-callback-url": "nowhere" } };
    expect(await codes("/async-function/add", callback)).toEqual([400, "REQUEST_INVALID"]);
    const longKey = { headers: { "idempotency-key": "k".repeat(300) } };
    expect(await codes("/async-function/add", longKey)).toEqual([400, "REQUEST_INVALID"]);
    expect(await codes(`/runs/0-${"0".repeat(32)}`)).toEqual([404, "RUN_NOT_FOUND"]);
    expect(await codes(`/runs/99-${"0".repeat(32)}`)).toEqual([404, "RUN_NOT_FOUND"]);
    expect(await codes("/runs/x")).toEqual([404, "RUN_NOT_FOUND"]);
    expect(await codes("/runs/x", { method: "DELETE" })).toEqual([405, "METHOD_NOT_ALLOWED"]);
  });

  it("keeps its result for whom its function would answer", async () => {
    const headers = { authorization: `Bearer ${platform.adminToken}` };
    const id = await start("guarded", { json: { a: 1, b: 2 }, headers });
    expect((await resultOf(id, { headers })).json).toEqual({ sum: 3 });
    expect((await resultOf(id)).code).toBe("TOKEN_MISSING");
  });
});

describe("a namespace", () => {
  it("takes its runs and keys with it when it is removed (G6)", async () => {
    const { namespaces } = platform.client;
    const again = keyed("same", { a: 20, b: 22 });
    const starts = async (): Promise<string> => {
      await namespaces.create({ namespace: "brief" });
      await platform.deploy("add", ADD, {}, { namespace: "brief" });
      const id = await start("add.brief", again);
      expect((await resultOf(id)).json).toEqual({ sum: 42 });
      return id;
    };
    const first = await starts();
    await namespaces.remove("brief", { force: true });
    expect((await platform.http.call(`/runs/${first}`)).code).toBe("RUN_NOT_FOUND");
    const second = await starts();
    expect(second).not.toBe(first);
    expect((await platform.http.call(`/runs/${first}`)).code).toBe("RUN_NOT_FOUND");
  });

  it.skipIf(FORM === "collapsed")(
    "of dedicated cells has its runs made there",
    async () => {
      await platform.client.namespaces.create({ namespace: "own", cells: "dedicated" });
      await platform.deploy("add", ADD, {}, { namespace: "own" });
      const id = await start("add.own", { json: { a: 40, b: 2 } });
      expect((await resultOf(id)).json).toEqual({ sum: 42 });
    },
    30_000,
  );
});

// One Worker has one process.
describe.skipIf(FORM === "collapsed")("a crash", () => {
  it("of the cells loses no accepted run (G1, G7)", async () => {
    const ids = await Promise.all(
      Array.from({ length: 40 }, (_, at) => start("slow", { json: 300 + at * 10 })),
    );
    const sums = await Promise.all(
      Array.from({ length: 40 }, (_, at) => start("add", { json: { a: at, b: 1 } })),
    );
    await killCell(platform, 0);
    await killCell(platform, 1);
    for (const [at, id] of sums.entries()) {
      expect((await resultOf(id, {}, 40_000)).json).toEqual({ sum: at + 1 });
    }
    const keys = new Set<unknown>();
    for (const id of ids) {
      const answer = await resultOf(id, {}, 40_000);
      expect(answer.status, answer.text).toBe(200);
      keys.add((answer.json as { key: string }).key);
    }
    expect(keys.size).toBe(40);
  }, 90_000);

  it("that a function causes ends its run with the reason, and no other (G7)", async () => {
    const spinning = await start("spinner");
    const other = await start("slow", { json: 3_000 });
    const answer = await resultOf(spinning, {}, 60_000);
    expect(["MAX_BLOCK", "FUNCTION_QUARANTINED"]).toContain(answer.code);
    expect((await resultOf(other, {}, 60_000)).status).toBe(200);
  }, 130_000);

  it("of the gateway loses none either (G1)", async () => {
    const id = await start("slow", { json: 1_500 });
    const pid = processOf(platform, "gateway");
    expect(pid).toBeDefined();
    if (pid !== undefined) process.kill(pid, "SIGKILL");
    expect((await resultOf(id, {}, 40_000)).status).toBe(200);
  }, 60_000);
});
