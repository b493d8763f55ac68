/** Isolates kept and isolates thrown away: `reuse`, versions, secrets. */
import { expect } from "vitest";
import type { TestPlatform } from "../../support/platform.ts";
import type { CaseGroup } from "./case.ts";

/** Leaves a trace wherever one call could reach the next, and reports what it finds. */
const TRACES = `
  let counter = 0;
  const cacheMap = new Map();
  const original = JSON.stringify;
  export default async (who, ctx) => {
    const found = {
      module: counter, map: [...cacheMap.values()], global: globalThis.left ?? null,
      prototype: ({}).left ?? null, array: [].left ?? null, patched: JSON.stringify !== original,
      env: ctx.env.left ?? null, function: TRACES.left ?? null,
      cached: await cached(), console: console.left ?? null,
      symbol: globalThis[Symbol.for("left")] ?? null,
    };
    counter += 1; cacheMap.set("who", who); globalThis.left = who; TRACES.left = who;
    Object.prototype.left = who; Array.prototype.left = who; console.left = who;
    globalThis[Symbol.for("left")] = who;
    const mine = JSON.stringify; JSON.stringify = (...all) => mine(...all);
    try { ctx.env.left = who; } catch {}
    try { await caches.default.put("http://left.example/", new Response(who)); } catch {}
    delete Object.prototype.left; delete Array.prototype.left;
    Object.prototype.left = who;
    const answer = mine(found);
    return answer;
  };
  function TRACES() {}
  async function cached() {
    try { return (await (await caches.default.match("http://left.example/"))?.text()) ?? null; }
    catch { return null; }
  }`;

interface Found {
  readonly module: number;
  readonly [name: string]: unknown;
}

async function found(platform: TestPlatform, name: string, who: string): Promise<Found> {
  const answer = await platform.call(name, { json: who });
  return JSON.parse(answer.json as string) as Found;
}

const NOTHING = {
  module: 0,
  map: [],
  global: null,
  prototype: null,
  array: null,
  patched: false,
  env: null,
  function: null,
  cached: null,
  console: null,
  symbol: null,
};

export const reuseCases: CaseGroup = {
  topic: "isolates between calls",
  prepare: async (platform) => {
    await platform.deploy("fresh-each", TRACES, { reuse: "call" });
    await platform.deploy("kept", "let n = 0; export default () => ++n;");
    await platform.deploy("asks", "export default (who, ctx) => ctx.call('fresh-each', who);");
  },
  cases: {
    "reuse: call leaves nothing of one caller for the next": async (platform) => {
      for (const who of ["ann", "bob", "cleo"]) {
        expect(await found(platform, "fresh-each", who)).toEqual(NOTHING);
      }
      const all = ["a", "b", "c", "d", "e", "f"].map((who) => found(platform, "fresh-each", who));
      for (const one of await Promise.all(all)) expect(one).toEqual(NOTHING);
    },

    "the same holds for calls between functions": async (platform) => {
      for (const who of ["ann", "bob"]) {
        expect(await found(platform, "asks", who)).toEqual(NOTHING);
      }
    },

    "a fresh isolate is a cold start each time, a shared one is warm": async (platform) => {
      const cold = async (name: string): Promise<unknown> =>
        (await platform.call(name, { json: "x" })).headers["x-isola-cold"];
      expect([await cold("fresh-each"), await cold("fresh-each")]).toEqual(["1", "1"]);
      await platform.call("kept");
      expect(await cold("kept")).toBe("0");
      const [first, second] = [await platform.call("kept"), await platform.call("kept")];
      expect(Number(second.text)).toBe(Number(first.text) + 1);
    },

    "a new version has an isolate of its own": async (platform) => {
      await platform.deploy("kept", "let n = 100; export default () => ++n;");
      expect((await platform.call("kept")).json).toBe(101);
      await platform.client.rollback("kept");
      expect((await platform.call("kept")).json).toBeLessThan(100);
    },

    "secrets are rotated without a deploy": async (platform) => {
      const { secrets } = platform.client;
      await secrets.put("API_KEY", "first-value");
      await platform.deploy(
        "keyed",
        "export default (_, ctx) => ctx.env.API_KEY + ctx.env.PLAIN;",
        {
          secrets: ["API_KEY"],
          env: { PLAIN: "+" },
        },
      );
      expect((await platform.call("keyed")).json).toBe("first-value+");
      await secrets.put("API_KEY", "second-value");
      expect((await platform.call("keyed")).json).toBe("second-value+");
      const listed = JSON.stringify([
        await secrets.list(),
        await platform.client.describe("keyed"),
      ]);
      expect(listed).not.toContain("value+");
      expect(listed).not.toContain("second-value");
    },
  },
};
