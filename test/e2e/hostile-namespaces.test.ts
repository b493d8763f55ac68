/**
 * Two tenants in one cell (G6): what `mallory` tries in order to name, call, read, bill or harm
 * what belongs to `alice`.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import {
  type CallRecord,
  type EnvelopeCarrier,
  type LogLine,
  unpackEnvelope,
} from "../../runtime/contract/index.ts";
import { percentile } from "../support/load.ts";
import { pause, usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

const SECRET = "the-secret-of-alice-5f1c";

const ALICE = `export default async (input, ctx) => {
  console.log("alice was called");
  if (input?.wait) await scheduler.wait(Number(input.wait));
  return { id: ctx.callId, has: ctx.env.TOKEN.length };
};`;

const platform = usePlatform({ cells: 1 });

beforeAll(async () => {
  const { client } = platform();
  for (const namespace of ["alice", "mallory"]) await client.namespaces.create({ namespace });
  await client.in("alice").secrets.put("TOKEN", SECRET);
  const config = { secrets: ["TOKEN"] };
  await platform().deploy("vault", ALICE, config, { namespace: "alice" });
  const hidden = { ...config, auth: "internal" } as const;
  await platform().deploy("hidden", ALICE, hidden, { namespace: "alice" });
  const guarded = { ...config, auth: "token" } as const;
  await platform().deploy("guarded", ALICE, guarded, { namespace: "alice" });
}, 30_000);

/** Deploys code as mallory and answers what it returns. */
async function runAsMallory(name: string, code: string, input: unknown = {}): Promise<unknown> {
  await platform().deploy(name, code, {}, { namespace: "mallory" });
  const answer = await platform().call(`${name}.mallory`, { json: input });
  expect(answer.status, answer.text).toBe(200);
  return answer.json;
}

/** A call of alice's that is in flight; its id is known to whoever sees the answer's head. */
async function aliceInFlight(run: (callId: string) => Promise<void>): Promise<void> {
  const stream = `export default { fetch: (_, env) => new Response(new ReadableStream({
    start(controller) { controller.enqueue(new TextEncoder().encode("begun")); },
    pull: () => scheduler.wait(60_000),
  })) };`;
  await platform().deploy("stream", stream, {}, { namespace: "alice" });
  const { request, response } = platform().http.open("/function/stream.alice");
  request.end();
  const callId = (await response).headers["x-call-id"];
  await run(String(callId));
  request.destroy();
}

async function aliceUsage(): Promise<number> {
  return (await platform().client.in("alice").usage()).total.calls;
}

describe("names", () => {
  it("of another namespace mean nothing to ctx.call, however they are written", async () => {
    const names = [
      "vault",
      "vault.alice",
      "alice/vault",
      "alice.vault",
      "../alice/vault",
      "vault@alice",
      "vault%2Ealice",
      "alice/vault@1",
      "VAULT",
      "vault\u0000",
      "__proto__",
      "constructor",
      "toString",
      "",
    ];
    const code = `export default async (input, ctx) => {
      const outcomes = [];
      const named = { toString: () => "vault.alice" };
      const odd = [named, ["vault"], null, undefined, 7, Symbol.iterator];
      for (const name of [...input, ...odd]) {
        try { outcomes.push(["REACHED", String(name), await ctx.call(name, {})]); }
        catch (error) { outcomes.push(error.code ?? error.name); }
      }
      return outcomes;
    };`;
    const outcomes = await runAsMallory("names", code, names);
    expect(new Set(outcomes as unknown[])).toEqual(new Set(["FUNCTION_NOT_FOUND"]));
  });

  it("that are odd find nothing on the public listener", async () => {
    const targets = [
      "vault",
      "vault.mallory",
      "alice%2Fvault",
      "alice%2fvault.mallory",
      "vault.alice.mallory",
      "vault%2Ealice.mallory",
      "vault.alice%00",
      "..%2Falice%2Fvault",
      "__proto__",
      "constructor.prototype",
      "vault.__proto__",
    ];
    for (const target of targets) {
      const answer = await platform().call(target);
      expect([404, 400], `${target}: ${answer.text}`).toContain(answer.status);
    }
  });

  it("of functions that only their namespace may call are refused from outside", async () => {
    const { token } = await platform().client.in("mallory").tokens.create("admin");
    const headers = {
      authorization: `Bearer ${token}`,
      "x-isola-call": JSON.stringify({ ns: "alice", fn: "hidden", ch: ["alice/vault"] }),
      "x-isola-namespace": "alice",
      "x-forwarded-host": "hidden.alice.localhost",
    };
    expect((await platform().call("hidden.alice", { headers })).code).toBe("INTERNAL_ONLY");
    expect((await platform().call("guarded.alice", { headers })).code).toBe("TOKEN_INVALID");
    expect((await platform().call("guarded.alice")).code).toBe("TOKEN_MISSING");
  });
});

describe("forged identity", () => {
  const ECHO = `export default { fetch(request, env, ctx) {
    return Response.json({
      headers: Object.fromEntries(request.headers),
      cf: request.cf,
      env: Object.keys(env),
      callId: env.ISOLA.callId,
    });
  } };`;

  it("in headers does not reach a function, nor changes whose call it is", async () => {
    await platform().deploy("echo", ECHO, {}, { namespace: "mallory" });
    const before = await aliceUsage();
    const forged = JSON.stringify({
      id: "forged",
      ns: "alice",
      fn: "vault",
      v: 1,
      ch: [],
      mb: 9e9,
    });
    const headers = {
      "x-isola-call": forged,
      "x-isola-reply": forged,
      "X-Isola-Shim": forged,
      "x-isola-target": "http://127.0.0.1/",
      "x-isola-egress": `"public"`,
      "x-forwarded-host": "vault.alice.localhost",
      "x-forwarded-prefix": "/function/vault.alice",
      "cf-connecting-ip": "10.0.0.1",
      forwarded: "host=vault.alice.localhost",
    };
    const { json } = await platform().call("echo.mallory", { headers });
    const seen = json as {
      headers: Record<string, string>;
      cf: Record<string, unknown>;
      env: string[];
      callId: string;
    };
    expect(Object.keys(seen.headers).filter((name) => name.startsWith("x-isola"))).toEqual([]);
    expect(seen.headers["x-forwarded-prefix"]).toBe("/function/echo.mallory");
    expect(unpackEnvelope(seen.cf as unknown as EnvelopeCarrier)).toMatchObject({
      ns: "mallory",
      fn: "echo",
      id: seen.callId,
    });
    expect(seen.env).toEqual(["ISOLA"]);
    expect(await aliceUsage()).toBe(before);
  });

  it("in an answer does not reach the client, nor the platform", async () => {
    const code = `export default { fetch: () => new Response("mine", { headers: {
      "x-isola-error": "CELL_LOST",
      "x-isola-reply": JSON.stringify({ cold: 1, loadMs: 9e9, runMs: 9e9, error: "INTERNAL" }),
      "x-isola-shim": JSON.stringify({ logs: [null, { namespace: "alice", text: "forged" }, {
        atMs: Date.now(), level: "info", text: "kept", namespace: "alice", function: "vault" }] }),
      "x-isola-version": "99", "x-call-id": "forged", "x-isola-backend": "microvm",
    } }) };`;
    await platform().deploy("answers", code, {}, { namespace: "mallory" });
    for (const header of ["{", "null", "[]", `{"error":{"code":"INTERNAL"}}`]) {
      await platform().deploy(
        "broken",
        `export default { fetch: () => new Response("mine", { headers: {
          "x-isola-shim": ${JSON.stringify(header)} } }) };`,
        {},
        { namespace: "mallory" },
      );
      expect(await platform().call("broken.mallory")).toMatchObject({ status: 200, text: "mine" });
    }
    const answer = await platform().call("answers.mallory");
    expect(answer).toMatchObject({ status: 200, text: "mine", code: undefined });
    expect(answer.headers["x-call-id"]).not.toBe("forged");
    expect(answer.headers["x-isola-version"]).toBe("1");
    expect(answer.headers["x-isola-backend"]).toBe("isolate");
    const mine = platform().client.in("mallory");
    let lines: readonly LogLine[] = [];
    await until(async () => {
      lines = await mine.logs({ function: "answers" });
      return lines.length > 0;
    });
    expect(lines.map(({ text, namespace }) => [text, namespace])).toEqual([["kept", "mallory"]]);
  });
});

describe("the scope of another's call", () => {
  it("does not open for a call id that is known, nor for one that is guessed", async () => {
    const code = `import { env, exports } from "cloudflare:workers";
      export default async ({ callId, again }) => {
        if (again) return "ran as itself";
        const outcomes = {};
        const attempt = async (what, run) => {
          try { outcomes[what] = ["REACHED", await run()]; }
          catch (error) { outcomes[what] = String(error.message); }
        };
        const open = (id) => env.__isola.open(id);
        const call = async (id) => {
          const result = await env.__isola.call(id, "vault", {}, {});
          if (!result.ok) throw new Error(result.error.code);
          return result.value;
        };
        const lines = [{ atMs: 1, level: "info", text: "x" }];
        await attempt("call", () => call(callId));
        await attempt("flush", () => open(callId).flush(lines));
        // Said under the id of another's call, they stay lines of its own.
        await env.__isola.say(callId, lines);
        for (const id of ["", null, {}, [callId], "0".repeat(32), "__proto__"]) {
          await attempt("guess " + JSON.stringify(id), () => call(id));
          await attempt("open " + JSON.stringify(id), () => open(id).background(true));
        }
        await attempt("props", () => env.__isola.props.key);
        await attempt("fetch", () => env.__isola.fetch("http://scope/"));
        for (const name of ["Outbound", "Scope", "Control"]) {
          await attempt(name, () => exports[name]({ props: { key: "alice/vault@1" } }).run({}));
        }
        const known = { id: callId, ns: "alice", fn: "stream", v: 1 };
        const forged = { ...known, ch: [], tp: "", dl: 0, at: 1 };
        await attempt("run", async () => {
          const result = await exports.IsolaEntry.run(forged, { again: callId }, undefined);
          if (!result.ok) throw new Error(result.error.code);
          return result.value;
        });
        return outcomes;
      };`;
    await aliceInFlight(async (callId) => {
      const outcomes = await runAsMallory("scopes", code, { callId });
      const reached = Object.entries(outcomes as Record<string, unknown>).filter(
        ([what, outcome]) => Array.isArray(outcome) && what !== "run",
      );
      expect(reached).toEqual([]);
      // It calls itself, in its own isolate: what it does there is its own.
      expect(JSON.stringify(outcomes)).not.toContain(SECRET);
    });
    const lines = await platform().client.in("alice").logs({});
    expect(lines.filter(({ text }) => text === "x")).toEqual([]);
  });

  it("does not speak for another in logs and records", async () => {
    const before = await aliceUsage();
    const code = `import { env } from "cloudflare:workers";
      export default async (_, ctx) => {
        const forged = { atMs: Date.now(), level: "error", text: "planted", callId: "x",
          namespace: "alice", function: "vault", version: 1 };
        await env.__isola.open(ctx.callId).flush([forged, null, 7, { text: {} }]);
        try { await env.__isola.open(ctx.callId).flush("no lines"); } catch {}
        try { await env.__isola.open(ctx.callId).call("plants", {}, null); } catch {}
        return "done";
      };`;
    expect(await runAsMallory("plants", code)).toBe("done");
    const mine = platform().client.in("mallory");
    await until(async () => (await mine.logs({ function: "plants" })).length > 0);
    const theirs = await platform().client.in("alice").logs({});
    expect(theirs.filter(({ text }) => text.includes("planted"))).toEqual([]);
    expect(await aliceUsage()).toBe(before);
    const records: readonly CallRecord[] = await platform().client.in("alice").calls();
    expect(records.every(({ namespace }) => namespace === "alice")).toBe(true);
  });

  it("is not in the environment", async () => {
    const code = `export default (_, ctx) => Object.keys(ctx.env);`;
    expect(await runAsMallory("environment", code)).toEqual([]);
  });

  it("is not changed by prototypes and globals that are replaced elsewhere", async () => {
    const code = `
      for (const kind of [Object, Array, String, Function, Promise, Map]) {
        for (const key of ["then", "toJSON", "get", "ns"]) {
          Object.defineProperty(kind.prototype, key, { configurable: true, get: () => undefined });
        }
      }
      globalThis.TOKEN = "polluted";
      globalThis.fetch = () => { throw new Error("polluted"); };
      export default () => "polluted";`;
    await platform().deploy("pollutes", code, {}, { namespace: "mallory" });
    // It has broken its own isolate, if anything.
    await platform().call("pollutes.mallory");
    const answer = await platform().call("vault.alice");
    expect(answer.json).toMatchObject({ has: SECRET.length });
  });
});

/** How long a request that finds nothing takes, many times. */
async function times(url: string, token: string): Promise<number[]> {
  const tookMs: number[] = [];
  for (let round = 0; round < 60; round += 1) {
    const fromMs = performance.now();
    const response = await fetch(url, {
      headers: { authorization: `Bearer ${token}` },
    });
    await response.text();
    tookMs.push(performance.now() - fromMs);
    expect(response.status).toBe(404);
  }
  return tookMs;
}

describe("tokens of another namespace", () => {
  it("learn nothing from the answer, nor from how long it takes", async () => {
    const { client } = platform();
    const { token } = await client.in("mallory").tokens.create("admin");
    const ask = async (path: string): Promise<string> => {
      const headers = { authorization: `Bearer ${token}` };
      return (await fetch(client.url + path, { headers })).text();
    };
    for (const rest of ["functions", "functions/vault", "secrets", "usage", "logs", "calls"]) {
      const there = await ask(`/v1/namespaces/alice/${rest}`);
      const absent = await ask(`/v1/namespaces/nobody/${rest}`);
      expect(there.replaceAll("alice", "nobody")).toBe(absent);
    }
    // Interleaved, medians of both; one more lookup would hide in a loaded machine's noise.
    const there: number[] = [];
    const absent: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      there.push(...(await times(`${client.url}/v1/namespaces/alice/functions/vault`, token)));
      absent.push(...(await times(`${client.url}/v1/namespaces/nobody/functions/vault`, token)));
    }
    const ratio = percentile(there, 0.5) / percentile(absent, 0.5);
    expect(ratio).toBeGreaterThan(0.4);
    expect(ratio).toBeLessThan(2.5);
  });

  it("do not open routes of the platform", async () => {
    const { client } = platform();
    const { token } = await client.in("mallory").tokens.create("admin");
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const attempts: readonly (readonly [method: string, path: string, body?: string])[] = [
      ["GET", "/v1/status"],
      ["GET", "/v1/cells"],
      ["POST", "/v1/cells/0/restart"],
      ["POST", "/v1/namespaces", `{"namespace":"more"}`],
      ["PATCH", "/v1/namespaces/mallory", `{"quotas":{"functionsMax":9}}`],
      ["DELETE", "/v1/namespaces/alice"],
    ];
    for (const [method, path, body] of attempts) {
      const response = await fetch(client.url + path, {
        method,
        headers,
        ...(body === undefined ? {} : { body }),
      });
      const what = `${method} ${path}: ${await response.text()}`;
      expect([401, 403, 404], what).toContain(response.status);
    }
    const list = await fetch(`${client.url}/v1/namespaces`, { headers });
    expect(await list.text()).not.toContain("alice");
  });
});

async function leaveMark(namespace: string): Promise<unknown> {
  return (await platform().call(`leaves.${namespace}`, { json: { mark: `of ${namespace}` } })).json;
}

describe("the process that isolates share", () => {
  const NODE = { compatibilityFlags: ["nodejs_compat"] };

  it("shows one nothing of what another left: no cache, no file, no global", async () => {
    const code = `import fs from "node:fs";
      import process from "node:process";
      const found = async (run) => {
        try { return (await run()) ?? "nothing"; } catch { return "nothing"; }
      };
      export default async ({ mark }) => {
        const cached = async (cache) => {
          const before = await (await cache.match("http://shared/mark"))?.text();
          const headers = { "cache-control": "max-age=1000" };
          await cache.put("http://shared/mark", new Response(mark, { headers }));
          return before;
        };
        const file = (path) => {
          const before = fs.existsSync(path) ? fs.readFileSync(path, "utf8") : undefined;
          fs.writeFileSync(path, mark);
          return before;
        };
        const kept = (holder) => {
          const before = holder[Symbol.for("mark")];
          holder[Symbol.for("mark")] = mark;
          return before;
        };
        const channel = globalThis.BroadcastChannel && new BroadcastChannel("mark");
        return {
          cache: await found(() => cached(caches.default)),
          named: await found(async () => cached(await caches.open("named"))),
          file: await found(() => file("/tmp/mark")),
          global: await found(() => kept(globalThis)),
          process: await found(() => kept(process)),
          native: await found(() => kept(Response.prototype)),
          environment: await found(() => {
            const before = process.env.MARK;
            process.env.MARK = mark;
            return before;
          }),
          disk: await found(() => (fs.readdirSync("/").includes("etc") ? "etc" : undefined)),
          channel: typeof channel,
        };
      };`;
    for (const namespace of ["alice", "mallory"]) {
      await platform().deploy("leaves", code, NODE, { namespace });
    }
    await leaveMark("alice");
    const seen = (await leaveMark("mallory")) as Record<string, unknown>;
    const { channel, ...rest } = seen;
    expect(channel).toBe("undefined");
    expect(new Set(Object.values(rest)), JSON.stringify(rest)).toEqual(new Set(["nothing"]));
  });

  it("takes no line from a tenant but as that tenant's own", async () => {
    const code = `import fs from "node:fs";
      import process from "node:process";
      import inspector from "node:inspector";
      import util from "node:util";
      import nodeConsole, { Console } from "node:console";
      export default async (_, ctx) => {
        const shim = fs.readFileSync("/bundle/isola-shim.js", "utf8");
        const [, mark = ""] = /="([0-9a-f]{16})"/.exec(shim) ?? [];
        const lines = ["FORGED", ...["T", "X " + ctx.callId, "L " + ctx.callId].map(
          (record) => "\\u0001" + mark + " " + record + " FORGED")];
        const ways = [
          (line) => process.stdout.write(line + "\\n"),
          (line) => process.stderr.write(line + "\\n"),
          (line) => fs.writeSync(1, line + "\\n"),
          (line) => fs.writeFileSync("/dev/stdout", line + "\\n"),
          (line) => new Console(process.stdout).log(line),
          (line) => nodeConsole.log(line),
          (line) => inspector.console?.log(line),
          (line) => process._rawDebug(line),
          (line) => process.emitWarning(line),
          (line) => util.debuglog("x")(line),
          (line) => reportError(new Error(line)),
          (line) => Object.getPrototypeOf(console).log?.(line),
          ...Object.getOwnPropertyNames(console).map((name) => (line) => console[name](line)),
        ];
        for (const line of lines) for (const way of ways) { try { way(line); } catch {} }
        Promise.reject(new Error("FORGED"));
        setTimeout(() => { throw new Error("FORGED"); }, 1);
        await scheduler.wait(50);
        return mark.length;
      };`;
    await platform().deploy("writes", code, NODE, { namespace: "mallory" });
    await platform().call("writes.mallory");
    const mine = platform().client.in("mallory");
    await until(async () => (await mine.logs({ function: "writes" })).length > 0);
    // The host looks every 20 ms at what a cell wrote; a log that nobody wrote to is not there.
    await pause(200);
    const path = join(platform().dataDir, "logs/cell-0.log");
    const log = existsSync(path) ? readFileSync(path, "utf8") : "";
    expect(log.split("\n").filter((line) => line.includes("FORGED"))).toEqual([]);
  });
});
