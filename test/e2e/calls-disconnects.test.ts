/** Clients that go while their call runs: it is noticed, however they go, and nothing is left. */
import { type Socket, connect } from "node:net";
import { beforeAll, describe, expect, it } from "vitest";
import { CELL_CONTROL, type CellStatus, LIMITS } from "../../runtime/contract/index.ts";
import { COUNTER } from "../support/counter.ts";
import { askCell } from "../support/cell-control.ts";
import { pause, usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

const platform = usePlatform({ cells: 1 });

const TICKER = `
  const sleep = (ms) => new Promise((go) => setTimeout(go, ms));
  export default {
    async fetch(request, env) {
      const url = new URL(request.url);
      const name = url.searchParams.get("name");
      const count = (what) => env.ISOLA.call("counter", { name: name + "/" + what, add: 1 });
      const { signal } = env.ISOLA;
      signal.addEventListener("abort", () => count("abort " + signal.reason.code));
      const tick = async () => { for (;;) { await sleep(40); await count("tick"); } };
      if (url.pathname === "/stream") {
        let ticks = 0;
        return new Response(new ReadableStream({
          async pull(to) {
            await sleep(40);
            await count("tick");
            to.enqueue(new TextEncoder().encode("tick " + ++ticks + "\\n".padEnd(2000)));
          },
        }));
      }
      if (url.pathname === "/upload") {
        for await (const chunk of request.body) await count("tick");
        return new Response("read");
      }
      await tick();
    },
  };`;

beforeAll(async () => {
  await platform().deploy("counter", COUNTER);
  await platform().deploy("ticker", TICKER, { timeoutMs: 60_000 });
  await platform().call("counter", { json: { name: "warm" } });
});

async function counted(name: string): Promise<number> {
  return (await platform().call("counter", { json: { name } })).json as number;
}

async function send(head: string): Promise<Socket> {
  const { hostname, port } = new URL(platform().publicUrl);
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
  await new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  // A client that has gone hears nothing of it.
  socket.on("error", () => undefined);
  socket.write(head);
  return socket;
}

const request = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

const post = (ms: number): string => {
  const body = String(ms);
  return [
    "POST /function/single HTTP/1.1",
    "Host: localhost",
    "Content-Type: application/json",
    `Content-Length: ${String(body.length)}`,
    "",
    body,
  ].join("\r\n");
};

/** Ticks of a call after the time it may still have had; everything it held is given back. */
async function ticksAfterEnd(name: string): Promise<number> {
  // Noticed within half a second or so, then the grace; a second for a machine that is busy.
  await pause(1_500 + LIMITS.graceMs);
  const ticks = await counted(`${name}/tick`);
  await pause(400);
  const after = await counted(`${name}/tick`);
  await platform().idle(2_000);
  return after - ticks;
}

describe.concurrent("a client that goes", () => {
  it("by closing its side ends its call: signal first, then all of it", async () => {
    const socket = await send(request("/function/ticker?name=fin"));
    await until(async () => (await counted("fin/tick")) > 2);
    const startedAtMs = performance.now();
    socket.end();
    await until(async () => (await counted("fin/abort CONFLICT")) === 1, 3_000);
    expect(performance.now() - startedAtMs).toBeLessThan(2_000);
    expect(await ticksAfterEnd("fin")).toBe(0);
    socket.destroy();
  });

  it("by a reset ends its call", async () => {
    const socket = await send(request("/function/ticker?name=rst"));
    await until(async () => (await counted("rst/tick")) > 2);
    socket.resetAndDestroy();
    await until(async () => (await counted("rst/abort CONFLICT")) === 1, 3_000);
    expect(await ticksAfterEnd("rst")).toBe(0);
  });

  it("in the middle of an answer ends it", async () => {
    for (const [name, leave] of [
      ["stream-rst", (socket: Socket) => socket.resetAndDestroy()],
      ["stream-fin", (socket: Socket) => socket.destroy()],
    ] as const) {
      const socket = await send(request(`/function/ticker/stream?name=${name}`));
      await new Promise((resolve) => socket.once("data", resolve));
      await until(async () => (await counted(`${name}/tick`)) > 2);
      leave(socket);
      expect(await ticksAfterEnd(name)).toBe(0);
    }
  });

  it("in the middle of its own body ends the call", async () => {
    const head = "POST /function/ticker/upload?name=up HTTP/1.1\r\nHost: localhost\r\n";
    const socket = await send(`${head}Content-Length: 1000000\r\n\r\n`);
    socket.write("x".repeat(10_000));
    await until(async () => (await counted("up/tick")) > 0);
    socket.destroy();
    expect(await ticksAfterEnd("up")).toBe(0);
  });

  it("while its call waits behind a full function costs no place", async () => {
    await platform().deploy(
      "single",
      "export default (ms) => new Promise((go) => setTimeout(() => go(ms), ms));",
      { maxInFlight: 1, timeoutMs: 60_000 },
    );
    const socket = await send(post(50_000));
    await pause(200);
    await until(async () => (await platform().call("single", { json: 1 })).code === "RATE_LIMITED");
    socket.destroy();
    await until(async () => (await platform().call("single", { json: 1 })).status === 200, 4_000);
    expect((await platform().call("single", { json: 2 })).json).toBe(2);
  });
});

describe("a connection that breaks off behind the gateway", () => {
  it("is the function's fault if its cell lives, and costs nobody else a call", async () => {
    await platform().deploy(
      "headed",
      `export default { fetch: () =>
        new Response("x", { headers: { "x-large": "y".repeat(1_000_000) } }) };`,
    );
    const calm = platform().call("single", { json: 300 });
    const answer = await platform().call("headed");
    expect([answer.status, answer.code]).toEqual([500, "RESULT_INVALID"]);
    expect((await calm).json).toBe(300);
    const { cells } = await platform().status();
    expect(cells.map(({ slot, state }) => [slot, state])).toEqual([
      [0, "up"],
      [99, "up"],
    ]);
    expect((await platform().call("single", { json: 1 })).json).toBe(1);
  });
});

/** What ran on meanwhile; `maxInFlight` lets the next one in. */
async function ticksLater(): Promise<number[]> {
  const ticks = (await platform().call("leaf", { json: 0 })).json as number;
  await pause(300);
  const [leaf, middle] = [
    await platform().call("leaf", { json: 0 }),
    await platform().call("middle", { json: 0 }),
  ];
  return [Number(leaf.json) - ticks, Number(middle.json) - ticks];
}
const inFlight = async (): Promise<number> =>
  ((await askCell(platform(), 0, CELL_CONTROL.ping)) as CellStatus).inFlight;

describe("calls that a dropped call had made", () => {
  const LEAF = `
    let ticks = 0;
    export default async (ms) => {
      const untilMs = Date.now() + ms;
      while (Date.now() < untilMs) {
        ticks += 1;
        await new Promise((go) => setTimeout(go, 40));
      }
      return ticks;
    };`;
  beforeAll(async () => {
    const limits = { maxInFlight: 1, timeoutMs: 60_000 };
    await platform().deploy("leaf", LEAF, limits);
    await platform().deploy("middle", "export default (ms, ctx) => ctx.call('leaf', ms);", limits);
    await platform().deploy(
      "waits",
      "export default { fetch: (_, env) => env.ISOLA.call('middle', 50_000) };",
      { timeoutMs: 60_000 },
    );
    await platform().deploy(
      "forgets",
      `export default async (_, ctx) => {
        void ctx.call("middle", 50_000);
        await new Promise((go) => setTimeout(go, 200));
        return "answered";
      };`,
    );
  });

  it("end with it when its client goes", async () => {
    const socket = await send(request("/function/waits"));
    await until(async () => (await inFlight()) === 3);
    socket.destroy();
    await until(async () => (await inFlight()) === 0, 5_000);
    expect(await ticksLater()).toEqual([0, 0]);
  });

  it("end when it answers without waiting for them", async () => {
    expect((await platform().call("forgets")).json).toBe("answered");
    await until(async () => (await inFlight()) === 0, 8_000);
    expect(await ticksLater()).toEqual([0, 0]);
  });
});

describe("calls that were given up", () => {
  it("are recorded as canceled, each once", async () => {
    const before = await platform().client.calls({ function: "ticker" });
    const sockets = await Promise.all(
      [...Array(8).keys()].map((i) => send(request(`/function/ticker?name=many-${String(i)}`))),
    );
    await until(async () => (await counted("many-7/tick")) > 0);
    for (const socket of sockets) socket.destroy();
    await platform().idle(4_000);
    const after = await platform().client.calls({ function: "ticker" });
    const news = after.slice(before.length);
    expect(news.map(({ outcome, status }) => `${outcome} ${String(status)}`)).toEqual(
      Array(8).fill("canceled 499"),
    );
  });

  it("leave connections of others alone", async () => {
    const socket = await send(request("/function/ticker?name=lone"));
    const calm = platform().call("single", { json: 1_500 });
    await until(async () => (await counted("lone/tick")) > 0);
    socket.destroy();
    expect((await calm).json).toBe(1_500);
  });
});
