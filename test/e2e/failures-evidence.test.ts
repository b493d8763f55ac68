/**
 * The watchdog's evidence cannot be forged or suppressed by tenant code, and busy or innocent
 * functions are not taken for culprits.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { restartsOf } from "../support/cells.ts";
import { countOutcomes, keepCalling } from "../support/load.ts";
import { SPINNERS, callUntilQuarantined, isQuarantined } from "../support/misbehaving.ts";
import { type TestPlatform, usePlatform } from "../support/platform.ts";
import { until } from "../support/until.ts";

const HELLO = `export default () => "hello";`;

async function outcomeOf(platform: TestPlatform, target: string): Promise<string> {
  const answer = await platform.call(target).catch(() => undefined);
  return answer ? (answer.code ?? String(answer.status)) : "BROKEN";
}

/** Records every string that any patched function gets, and returns those that hold a mark. */
const LISTENER = `
  const { apply, defineProperty, ownKeys, getOwnPropertyDescriptor: describe } = Reflect;
  const heard = { __proto__: null };
  let count = 0, isBusy = false;
  function listen(value) {
    if (isBusy || typeof value !== "string") return;
    isBusy = true;
    for (let at = 0; at < value.length; at += 1) {
      if (value[at] === "\\u0001") heard[count++] = value;
    }
    isBusy = false;
  }
  function tap(target) {
    for (const key of ownKeys(target)) {
      const property = describe(target, key);
      if (typeof property?.value !== "function" || !property.configurable) continue;
      if (key === "constructor") continue;
      const native = property.value;
      function tapped(...args) {
        listen(this);
        for (let at = 0; at < args.length; at += 1) listen(args[at]);
        return new.target ? Reflect.construct(native, args) : apply(native, this, args);
      }
      try { defineProperty(target, key, { ...property, value: tapped }); } catch {}
    }
  }
  for (const key of ["0", "1", "ctx", "env", "level", "message", "text"]) {
    defineProperty(Object.prototype, key, {
      configurable: true,
      set(value) {
        listen(value);
        defineProperty(this, key, { value, writable: true, configurable: true, enumerable: true });
      },
    });
  }
  Error.prepareStackTrace = (error, sites) => {
    for (const site of sites) {
      listen(String(site.getFunction()));
      listen(String(site.getThis()));
    }
    return "stack";
  };
`;

/** Built-in objects whose functions a tenant may replace. */
const TAPPED = [
  "String.prototype",
  "Array.prototype",
  "Object.prototype",
  "Function.prototype",
  "RegExp.prototype",
  "Promise.prototype",
  "Map.prototype",
  "JSON, Reflect, Object, Array, String",
  "console",
  "(await import('node:async_hooks')).AsyncLocalStorage.prototype",
  "Headers.prototype, Request.prototype, Response.prototype",
];

describe("the mark of a cell's breadcrumbs", () => {
  const platform = usePlatform({ cells: 1 });

  it("is not heard by tenant code, whatever it replaces", async () => {
    for (const [at, targets] of TAPPED.entries()) {
      const name = `tap-${String(at)}`;
      await platform().deploy(
        name,
        `${LISTENER} for (const target of [${targets}]) tap(target);
        export default async (_, ctx) => {
          console.log("one"); console.log("a", { b: 1 });
          ctx.log.info("two");
          ctx.waitUntil(Promise.resolve());
          await new Promise((go) => setTimeout(go, 120));
          new Error("for its stack").stack;
          return count;
        };`,
      );
      // The second call comes after the first one's answer was written.
      expect((await platform().call(name)).json, targets).toBe(0);
      expect((await platform().call(name)).json, targets).toBe(0);
    }
  });

  it("is in no module that tenant code can import, and in no function's text", async () => {
    const code = `
      import * as shim from "../isola-shim.js";
      import * as main from "../isola-main.js";
      const texts = [];
      for (const module of [shim, main]) for (const name of Object.keys(module)) {
        texts.push(String(module[name]));
        const { prototype } = module[name];
        for (const key of prototype ? Reflect.ownKeys(prototype) : []) {
          texts.push(String(prototype[key]));
        }
      }
      const attempts = [];
      for (const type of ["text", "bytes", "json", "data"]) {
        try {
          const module = await import("../isola-shim.js", { with: { type } });
          texts.push(String(module.default));
        } catch { attempts.push(type); }
      }
      export default () => ({
        marks: texts.filter((text) => /[0-9a-f]{16}|\\u0001/.test(text)),
        length: texts.join("").length,
        attempts,
      });`;
    await platform().deploy("reader", code);
    const { marks, length } = (await platform().call("reader")).json as {
      marks: string[];
      length: number;
    };
    expect(marks).toEqual([]);
    expect(length).toBeGreaterThan(500);
  });
});

/** Tenant code that would have another pay for its loop, or would not be seen in it. */
const EVADERS = {
  "prints lines like breadcrumbs": `
    import process from "node:process";
    export default () => {
      for (;;) {
        for (const mark of ["", "0000000000000000", "00000000000000000000000000000000"]) {
          const line = "\\u0001" + mark + " E x default/innocent@1 60000";
          console.log(line);
          process.stdout.write(line + "\\n\\u0001" + mark + " T\\n");
          process.stderr.write(line + "\\n");
        }
      }
    };`,
  "replaces the shim's entry": `
    import { httpEntry } from "../isola-shim.js";
    httpEntry.fetch = () => { for (;;); };
    export default () => "harmless";`,
  "renames its call": `
    export default (_, ctx) => {
      try { ctx.callId = "x L x E y default/innocent@1 60000"; } catch {}
      ctx.waitUntil(Promise.resolve());
      console.log("said under another name");
      for (;;);
    };`,
  "forges its envelope": `
    const id = "x E y default/innocent@1 60000";
    const forged = [id, "default", "innocent", 1, 0, "", 1, "x", "", 0, 0, 60000, ""].join("\\n");
    Object.defineProperty(Request.prototype, "cf", { get: () => ({ c: forged }) });
    export default () => { for (;;); };`,
  "silences the console and stops the clock": `
    export default async (_, ctx) => {
      for (const name of Object.keys(console)) console[name] = () => {};
      Date.now = () => 0;
      for (const key of ["push", "map", "filter", "join", "slice", "pop"]) {
        Array.prototype[key] = () => { throw new Error("no"); };
      }
      ctx.waitUntil(Promise.resolve());
      for (;;);
    };`,
  "says again and again that it waits": `
    export default async (_, ctx) => {
      for (;;) { ctx.waitUntil(Promise.resolve()); await null; }
    };`,
  "enters itself again and again": `
    import { WorkerEntrypoint } from "cloudflare:workers";
    import { IsolaEntry } from "../isola-shim.js";
    export default class extends WorkerEntrypoint {
      async fetch() {
        for (let count = 0; ; count += 1) {
          const entry = new IsolaEntry(this.ctx, this.env);
          const forged = { id: "c" + count, mb: 60000, tp: "", dl: 0, ch: [] };
          entry.run(forged, undefined, undefined).catch(() => 0);
          await null;
        }
      }
    }`,
} as const;

describe("tenant code that wants to look innocent", () => {
  const platform = usePlatform({ cells: 1 });
  beforeAll(() => platform().deploy("innocent", HELLO), 30_000);

  for (const [what, code] of Object.entries(EVADERS)) {
    it(`is ended and suspected when it ${what}`, async () => {
      const name = what.replaceAll(/[^a-z]+/g, "-");
      await platform().deploy(name, code);
      await platform().call("innocent");
      const before = await restartsOf(platform(), 0);
      const probation = await restartsOf(platform(), 99);
      const fromMs = performance.now();
      expect(await outcomeOf(platform(), name)).not.toBe("200");
      await until(async () => (await restartsOf(platform(), 0)) > before);
      expect(performance.now() - fromMs).toBeLessThan(8_000);
      expect(await outcomeOf(platform(), "innocent")).toBe("200");
      expect(await restartsOf(platform(), 99)).toBe(probation);
      // Not a word of it made another guilty: the next loop ends where suspects run.
      const shared = await restartsOf(platform(), 0);
      expect(await outcomeOf(platform(), name)).not.toBe("200");
      await until(async () => (await restartsOf(platform(), 99)) > probation);
      expect(await restartsOf(platform(), 0)).toBe(shared);
      await platform().client.remove(name);
    }, 30_000);
  }

  it("has made nobody else guilty", async () => {
    expect(await isQuarantined(platform(), "innocent")).toBe(false);
    const { answers } = await briefLoad(platform(), "innocent");
    expect(countOutcomes(answers)).toEqual({ "200": answers.length });
  });
});

async function briefLoad(
  platform: TestPlatform,
  name: string,
): ReturnType<ReturnType<typeof keepCalling>["stop"]> {
  const load = keepCalling(platform, `/function/${name}`, 4);
  await sleep(500);
  return load.stop();
}

describe("busy functions", () => {
  const platform = usePlatform({ cells: 1 });

  it("of which forty wake together, again and again, cost no cell", async () => {
    const code = `export default async () => {
      for (let slice = 0; slice < 3; slice += 1) {
        await scheduler.wait(100);
        const untilMs = Date.now() + 80;
        while (Date.now() < untilMs);
      }
      return "done";
    };`;
    await platform().deploy("slices", code);
    const calls = Array.from({ length: 40 }, () => outcomeOf(platform(), "slices"));
    expect(new Set(await Promise.all(calls))).toEqual(new Set(["200"]));
    expect(await restartsOf(platform(), 0)).toBe(0);
  });
});

describe("innocents that share their cell with spinners, under load", () => {
  const platform = usePlatform({ cells: 1 });

  it("are never quarantined, however often it happens", async () => {
    const wait = `export default async () => { await scheduler.wait(30); return "fine"; };`;
    const names = ["one", "two", "three"];
    for (const name of names) await platform().deploy(name, wait);
    const loads = names.map((name) => keepCalling(platform(), `/function/${name}`, 2));
    // The second one answers first, and ends the cell in which another's call runs by then.
    for (const place of ["inItsBody", "inAWaitUntilOfItsOwn"] as const) {
      await platform().deploy("spinner", SPINNERS[place]);
      const trial = await callUntilQuarantined(platform(), "spinner", 40);
      expect(trial.isQuarantined, trial.outcomes.join(" ")).toBe(true);
    }
    for (const load of loads) {
      const { answers, unanswered } = await load.stop();
      expect(unanswered).toEqual([]);
      const outcomes = countOutcomes(answers);
      const known = new Set(["200", "CELL_LOST", "CAPACITY"]);
      expect(Object.keys(outcomes).filter((one) => !known.has(one))).toEqual([]);
      expect(outcomes["200"]).toBeGreaterThan(20);
    }
    for (const name of names) {
      expect(await isQuarantined(platform(), name)).toBe(false);
      expect(await outcomeOf(platform(), name)).toBe("200");
    }
  }, 150_000);
});
