/** Calls between functions: `ctx.call` and `env.ISOLA.call`. */
import { expect } from "vitest";
import { LIMITS } from "../../../runtime/contract/index.ts";
import type { TestPlatform } from "../../support/platform.ts";
import type { CaseGroup } from "./case.ts";

/** Calls what it is told to, and says how it went. */
const CALLER = `
  export default async ({ name, input, options, raw }, ctx) => {
    if (raw) return ctx.call(name, input, options);
    try {
      return { ok: await ctx.call(name, input, options) };
    } catch (error) {
      return { code: error.code, name: error.name, message: error.message,
        retryable: error.retryable, isError: error instanceof Error };
    }
  };`;

/** Values that only a structured clone carries, made and checked inside of functions. */
const VALUES = `
  export default async (input, ctx) => {
    if (input !== "check") return { seen: describe(input), back: input };
    const map = new Map([["k", new Set([1, "2"])]]);
    const bytes = new Uint8Array([1, 2, 255]);
    const shared = { a: 1 };
    const given = { map, bytes, buffer: bytes.buffer, date: new Date(5), big: 12n ** 20n,
      none: undefined, nan: NaN, minus: -0, regex: /a+/gi, error: new TypeError("t"),
      pair: [shared, shared], text: "ü\\u0000😀", sparse: [1, , 3], loop: {} };
    given.loop.self = given.loop;
    const { seen, back } = await ctx.call(ctx.env.SELF, given);
    return { seen, here: describe(back) };
  };
  const describe = (value) => ({
    map: value.map instanceof Map && value.map.get("k") instanceof Set &&
      value.map.get("k").has("2"),
    bytes: value.bytes instanceof Uint8Array && [...value.bytes].join(),
    buffer: value.buffer instanceof ArrayBuffer && value.buffer.byteLength,
    date: value.date instanceof Date && value.date.getTime(),
    big: String(value.big), none: "none" in value && value.none === undefined,
    nan: Number.isNaN(value.nan), minus: Object.is(value.minus, -0),
    regex: String(value.regex), error: value.error instanceof TypeError && value.error.message,
    same: value.pair[0] === value.pair[1], text: value.text,
    sparse: value.sparse.length === 3 && !(1 in value.sparse), loop: value.loop.self === value.loop,
  });`;

interface Outcome {
  readonly ok?: unknown;
  readonly code?: string;
  readonly message?: string;
  readonly isError?: boolean;
}

async function outcome(
  platform: TestPlatform,
  name: unknown,
  input?: unknown,
  options?: unknown,
): Promise<Outcome> {
  return (await platform.call("caller", { json: { name, input, options } })).json as Outcome;
}

const values: CaseGroup["cases"] = {
  "everything that can be cloned arrives as it left, both ways": async (platform) => {
    const answer = await platform.call("values", { json: "check" });
    const whole = {
      map: true,
      bytes: "1,2,255",
      buffer: 3,
      date: 5,
      big: String(12n ** 20n),
      none: true,
      nan: true,
      minus: true,
      regex: "/a+/gi",
      error: "t",
      same: true,
      text: "ü\u0000😀",
      sparse: true,
      loop: true,
    };
    expect(answer.json).toEqual({ seen: whole, here: whole });
  },

  "an HTTP function is called with a JSON body and answers its body": async (platform) => {
    expect(await outcome(platform, "http", { a: 1 })).toEqual({
      ok: { method: "POST", body: '{"a":1}', path: "/", traced: true },
    });
    expect(await outcome(platform, "http", "text")).toEqual({ ok: "as text" });
    expect(await outcome(platform, "http", "none")).toEqual({});
    const refused = await outcome(platform, "http", "refuse");
    expect(refused).toMatchObject({ code: "FUNCTION_ERROR" });
    expect(refused.message).toContain("409");
  },

  "a class answers by method, a Workers module has env.ISOLA.call": async (platform) => {
    expect(await outcome(platform, "rpc", 4, { method: "square" })).toEqual({ ok: 16 });
    for (const [name, method] of [
      ["rpc", "nothing"],
      ["rpc", "constructor"],
      ["echo", "toString"],
      ["http", "fetch"],
    ]) {
      const refused = await outcome(platform, name, 4, { method });
      expect([name, method, refused.code]).toEqual([name, method, "ROUTE_NOT_FOUND"]);
    }
    expect((await platform.call("worker-caller")).json).toEqual({ squared: 49 });
  },

  "a large value passes, one over the limit is refused by its code": async (platform) => {
    expect(await outcome(platform, "large", 4_000_000)).toEqual({ ok: 4_000_000 });
    const over = LIMITS.callValueMaxBytes + 100;
    expect(await outcome(platform, "large", over)).toEqual({ ok: "BODY_TOO_LARGE" });
    expect((await outcome(platform, "produce", over)).code).toBe("BODY_TOO_LARGE");
    expect(await outcome(platform, "large", 10)).toEqual({ ok: 10 });
  },

  "what is no value is refused in both directions": async (platform) => {
    const input = await platform.call("passes-function");
    expect(input.json).toMatchObject({ code: "INPUT_MALFORMED" });
    expect(input.text).toContain("function at $.list[1].f");
    const uncaught = await platform.call("passes-function?raw=1");
    expect([uncaught.status, uncaught.code]).toEqual([500, "FUNCTION_ERROR"]);
    expect((await outcome(platform, "returns", "function")).code).toBe("RESULT_INVALID");
    expect((await outcome(platform, "returns", "nested")).code).toBe("RESULT_INVALID");
    expect(await outcome(platform, "returns", "value")).toEqual({ ok: 1 });
  },
};

const failures: CaseGroup["cases"] = {
  "a failure comes as an Error with the catalogue's code": async (platform) => {
    const thrown = await outcome(platform, "throws", "boom");
    expect(thrown).toMatchObject({ code: "FUNCTION_ERROR", isError: true });
    for (const name of ["nothing", "", "a.b", "caller.other", "Caller", "../caller", 5, null, {}]) {
      const refused = await outcome(platform, name);
      expect([name, refused.code, refused.isError]).toEqual([name, "FUNCTION_NOT_FOUND", true]);
    }
  },

  "what a function does not catch is its own failure": async (platform) => {
    const answer = await platform.call("caller", {
      json: { name: "throws", input: "x", raw: true },
    });
    expect([answer.status, answer.code]).toEqual([500, "FUNCTION_ERROR"]);
    const missing = await platform.call("caller", { json: { name: "nothing", raw: true } });
    expect([missing.status, missing.code]).toEqual([500, "FUNCTION_ERROR"]);
  },

  "a loop ends with 508, and so does a chain that is too deep": async (platform) => {
    const loop = await platform.call("loop", { json: 0 });
    expect([loop.status, loop.code]).toEqual([508, "CALL_LOOP"]);
    const depth = 40;
    for (let at = 0; at < depth; at += 1) {
      const next = `export default (n, ctx) => ctx.call("chain-${String(at + 1)}", n + 1);`;
      await platform.deploy(`chain-${String(at)}`, next);
    }
    const deep = await platform.call("chain-0", { json: 0 });
    expect([deep.status, deep.code]).toEqual([508, "CALL_DEPTH"]);
    const start = `chain-${String(depth - 10)}`;
    await platform.deploy(`chain-${String(depth)}`, "export default (n) => n;");
    expect((await platform.call(start, { json: 0 })).json).toBe(10);
  },

  "many calls at once each get their own answer": async (platform) => {
    const answer = await platform.call("fan-out", { json: 200 });
    expect(answer.json).toEqual({ sum: 19_900, wrong: 0 });
  },
};

const reach: CaseGroup["cases"] = {
  "a version is called by its number while it has traffic": async (platform) => {
    await platform.deploy("versioned", "export default () => 'one';");
    await platform.deploy("versioned", "export default () => 'two';", {}, { traffic: 50 });
    expect(await outcome(platform, "versioned", null, { version: 1 })).toEqual({ ok: "one" });
    expect(await outcome(platform, "versioned", null, { version: 2 })).toEqual({ ok: "two" });
    for (const version of [3, -1, 1.5, "1", null, {}]) {
      const refused = await outcome(platform, "versioned", null, { version });
      expect([version, refused.code]).toEqual([version, "VERSION_NOT_FOUND"]);
    }
  },

  "an internal function is reached by functions alone": async (platform) => {
    await platform.deploy("internal", "export default (n) => n + 1;", { auth: "internal" });
    expect(await outcome(platform, "internal", 1)).toEqual({ ok: 2 });
    expect((await platform.call("internal", { json: 1 })).code).toBe("INTERNAL_ONLY");
  },

  "no name reaches into another namespace": async (platform) => {
    await platform.client.namespaces.create({ namespace: "others" });
    await platform.deploy(
      "secretive",
      "export default () => 'theirs';",
      {},
      { namespace: "others" },
    );
    expect((await platform.call("secretive.others")).json).toBe("theirs");
    const guesses = ["secretive", "secretive.others", "others/secretive", "../others/secretive"];
    for (const name of guesses) {
      expect([name, (await outcome(platform, name)).code]).toEqual([name, "FUNCTION_NOT_FOUND"]);
    }
    const forged = await outcome(platform, "secretive", null, {
      namespace: "others",
      ns: "others",
    });
    expect(forged.code).toBe("FUNCTION_NOT_FOUND");
  },

  "a deploy is seen by the next call between functions": async (platform) => {
    for (const word of ["first", "second", "third"]) {
      await platform.deploy("moving", `export default () => ${JSON.stringify(word)};`);
      expect(await outcome(platform, "moving")).toEqual({ ok: word });
    }
    await platform.client.remove("moving");
    expect((await outcome(platform, "moving")).code).toBe("FUNCTION_NOT_FOUND");
  },

  "a context that is kept opens nothing once its call is over": async (platform) => {
    await platform.deploy(
      "keeper",
      `
      let kept;
      export default async (what, ctx) => {
        if (what === "keep") { kept = ctx; return kept.callId; }
        try { return await kept.call("versioned"); } catch (error) { return error.message; }
      };`,
    );
    await platform.call("keeper", { json: "keep" });
    const answer = await platform.call("keeper", { json: "use" });
    expect(answer.status).toBe(200);
    expect(answer.text).toMatch(/context of another call/);
  },
};

const SOURCES: Readonly<Record<string, string>> = {
  caller: CALLER,
  http: `export default { async fetch(request) {
    const body = await request.text();
    if (body === '"text"') return new Response("as text");
    if (body === '"none"') return new Response(null, { status: 204 });
    if (body === '"refuse"') return Response.json({ no: 1 }, { status: 409 });
    return Response.json({ method: request.method, body, path: new URL(request.url).pathname,
      traced: request.headers.has("traceparent") });
  } };`,
  rpc: `import { WorkerEntrypoint } from "cloudflare:workers";
    export default class extends WorkerEntrypoint { square(n) { return n * n; } }`,
  "worker-caller": `export default { async fetch(request, env) {
    return Response.json({ squared: await env.ISOLA.call("rpc", 7, { method: "square" }) });
  } };`,
  large: `export default async (size, ctx) => {
    if (typeof size !== "number") return size.length;
    try { return await ctx.call("large", new Uint8Array(size)); }
    catch (error) { return error.code; }
  };`,
  produce: "export default (size) => new Uint8Array(size);",
  "passes-function": `export default async (input, ctx) => {
    if (input) return ctx.call("returns", () => 1);
    try { return await ctx.call("returns", { list: [1, { f() {} }] }); }
    catch (error) { return { code: error.code, message: error.message }; }
  };`,
  returns: `export default (what) => what === "function" ? () => 1
    : what === "nested" ? { a: [() => 1] } : 1;`,
  throws: "export default (text) => { throw new RangeError(text); };",
  loop: "export default (n, ctx) => ctx.call('loop', n + 1);",
  "fan-out": `export default async (n, ctx) => {
    const given = [...Array(n).keys()];
    const got = await Promise.all(given.map((i) => ctx.call("echo", i)));
    return { sum: got.reduce((a, b) => a + b, 0), wrong: got.filter((v, i) => v !== i).length };
  };`,
  echo: "export default (value) => value;",
};

export const subCallCases: CaseGroup = {
  topic: "calls between functions",
  prepare: async (platform) => {
    for (const [name, source] of Object.entries(SOURCES)) await platform.deploy(name, source);
    await platform.deploy("values", VALUES, { env: { SELF: "values" } });
  },
  cases: { ...values, ...failures, ...reach },
};
