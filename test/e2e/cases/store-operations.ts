/** `ctx.store`: every operation, from a data function, a Workers module and a class. */
import { expect } from "vitest";
import type { TestPlatform } from "../../support/platform.ts";
import type { CaseGroup } from "./case.ts";
import { STORE_STEPS, steps } from "../../support/store-steps.ts";

const DATA = `${STORE_STEPS} export default (asked, ctx) => runSteps(ctx.store, asked);`;
const HTTP = `${STORE_STEPS} export default {
  async fetch(request, env) {
    return Response.json(await runSteps(env.ISOLA.store, await request.json()));
  } };`;
const CLASS = `import { WorkerEntrypoint } from "cloudflare:workers";
  ${STORE_STEPS} export default class extends WorkerEntrypoint {
    async fetch(request) {
      return Response.json(await runSteps(this.env.ISOLA.store, await request.json()));
    } }`;

const FORMS = ["steps", "steps-http", "steps-class"] as const;

/** Structured values as V8 carries them, compared inside of the function. */
const VALUES = `
  export default async (_, { store }) => {
    const bytes = new Uint8Array([1, 2, 255]);
    const loop = { name: "loop" };
    loop.self = loop;
    const values = { map: new Map([["k", new Set([1])]]), date: new Date(5), big: 12n ** 30n,
      nan: NaN, regex: /a+/gi, error: new TypeError("t"), loop,
      floats: new Float64Array([0.5, -1]), text: "ü\\u0000😀", nothing: null, inner: { bytes } };
    const seen = {};
    for (const [name, value] of Object.entries(values)) {
      await store.put(name, value);
      seen[name] = await store.get(name);
    }
    await store.put("bytes", bytes);
    await store.put("part", new Uint8Array(1_000).subarray(10, 13));
    class Own extends Uint8Array { slice(...at) { return this.subarray(...at); } }
    await store.put("own", new Own(4_000_000).fill(6).subarray(0, 3_000_000));
    await store.put("buffer", new Uint8Array([7, 8]).buffer);
    await store.put("empty", new Uint8Array(0));
    const kept = bytes;
    bytes[0] = 9;
    return {
      map: seen.map.get("k").has(1), date: seen.date.getTime(), big: seen.big === values.big,
      nan: Number.isNaN(seen.nan), regex: String(seen.regex),
      error: seen.error instanceof TypeError, loop: seen.loop.self === seen.loop,
      floats: [...seen.floats], text: seen.text,
      nothing: seen.nothing, inner: [...seen.inner.bytes], kept: kept[0],
      bytes: [...(await store.get("bytes"))], buffer: (await store.get("buffer")).constructor.name,
      empty: (await store.get("empty")).byteLength, part: (await store.stat("part")).sizeBytes,
      own: [(await store.get("own")).length, (await store.get("own"))[2_999_999]],
      kinds: [(await store.stat("bytes")).kind, (await store.stat("map")).kind],
    };
  };`;

const NO_VALUES = `
  export default async (_, { store }) => {
    class Own { a = 1; }
    const bad = { fn: () => 1, inner: { deep: [() => 1] }, symbol: Symbol("s"), own: new Own(),
      stream: { body: new ReadableStream() }, promise: Promise.resolve(1), none: undefined,
      proxy: new Map([["k", () => 1]]) };
    if (typeof SharedArrayBuffer !== "undefined") {
      bad.shared = new SharedArrayBuffer(8);
      bad.view = { view: new Uint8Array(new SharedArrayBuffer(8)) };
    }
    const codes = {};
    for (const [name, value] of Object.entries(bad)) {
      for (const send of [() => store.put("bad", value), () => store.getPut("bad", value),
        () => store.compareAndSet("bad", undefined, value)]) {
        codes[name] = await send().then(() => "stored", (error) => error.code);
        if (codes[name] !== "VALUE_INVALID") break;
      }
    }
    codes.left = await store.has("bad");
    return codes;
  };`;

const LOCKING = `
  const sleep = (ms) => new Promise((go) => setTimeout(go, ms));
  export default async (name, { store, call }) => {
    const held = await store.lock("l", { leaseMs: 5_000 });
    const refused = await store.lock("l", { leaseMs: 5_000 });
    const fenced = await store.put("k", 1, { fence: held });
    const waiting = store.lock("l", { leaseMs: 5_000, waitMs: 2_000 });
    await sleep(30);
    await held.renew(10_000);
    await held.unlock();
    const next = await waiting;
    const code = async (work) => work().then(() => "done", (error) => error.code);
    return { refused: refused === undefined, fenced: fenced.stored, grows: next.token > held.token,
      stale: [await code(() => held.unlock()), await code(() => held.renew(1_000)),
        await code(() => store.put("k", 2, { fence: held }))],
      value: await store.get("k"), leaseMs: next.leaseUntil - Date.now() > 4_000 };
  };`;

const FLOW = `
  import { dataStore, stateStore } from "isola";
  export default async (_, ctx) => {
    const code = async (work) => work().then(() => "done", (error) => error.code);
    const data = dataStore(ctx.store), state = stateStore(ctx.store);
    for (const one of [data, state]) { one.configure("flow", "request-1"); await one.init(); }
    await data.set("node--1", new Uint8Array([1, 2]));
    await state.set("joins", "0");
    const updates = await Promise.all([1, 2, 3, 4].map((n) =>
      code(() => state.update("joins", "0", String(n)))));
    const other = dataStore(ctx.store);
    other.configure("flow", "request-2");
    const found = { data: [...await data.get("node--1")], won: updates.sort(),
      state: Number(await state.get("joins")) > 0, missing: await code(() => data.get("none")),
      other: await code(() => other.get("node--1")) };
    await data.del("node--1");
    await data.del("node--1");
    for (let i = 0; i < 20; i += 1) await data.set("k" + i, new Uint8Array(1));
    await data.cleanup();
    await state.cleanup();
    return { ...found, left: await code(() => state.get("joins")),
      objects: (await ctx.store.info()).objects };
  };`;

async function each(platform: TestPlatform, asked: Parameters<typeof steps>[2]): Promise<void> {
  for (const name of FORMS) await steps(platform, name, asked);
}

export const storeOperationCases: CaseGroup = {
  topic: "operations of the store",
  prepare: async (platform) => {
    await platform.deploy("steps", DATA);
    await platform.deploy("steps-http", HTTP);
    await platform.deploy("steps-class", CLASS);
    await platform.deploy("store-values", VALUES);
    await platform.deploy("no-values", NO_VALUES);
    await platform.deploy("locking", LOCKING);
    const main = "index.js";
    await platform.deploy("faas-flow", { main, files: { [main]: FLOW } });
  },
  cases: {
    "what was put is read, listed, told of and deleted": (platform) =>
      each(platform, [
        [["get", "k"], null],
        [["has", "k"], false],
        [["put", "k", { a: 1 }], { stored: true }],
        [["get", "k"], { a: 1 }],
        [["has", "k"], true],
        [["stat", "k"], { bucket: "default", key: "k", kind: "value", tier: "memory" }],
        [["put", "k/1", "x"], { stored: true }],
        [["put", "k/2", "y"], { stored: true }],
        [["list", { prefix: "k/" }], { objects: [{ key: "k/1" }, { key: "k/2" }] }],
        [["list", { limit: 1 }], { objects: [{ key: "k" }], cursor: "k" }],
        [["list", { cursor: "k/1" }], { objects: [{ key: "k/2" }] }],
        [["delete", "k"], true],
        [["delete", "k"], false],
        [["get", "k"], null],
        [["bucket:b.get", "k/1"], null],
        [["bucket:b.put", "k/1", 5], { stored: true }],
        [["get", "k/1"], "x"],
        [["bucket:b.destroy"], null],
        [["bucket:b.has", "k/1"], false],
        [["info"], { kind: "call", objects: 2 }],
      ]),

    "conditions, counters and exchanges are decided by the store": (platform) =>
      each(platform, [
        [["put", "c", 1, { ifPresent: true }], { stored: false }],
        [["put", "c", 1, { ifAbsent: true }], { stored: true }],
        [["put", "c", 2, { ifAbsent: true }], { stored: false }],
        [["put", "c", 2, { ifVersion: 0 }], { stored: false }],
        [["incr", "n"], 1],
        [["incr", "n", 41], 42],
        [["decr", "n", 2], 40],
        [["incr", "n", 0.5], 40.5],
        [["incr", "text"], 1],
        [["put", "text", "words"], { stored: true }],
        [["incr", "text"], { code: "COUNTER_INVALID" }],
        [["getPut", "g", { v: 1 }], null],
        [["getPut", "g", { v: 2 }], { v: 1 }],
        [["compareAndSet", "s", null, 2], { stored: false }],
        [["compareAndSet", "g", { v: 1 }, 2], { stored: false }],
        [["compareAndSet", "g", { v: 2 }, 3], { stored: true }],
        [["get", "g"], 3],
        [["expire", "g", { ttlMs: 1 }], true],
        [["pause", 20], null],
        [["get", "g"], null],
        [["expire", "g", { ttlMs: 1 }], false],
        [["put", "t", 1, { ttlMs: 1 }], { stored: true }],
        [["pause", 20], null],
        [["has", "t"], false],
        [["put", "d", 1, { durability: "disk" }], { stored: true }],
        [["stat", "d"], { durability: "disk", persist: false }],
      ]),

    "bad input is a refusal with its code, and changes nothing": (platform) =>
      each(platform, [
        [["put", "", 1], { code: "KEY_INVALID" }],
        [["put", "a\u0000", 1], { code: "KEY_INVALID" }],
        [["put", "k".repeat(1_025), 1], { code: "KEY_INVALID" }],
        [["get", 5], { code: "KEY_INVALID" }],
        [["bucket:..put", "k", 1], { code: "KEY_INVALID" }],
        [["put", "k", 1, { ttlMs: -1 }], { code: "VALUE_INVALID" }],
        [["put", "k", 1, { ttlMs: "5" }], { code: "VALUE_INVALID" }],
        [["put", "k", 1, { ttl: 5 }], { code: "VALUE_INVALID" }],
        [["put", "k", 1, { durability: "tape" }], { code: "VALUE_INVALID" }],
        [["put", "k", 1, { ifAbsent: true, ifVersion: 3 }], { code: "VALUE_INVALID" }],
        [["incr", "k", "many"], { code: "VALUE_INVALID" }],
        [["list", { limit: 0 }], { code: "VALUE_INVALID" }],
        [["list", { limit: 1_001 }], { code: "VALUE_INVALID" }],
        [["lock", "l", {}], { code: "VALUE_INVALID" }],
        [["lock", "l", { leaseMs: 10, waitMs: -1 }], { code: "VALUE_INVALID" }],
        [["stream", "k", { range: { start: 0, end: 1 }, take: true }], { code: "VALUE_INVALID" }],
        [["end"], { code: "CONFLICT" }],
        [["info"], { objects: 0 }],
      ]),

    "values come back as they were": async (platform) => {
      expect((await platform.call("store-values", { json: null })).json).toEqual({
        map: true,
        date: 5,
        big: true,
        nan: true,
        regex: "/a+/gi",
        error: true,
        loop: true,
        floats: [0.5, -1],
        text: "ü\u0000😀",
        nothing: null,
        inner: [1, 2, 255],
        kept: 9,
        bytes: [1, 2, 255],
        buffer: "Uint8Array",
        empty: 0,
        part: 3,
        own: [3_000_000, 6],
        kinds: ["bytes", "value"],
      });
    },

    "what is no value is refused before it is sent": async (platform) => {
      const { left, ...codes } = (await platform.call("no-values", { json: null })).json as Record<
        string,
        unknown
      >;
      expect(new Set(Object.values(codes))).toEqual(new Set(["VALUE_INVALID"]));
      expect(Object.keys(codes).length).toBeGreaterThanOrEqual(7);
      expect(left).toBe(false);
    },

    "a lock has one holder, is waited for, and fences who lost it": async (platform) => {
      expect((await platform.call("locking", { json: null })).json).toEqual({
        refused: true,
        fenced: true,
        grows: true,
        stale: ["LOCK_STALE", "LOCK_STALE", "LOCK_STALE"],
        value: 1,
        leaseMs: true,
      });
    },

    "faas-flow's stores work over a job, each request by itself": async (platform) => {
      expect((await platform.call("faas-flow", { json: null })).json).toEqual({
        data: [1, 2],
        won: ["PRECONDITION_FAILED", "PRECONDITION_FAILED", "PRECONDITION_FAILED", "done"],
        state: true,
        missing: "OBJECT_NOT_FOUND",
        other: "OBJECT_NOT_FOUND",
        left: "OBJECT_NOT_FOUND",
        objects: 0,
      });
    },
  },
};
