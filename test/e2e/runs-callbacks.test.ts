/**
 * Callbacks of asynchronous calls: signed, made again until somebody takes them, across the end of
 * any process; never to where the function itself may not send anything.
 */
import { createHmac } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { killCell, processOf } from "../support/cells.ts";
import type { Answer, CallInit } from "../support/http-calls.ts";
import { type TestPlatform, startTestPlatform } from "../support/platform.ts";
import { type Received, Receiver } from "../support/receiver.ts";
import { until } from "../support/until.ts";

const ADD = "export default ({ a, b }) => ({ sum: a + b });";
const FAILS = `export default () => { throw new Error("own words"); };`;
const ECHO_HTTP = `export default { async fetch(request) {
  const body = "heard " + await request.text();
  return new Response(body, { status: 201, headers: { "x-said": "yes", "set-cookie": "a=b" } });
} };`;
const SLOW = "export default (ms) => new Promise((done) => setTimeout(() => done(ms), ms));";
const FLOW = `import { flow } from "isola";
export default flow((dag) => {
  dag.node("sum").apply("add").modify(({ sum }) => ({ sum: sum + 1 }));
});`;
const KEY = "hush";

let platform: TestPlatform;
let receiver: Receiver;
/** A run whose receiver takes the connection and says nothing, from the first test on. */
let silent: string;
/** One whose receiver takes nothing. */
let refused: string;

beforeAll(async () => {
  platform = await startTestPlatform({
    cells: 2,
    allowPrivate: ["127.0.0.1/32"],
    runs: { callbackLastsMs: 15_000 },
  });
  receiver = await Receiver.open((path, count) => {
    if (path === "/failing" && count < 3) return { status: 500 };
    if (path === "/moved") {
      const location = receiver.url("/elsewhere");
      return count === 1 ? { status: 302, headers: { location } } : {};
    }
    if (path === "/busy" && count === 1) return { status: 503, headers: { "retry-after": "3" } };
    if (path === "/gone") return { status: 410 };
    if (path === "/refused") return { status: 418 };
    if (path === "/slow") return { afterMs: 1_500 };
    if (path === "/silent" && count === 1) return { isSilent: true };
    if (path.startsWith("/killed") && count === 1) return { isSilent: true };
    return {};
  });
  await platform.client.secrets.put("ISOLA_CALLBACK_KEY", KEY);
  await platform.deploy("add", ADD);
  await platform.deploy("fails", FAILS);
  await platform.deploy("echo-http", ECHO_HTTP);
  await platform.deploy("closed", ADD, { egress: "none" });
  await platform.deploy("picky", ADD, { egress: ["example.com"] });
  await platform.deploy("slow", SLOW);
  await platform.deploy("mirror", "export default (octets) => octets;");
  await platform.deploy("sum-flow", { main: "flow.ts", files: { "flow.ts": FLOW } });
  silent = await add("/silent", 1);
  refused = await add("/refused", 1);
}, 60_000);

afterAll(async () => {
  await platform.stop();
  await receiver.close();
});

function told(url: string, init: CallInit = {}): CallInit {
  return { ...init, headers: { ...init.headers, "x-callback-url": url } };
}

async function start(target: string, init: CallInit): Promise<string> {
  const answer = await platform.http.call(`/async-function/${target}`, init);
  expect(answer.status, answer.text).toBe(202);
  return String(answer.headers["x-run-id"]);
}

const add = (path: string, a: number): Promise<string> =>
  start("add", told(receiver.url(path), { json: { a, b: 1 } }));

/** As a receiver checks it. */
function signatureOf({ headers, body }: Received, key: string): string {
  const given = String(headers["x-isola-signature"]);
  const seconds = /^t=(\d+),v1=[0-9a-f]{64}$/.exec(given)?.[1] ?? "";
  const said = [seconds, headers["x-call-id"], headers["x-function-status"], ""];
  const text = said.join(".");
  const hash = createHmac("sha256", key).update(text).update(body).digest("hex");
  expect(given).toBe(`t=${seconds},v1=${hash}`);
  return seconds;
}

async function refusal(target: string, url: string): Promise<unknown[]> {
  const { status, code }: Answer = await platform.http.call(
    `/async-function/${target}`,
    told(url, { json: { a: 1, b: 2 } }),
  );
  return [status, code];
}

describe("a callback", () => {
  it("says what /runs/<id> would answer, with whose it is, and is signed", async () => {
    const before = Date.now();
    const id = await add("/plain", 2);
    const [request] = await receiver.until("/plain");
    expect(request?.method).toBe("POST");
    expect(JSON.parse(request?.body.toString() ?? "")).toEqual({ sum: 3 });
    const { headers = {} } = request ?? {};
    expect(headers["content-type"]).toBe("application/json");
    expect(headers["x-call-id"]).toBe(id);
    expect(headers["x-run-id"]).toBe(id);
    expect(headers["x-function-status"]).toBe("200");
    expect(headers["x-function-name"]).toBe("add");
    expect(Number(headers["x-duration-seconds"])).toBeLessThan(10);
    expect(Number(headers["x-start-time"]) / 1e6).toBeGreaterThanOrEqual(before - 1);
    expect(Object.keys(headers).filter((name) => name.startsWith("x-isola-"))).toEqual([
      "x-isola-signature",
    ]);
    if (!request) throw new Error("nothing came");
    const seconds = Number(signatureOf(request, KEY));
    expect(Math.abs(seconds * 1_000 - Date.now())).toBeLessThan(30_000);
    const answer = await platform.http.call(`/runs/${id}`);
    expect(answer.bytes.equals(request.body)).toBe(true);
  });

  it("says an HTTP function's status, headers and body, and no cookies", async () => {
    await start("echo-http", told(receiver.url("/http"), { body: "hello", method: "PUT" }));
    const [request] = await receiver.until("/http");
    expect(request?.body.toString()).toBe("heard hello");
    expect(request?.headers["x-function-status"]).toBe("201");
    expect(request?.headers["x-said"]).toBe("yes");
    expect(request?.headers["set-cookie"]).toBeUndefined();
    if (request) signatureOf(request, KEY);
  });

  it("says large results and what workflows came to", async () => {
    const body = new Uint8Array(3 * 1024 * 1024).fill(7);
    const headers = { "content-type": "application/octet-stream" };
    await start("mirror", told(receiver.url("/large"), { body, headers }));
    const [large] = await receiver.until("/large");
    expect(large?.body.equals(body)).toBe(true);
    if (large) signatureOf(large, KEY);
    const id = await start("sum-flow", told(receiver.url("/flow"), { json: { a: 40, b: 1 } }));
    const [flow] = await receiver.until("/flow");
    expect(JSON.parse(flow?.body.toString() ?? "")).toEqual({ sum: 42 });
    expect(flow?.headers["x-call-id"]).toBe(id);
    expect(flow?.headers["content-type"]).toBe("application/json");
    expect(flow?.headers["x-function-name"]).toBe("sum-flow");
    if (flow) signatureOf(flow, KEY);
  });

  it("says that a run was terminated", async () => {
    const id = await start("slow", told(receiver.url("/terminated"), { json: 60_000 }));
    await platform.client.runs.terminate(id);
    const [request] = await receiver.until("/terminated");
    expect(request?.headers["x-function-status"]).toBe("409");
    const said = JSON.parse(request?.body.toString() ?? "") as { error: { code: string } };
    expect(said.error.code).toBe("RUN_STATE");
    const answer = await platform.http.call(`/runs/${id}`);
    expect([answer.status, answer.code]).toEqual([409, "RUN_STATE"]);
  });

  it("says with what code a run failed, and nothing of the function's insides", async () => {
    await start("fails", told(receiver.url("/failed")));
    const [request] = await receiver.until("/failed");
    expect(request?.headers["x-function-status"]).toBe("500");
    const said = request?.body.toString() ?? "";
    expect(JSON.parse(said)).toMatchObject({ error: { code: "FUNCTION_ERROR" } });
    expect(said).not.toContain("own words");
  });

  it("is not seen by the function, whose request has no such header", async () => {
    await platform.deploy(
      "headers",
      `export default { fetch: (request) => Response.json([...request.headers.keys()]) };`,
    );
    await start("headers", told(receiver.url("/names")));
    const [request] = await receiver.until("/names");
    expect(request?.body.toString()).not.toContain("callback");
  });

  it("of other namespaces has their name and their key", async () => {
    const { namespaces } = platform.client;
    await namespaces.create({ namespace: "other" });
    await platform.deploy("add", ADD, {}, { namespace: "other" });
    await start("add.other", told(receiver.url("/other"), { json: { a: 1, b: 1 } }));
    const [request] = await receiver.until("/other");
    expect(request?.headers["x-function-name"]).toBe("add.other");
    const { key } = await platform.client.in("other").callbackKey();
    expect(key).toMatch(/^[0-9a-f]{64}$/);
    if (request) signatureOf(request, key);
    expect((await platform.client.callbackKey()).key).toBe(KEY);
  });
});

describe("a receiver", () => {
  it("that fails, redirects or asks for time is told again, the same", async () => {
    const ids = [await add("/failing", 1), await add("/moved", 2), await add("/busy", 3)];
    const failing = await receiver.until("/failing", 3);
    const moved = await receiver.until("/moved", 2);
    const busy = await receiver.until("/busy", 2);
    for (const [at, requests] of [failing, moved, busy].entries()) {
      expect(new Set(requests.map((one) => one.headers["x-call-id"]))).toEqual(new Set([ids[at]]));
      expect(new Set(requests.map((one) => one.body.toString())).size).toBe(1);
    }
    expect(receiver.at("/elsewhere")).toEqual([]);
    expect((busy[1]?.atMs ?? 0) - (busy[0]?.atMs ?? 0)).toBeGreaterThan(2_900);
  }, 30_000);

  it("that is slow is waited for, and told once", async () => {
    await add("/slow", 1);
    await receiver.until("/slow");
    await new Promise((resolve) => setTimeout(resolve, 3_500));
    expect(receiver.at("/slow")).toHaveLength(1);
  });

  it("that is down is told when it is up", async () => {
    const other = await Receiver.open();
    const { port } = other;
    await other.close();
    const url = `http://127.0.0.1:${String(port)}/late`;
    const id = await start("add", told(url, { json: { a: 20, b: 22 } }));
    await until(async () => (await platform.http.call(`/runs/${id}`)).status === 200);
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    const up = await Receiver.open(() => ({}), port);
    try {
      const [request] = await up.until("/late");
      expect(JSON.parse(request?.body.toString() ?? "")).toEqual({ sum: 42 });
    } finally {
      await up.close();
    }
  });

  it("that wants no more is given up, which logs and metrics say", async () => {
    const id = await add("/gone", 1);
    await receiver.until("/gone");
    const lines = async (): Promise<string[]> => {
      const all = await platform.client.logs({ function: "add" });
      return all.filter(({ callId }) => callId === id).map(({ text }) => text);
    };
    await until(async () => (await lines()).length > 0);
    const origin = receiver.url("");
    expect(await lines()).toEqual([
      `given up: callback to ${origin} after 1 attempt: the receiver answered with status 410`,
    ]);
    const metrics = await platform.client.metrics();
    expect(metrics).toMatch(/isola_callbacks_total\{result="givenUp"\} [1-9]/);
    expect(metrics).toMatch(/isola_callbacks_total\{result="delivered"\} [1-9]/);
    expect(receiver.at("/gone")).toHaveLength(1);
  });
});

describe("a URL", () => {
  it("that is none is refused when the run is asked for", async () => {
    const long = `http://example.com/${"x".repeat(2_100)}`;
    for (const url of ["", "nonsense", "/path", "ftp://example.com/", "http://a:b@c.d/", long]) {
      expect(await refusal("add", url), url).toEqual([400, "REQUEST_INVALID"]);
    }
  });

  it("that the function may not call is refused, as its egress says", async () => {
    expect(await refusal("add", "http://10.0.0.1/")).toEqual([403, "CALLBACK_DENIED"]);
    expect(await refusal("add", "http://[::1]:80/")).toEqual([403, "CALLBACK_DENIED"]);
    expect(await refusal("add", "http://169.254.169.254/")).toEqual([403, "CALLBACK_DENIED"]);
    expect(await refusal("closed", "http://example.com/")).toEqual([403, "CALLBACK_DENIED"]);
    expect(await refusal("picky", receiver.url("/picky"))).toEqual([403, "CALLBACK_DENIED"]);
    expect(receiver.at("/picky")).toEqual([]);
  });
});

describe("a receiver that never answers", () => {
  it("is told again after ten seconds", async () => {
    const requests = await receiver.until("/silent", 2, 25_000);
    const [first, last] = [requests[0], requests.at(-1)];
    expect(first?.headers["x-call-id"]).toBe(silent);
    expect(last?.headers["x-call-id"]).toBe(silent);
    expect((last?.atMs ?? 0) - (first?.atMs ?? 0)).toBeGreaterThan(9_900);
  }, 30_000);
});

/** What is logged of the callback that nobody takes. */
async function linesOfRefused(): Promise<string[]> {
  const all = await platform.client.logs({ function: "add" });
  return all.filter(({ callId }) => callId === refused).map(({ text }) => text);
}

describe("a receiver that takes nothing", () => {
  it("is given up after the time that the operator sets", async () => {
    await until(async () => (await linesOfRefused()).length > 0, 20_000);
    const [line] = await linesOfRefused();
    expect(line).toMatch(/^given up: callback to .* after 4 attempts: .* status 418$/);
    expect(receiver.at("/refused")).toHaveLength(4);
  }, 30_000);
});

describe("between the end of a run and its callback", () => {
  it("the end of its cell loses nothing (G1)", async () => {
    const ids = await Promise.all(
      Array.from({ length: 12 }, (_, at) => add(`/killed-cell-${String(at)}`, at)),
    );
    for (const at of ids.keys()) await receiver.until(`/killed-cell-${String(at)}`);
    await killCell(platform, 0);
    await killCell(platform, 1);
    for (const [at, id] of ids.entries()) {
      const requests = await receiver.until(`/killed-cell-${String(at)}`, 2, 30_000);
      expect(requests.map((one) => one.headers["x-call-id"])).toEqual([id, id]);
      expect(JSON.parse(requests[1]?.body.toString() ?? "")).toEqual({ sum: at + 1 });
    }
  }, 60_000);

  it("the end of the egress loses nothing (G1)", async () => {
    const id = await add("/killed-egress", 4);
    await receiver.until("/killed-egress");
    const pid = processOf(platform, "egress");
    if (pid !== undefined) process.kill(pid, "SIGKILL");
    const requests = await receiver.until("/killed-egress", 2, 30_000);
    expect(requests.map((one) => one.headers["x-call-id"])).toEqual([id, id]);
  }, 40_000);

  it("the end of the gateway loses nothing (G1)", async () => {
    const id = await start("slow", told(receiver.url("/gateway"), { json: 300 }));
    const pid = processOf(platform, "gateway");
    if (pid !== undefined) process.kill(pid, "SIGKILL");
    const [request] = await receiver.until("/gateway", 1, 30_000);
    expect(request?.headers["x-call-id"]).toBe(id);
    expect(request?.headers["x-function-status"]).toBe("200");
  }, 40_000);
});
