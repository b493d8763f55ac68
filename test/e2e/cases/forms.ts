/** The module forms of INTERFACE §4: plain functions, Workers modules, entrypoint classes. */
import { expect } from "vitest";
import type { CaseGroup } from "./case.ts";

const HONO = `
  import { Hono } from "hono";
  import { cors } from "hono/cors";
  type Bindings = { WORD: string };
  const app = new Hono<{ Bindings: Bindings }>();
  app.use("/api/*", cors());
  app.get("/", (c) => c.text("root of " + c.env.WORD));
  app.get("/api/users/:id", (c) => c.json({ id: c.req.param("id"), q: c.req.query("q") ?? null }));
  app.post("/api/users", async (c) => c.json(await c.req.json(), 201));
  app.notFound((c) => c.text("no " + c.req.path, 404));
  app.onError((error, c) => c.text("caught " + error.message, 418));
  app.get("/throws", () => { throw new Error("teapot"); });
  export default app;`;

const WORKERS_MODULE = `
  let calls = 0;
  export default {
    async fetch(request, env, ctx) {
      const url = new URL(request.url);
      ctx.waitUntil(Promise.resolve());
      if (url.pathname === "/text") return new Response("plain");
      return Response.json({
        method: request.method, path: url.pathname, query: url.search, word: env.WORD,
        prefix: request.headers.get("x-forwarded-prefix"), host: url.host,
        env: Object.keys(env).sort(), hidden: env.__isola === undefined, calls: ++calls,
        isola: typeof env.ISOLA.call, id: env.ISOLA.callId,
      });
    },
  };`;

const ENTRYPOINT = `
  import { WorkerEntrypoint } from "cloudflare:workers";
  export default class Api extends WorkerEntrypoint {
    async fetch(request) {
      this.ctx.waitUntil(Promise.resolve());
      return Response.json({ path: new URL(request.url).pathname, word: this.env.WORD });
    }
    double(n) { return n * 2; }
  }`;

const RPC = `
  import { WorkerEntrypoint } from "cloudflare:workers";
  class Base extends WorkerEntrypoint { inherited() { return "from the base"; } }
  export default class Sums extends Base {
    add({ a, b }) { return a + b; }
    async word() { return this.env.WORD; }
    fails() { throw new RangeError("out of range"); }
  }`;

const TYPESCRIPT = `
  import type { Context, FunctionConfig } from "isola";
  import table from "./table.json";
  import text from "./note.txt";
  export const config = { timeoutMs: 5_000, memoryMb: 64 } satisfies FunctionConfig;
  enum Never { A = 1 }
  export default async function classify(n: number, ctx: Context): Promise<unknown> {
    return { kind: n % 15 === 0 ? "fizzbuzz" : "number", table, text, a: Never.A, id: ctx.callId };
  }`;

const CONTEXT = `
  export default (input, ctx) => ({
    callId: ctx.callId, attempt: ctx.attempt, key: ctx.idempotencyKey, env: ctx.env,
    deadlineInMs: ctx.deadline === null ? null : ctx.deadline.getTime() - Date.now(),
    aborted: ctx.signal.aborted, trace: ctx.trace, log: Object.keys(ctx.log),
  });`;

export const formCases: CaseGroup = {
  topic: "module forms",
  prepare: async (platform) => {
    const env = { WORD: "isola" };
    await platform.deploy("hono", { main: "hono.ts", files: { "hono.ts": HONO } }, { env });
    await platform.deploy("module", WORKERS_MODULE, { env });
    await platform.deploy("entrypoint", ENTRYPOINT, { env });
    await platform.deploy("rpc", RPC, { env });
    await platform.deploy("context", CONTEXT, { env, timeoutMs: 5_000 });
  },
  cases: {
    "a TypeScript data function is bundled with what it imports": async (platform) => {
      const deployed = await platform.deploy("classify", {
        main: "classify.ts",
        files: { "classify.ts": TYPESCRIPT, "table.json": "[1]", "note.txt": "noted" },
      });
      expect(deployed).toMatchObject({ form: "data", config: { timeoutMs: 5_000, memoryMb: 64 } });
      const answer = await platform.call("classify", { json: 30 });
      expect(answer.json).toMatchObject({ kind: "fizzbuzz", table: [1], text: "noted", a: 1 });
      expect((answer.json as { id: string }).id).toBe(answer.headers["x-call-id"]);
    },

    "an unmodified Hono app routes below its name": async (platform) => {
      expect((await platform.call("hono")).text).toBe("root of isola");
      const user = await platform.call("hono/api/users/7?q=a%20b");
      expect(user.json).toEqual({ id: "7", q: "a b" });
      expect(user.headers["access-control-allow-origin"]).toBe("*");
      const created = await platform.call("hono/api/users", { json: { name: "Ada" } });
      expect([created.status, created.json]).toEqual([201, { name: "Ada" }]);
      const missing = await platform.call("hono/nowhere");
      expect([missing.status, missing.text]).toEqual([404, "no /nowhere"]);
      const thrown = await platform.call("hono/throws");
      expect([thrown.status, thrown.text, thrown.code]).toEqual([418, "caught teapot", undefined]);
      const options = await platform.call("hono/api/users", {
        method: "OPTIONS",
        headers: { origin: "http://a.example", "access-control-request-method": "POST" },
      });
      expect(options.status).toBe(204);
    },

    "an unmodified Workers module sees its path, prefix and environment": async (platform) => {
      const answer = await platform.call("module/a/b%20c?x=1&x=2", { method: "PUT", body: "x" });
      expect(answer.json).toMatchObject({
        method: "PUT",
        path: "/a/b%20c",
        query: "?x=1&x=2",
        word: "isola",
        prefix: "/function/module",
        env: ["ISOLA", "WORD"],
        hidden: true,
        isola: "function",
        id: answer.headers["x-call-id"],
      });
      expect((await platform.call("module?q=1")).json).toMatchObject({ path: "/", query: "?q=1" });
      expect((await platform.call("module/")).json).toMatchObject({ path: "/", query: "" });
      expect((await platform.call("module.default//x")).json).toMatchObject({
        path: "//x",
        prefix: "/function/module.default",
      });
      expect((await platform.call("module/text")).headers["content-type"]).toMatch(/^text\/plain/);
    },

    "a class with fetch answers requests": async (platform) => {
      const answer = await platform.call("entrypoint/p");
      expect(answer.json).toEqual({ path: "/p", word: "isola" });
    },

    "a class with methods only answers each under its name": async (platform) => {
      expect((await platform.call("rpc/add", { json: { a: 2, b: 3 } })).json).toBe(5);
      expect((await platform.call("rpc/word")).json).toBe("isola");
      expect((await platform.call("rpc/fails", { json: 1 })).code).toBe("FUNCTION_ERROR");
      for (const name of ["nothing", "constructor", "__proto__", "toString", "ctx", "env", ""]) {
        const answer = await platform.call(`rpc/${name}`, { json: 1 });
        expect([name, answer.status, answer.code]).toEqual([name, 404, "ROUTE_NOT_FOUND"]);
      }
    },

    "a method that a class inherits from a class of its own is called": async (platform) => {
      expect((await platform.call("rpc/inherited", { json: 1 })).json).toBe("from the base");
    },

    "the context tells about the call": async (platform) => {
      const traceparent = `00-${"ab".repeat(16)}-${"cd".repeat(8)}-01`;
      const answer = await platform.call("context", {
        headers: { traceparent, "idempotency-key": "key-1" },
      });
      const context = answer.json as { deadlineInMs: number; trace: { traceparent: string } };
      expect(context).toMatchObject({
        callId: answer.headers["x-call-id"],
        attempt: 1,
        key: "key-1",
        env: { WORD: "isola" },
        aborted: false,
        trace: { traceId: "ab".repeat(16) },
        log: ["debug", "info", "warn", "error"],
      });
      expect(context.deadlineInMs).toBeGreaterThan(3_000);
      expect(context.deadlineInMs).toBeLessThanOrEqual(5_000);
      expect(context.trace.traceparent).toBe(answer.headers["traceparent"]);
    },

    "a module without a usable default export is refused": async (platform) => {
      for (const [source, code] of [
        ["export const a = 1;", "EXPORT_INVALID"],
        ["export default 5;", "EXPORT_INVALID"],
        ["export default { get: 1 };", "EXPORT_INVALID"],
        ["export default null;", "EXPORT_INVALID"],
        ["syntax error(", "LOAD_FAILED"],
        ["throw new Error('at load'); export default () => 1;", "LOAD_FAILED"],
        ["import 'nowhere'; export default () => 1;", "LOAD_FAILED"],
      ] as const) {
        const refusal = platform.deploy("refused", source);
        await expect(refusal, source).rejects.toMatchObject({ code });
      }
      expect((await platform.call("refused")).code).toBe("FUNCTION_NOT_FOUND");
    },
  },
};
