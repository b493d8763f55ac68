/** Every route of the store over HTTP, and what each makes of bad input (INTERFACE §7). */
import { setTimeout as sleep } from "node:timers/promises";
import { Packr, Unpackr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { STORE_LIMITS } from "../../runtime/contract/index.ts";
import { killCell } from "../support/cells.ts";
import type { Answer } from "../support/http-calls.ts";
import { usePlatform } from "../support/platform.ts";
import { type StoreAsk, type StoreHttp, objectPath, storeHttp } from "../support/store-requests.ts";
import { until } from "../support/until.ts";

const platform = usePlatform({ cells: 2, shards: 3 });
const store = (namespace?: string): StoreHttp => storeHttp(platform(), namespace);
const NOWHERE = `0-${"0".repeat(32)}`;

type Fields = Readonly<Record<string, unknown>>;

/** One job with what one asks of its objects. */
async function withJob(options: object = {}) {
  const http = store();
  const job = await http.job(options);
  const ask = async (method: string, key: string, init: StoreAsk & { query?: string } = {}) =>
    http.ask(method, objectPath(job, key, init.query ?? ""), init);
  const put = async (key: string, body: string | Uint8Array, query = "") =>
    ask("PUT", key, { body, query });
  const get = async (key: string, headers: Record<string, string> = {}) =>
    ask("GET", key, { headers });
  const operate = async (key: string, query: string, init: StoreAsk = {}) =>
    ask("POST", key, { ...init, query: `?op=${query}` });
  const info = async () => (await http.ask("GET", `jobs/${job}`)).json as Fields;
  return { http, job, ask, put, get, operate, info };
}

describe("jobs", () => {
  it("are made, listed, shown and ended", async () => {
    const http = store();
    const made = await http.ask("POST", "jobs", {
      json: { name: "mine", durability: "disk", workflow: "w", hints: { capacityMb: 2, calls: 3 } },
    });
    expect(made.status).toBe(201);
    const { jobId, ...info } = made.json as Fields & { jobId: string };
    expect(jobId).toMatch(/^[0-2]-[0-9a-f]{32}$/);
    expect(info).toMatchObject({ id: jobId, name: "mine", durability: "disk", objects: 0 });
    const listed = (await http.ask("GET", "jobs")).json as { items: Fields[]; missing: unknown };
    expect(listed.missing).toEqual([]);
    expect(listed.items.map(({ id }) => id)).toContain(jobId);
    await http.ask("PUT", objectPath(jobId, "a"), { body: "12345" });
    const shown = (await http.ask("GET", `jobs/${jobId}`)).json;
    expect(shown).toMatchObject({ objects: 1, usage: { heldBytes: 5, bytesIn: 5 } });
    const ended = await http.ask("DELETE", `jobs/${jobId}`);
    expect(ended.status).toBe(200);
    expect(ended.json).toMatchObject({ usage: { heldBytes: 0, heldHighWaterBytes: 5 } });
  });

  it("are spread over the shards", async () => {
    const http = store();
    const jobs = await Promise.all(Array.from({ length: 30 }, async () => http.job()));
    expect(new Set(jobs.map((job) => job.split("-")[0])).size).toBe(3);
  });

  it("that ended take nothing more, and keep what was persisted", async () => {
    const { http, job, put, get } = await withJob();
    await put("kept", "kept", "?persist=1");
    await put("gone", "gone");
    await http.ask("DELETE", `jobs/${job}`);
    expect((await get("kept")).text).toBe("kept");
    expect(await get("gone")).toMatchObject({ status: 404, code: "OBJECT_NOT_FOUND" });
    expect(await put("new", "x")).toMatchObject({ status: 409, code: "JOB_ENDED" });
    await http.ask("DELETE", objectPath(job, "kept"));
    expect(await get("kept")).toMatchObject({ status: 409, code: "JOB_ENDED" });
  });

  it.each([
    [{}, "no field name"],
    [{ name: "" }, "name"],
    [{ name: "n", durability: "paper" }, "durability"],
    [{ name: "n", hints: { capacityMb: -1 } }, "hints"],
    [{ name: "n", colour: 1 }, "colour"],
    [[], "no object"],
  ])("are refused for %j", async (json, found) => {
    const answer = await store().ask("POST", "jobs", { json });
    expect(answer).toMatchObject({ status: 400, code: "REQUEST_INVALID" });
    expect(answer.text).toContain(found);
  });

  it.each([
    "x",
    "0-1",
    "-1-0",
    `9-${"0".repeat(32)}`,
    `0-${"G".repeat(32)}`,
    "%00",
    "a".repeat(999),
  ])("of the id %s are none", async (id) => {
    for (const [method, path] of [
      ["GET", `jobs/${id}`],
      ["DELETE", `jobs/${id}`],
      ["GET", `jobs/${id}/buckets/b`],
      ["PUT", `jobs/${id}/buckets/b/objects/k`],
      ["POST", `jobs/${id}/buckets/b/objects/k?op=incr`],
    ] as const) {
      const answer = await store().ask(method, path);
      expect(answer, method).toMatchObject({ status: 404, code: "JOB_NOT_FOUND" });
    }
  });
});

describe("buckets", () => {
  it("are made, listed page by page, and removed with all in them", async () => {
    const { http, job, put } = await withJob();
    expect((await http.ask("PUT", `jobs/${job}/buckets/empty`)).json).toMatchObject({
      buckets: ["empty"],
    });
    const keys = ["a/1", "a/2", "a/ü", "b", "ü/😀"];
    for (const key of keys) await put(key, key);
    const list = async (query: string) =>
      (await http.ask("GET", `jobs/${job}/buckets/default${query}`)).json as {
        items: { key: string }[];
        cursor?: string;
      };
    const seen: string[] = [];
    for (let query = "?limit=2"; ;) {
      const { items, cursor } = await list(query);
      expect(items.length).toBeLessThanOrEqual(2);
      seen.push(...items.map(({ key }) => key));
      if (cursor === undefined) break;
      query = `?limit=2&cursor=${encodeURIComponent(cursor)}`;
    }
    expect(seen.toSorted()).toEqual(keys.toSorted());
    expect((await list("?prefix=a%2F")).items.map(({ key }) => key)).toEqual(["a/1", "a/2", "a/ü"]);
    expect((await http.ask("DELETE", `jobs/${job}/buckets/default`)).status).toBe(204);
    expect((await list("")).items).toEqual([]);
  });

  it.each(["a%2Fb", "%20", "ä", "x".repeat(64), "..", ".hidden", "a%0Ab"])(
    "of the name %s are refused",
    async (name) => {
      const { http, job } = await withJob();
      // Clients resolve "..", so it cannot be sent; its percent-encoded form can.
      const sent = name === ".." ? "%2e%2e" : name;
      for (const method of ["PUT", "GET"]) {
        const answer = await http.ask(method, `jobs/${job}/buckets/${encodeURI(decodeURI(sent))}`);
        expect(answer, method).toMatchObject({ status: 400, code: "KEY_INVALID" });
      }
    },
  );

  it.each(["limit=0", "limit=-1", "limit=1001", "limit=1.5"])("refuse %s", async (query) => {
    const { http, job } = await withJob();
    const answer = await http.ask("GET", `jobs/${job}/buckets/b?${query}`);
    expect(answer).toMatchObject({ status: 400, code: "VALUE_INVALID" });
  });
});

describe("objects of octets", () => {
  it("come back as they were put, whatever their type", async () => {
    const { ask, get } = await withJob();
    const octets = new Uint8Array(300_000).map((_, index) => (index * 7) % 251);
    for (const type of [
      undefined,
      "text/plain",
      "image/png",
      "application/x-www-form-urlencoded",
    ]) {
      const headers = type === undefined ? {} : { "content-type": type };
      const stored = await ask("PUT", "o", { body: octets, headers });
      expect(stored.status).toBe(200);
      const read = await get("o");
      expect(read.headers).toMatchObject({
        "content-type": "application/octet-stream",
        "content-length": "300000",
        etag: stored.headers.etag,
        "x-isola-kind": "bytes",
      });
      expect(read.bytes.equals(octets)).toBe(true);
    }
  });

  it("may be empty", async () => {
    const { ask, put, get } = await withJob();
    expect((await put("none", "")).status).toBe(200);
    expect(await get("none")).toMatchObject({ status: 200, text: "" });
    expect((await ask("HEAD", "none")).headers["content-length"]).toBe("0");
    expect(await get("none", { range: "bytes=0-" })).toMatchObject({ status: 416 });
  });

  it.each([
    "a/b/c",
    "/",
    "//",
    "a//b",
    "a/../b",
    "a/./b",
    "100%",
    "%41",
    "a b+c",
    "ü/😀",
    "?#&=;",
    "objects/x",
    "k".repeat(STORE_LIMITS.keyMaxBytes),
    "ü".repeat(STORE_LIMITS.keyMaxBytes / 2),
  ])("have keys such as %s", async (key) => {
    const { http, job, ask, put, get } = await withJob();
    expect((await put(key, key)).status).toBe(200);
    expect((await get(key)).text).toBe(key);
    expect((await ask("HEAD", key)).status).toBe(200);
    const { items } = (await http.ask("GET", `jobs/${job}/buckets/default`)).json as {
      items: { key: string }[];
    };
    expect(items.map((item) => item.key)).toEqual([key]);
    expect((await ask("DELETE", key)).status).toBe(204);
    expect(await ask("DELETE", key)).toMatchObject({ status: 404, code: "OBJECT_NOT_FOUND" });
  });

  it("have keys with slashes as they are, and in the query what no path carries", async () => {
    const { http, job, get } = await withJob();
    const base = `jobs/${job}/buckets/default/objects`;
    await http.ask("PUT", `${base}/a/b/c`, { body: "1" });
    expect((await get("a/b/c")).text).toBe("1");
    for (const key of [".", ".."]) {
      expect((await http.ask("PUT", `${base}?key=${key}`, { body: key })).status).toBe(200);
      expect((await http.ask("GET", `${base}?key=${key}`)).text).toBe(key);
    }
    const both = await http.ask("GET", `${base}/a?key=b`);
    expect(both).toMatchObject({ status: 400, code: "REQUEST_INVALID" });
  });

  it.each([
    "a%00b",
    "%0A",
    "a%0D%0Ab",
    "%7F",
    "%ff",
    "%zz",
    "%",
    "%ed%a0%80",
    "x".repeat(STORE_LIMITS.keyMaxBytes + 1),
    "%C3%BC".repeat(STORE_LIMITS.keyMaxBytes / 2 + 1),
  ])("refuse the key %s", async (written) => {
    const { http, job } = await withJob();
    for (const method of ["PUT", "GET", "DELETE", "POST"]) {
      const query = method === "POST" ? "?op=incr" : "";
      const path = `jobs/${job}/buckets/default/objects/${written}${query}`;
      expect(await http.ask(method, path), method).toMatchObject({
        code: "KEY_INVALID",
        status: 400,
      });
    }
    const empty = await http.ask("PUT", `jobs/${job}/buckets/default/objects?key=`);
    expect(empty).toMatchObject({ status: 400, code: "KEY_INVALID" });
  });

  it.each([
    ["bytes=0-3", 206, "0123", "bytes 0-3/10"],
    ["bytes=8-", 206, "89", "bytes 8-9/10"],
    ["bytes=-3", 206, "789", "bytes 7-9/10"],
    ["bytes=-99", 206, "0123456789", "bytes 0-9/10"],
    ["bytes=5-99", 206, "56789", "bytes 5-9/10"],
    ["bytes=0-1,4-5", 200, "0123456789", undefined],
    ["lines=0-1", 200, "0123456789", undefined],
    ["bytes=10-", 416, undefined, "bytes */10"],
    ["bytes=99-100", 416, undefined, "bytes */10"],
    ["bytes=-0", 416, undefined, "bytes */10"],
    ["bytes=5-2", 416, undefined, undefined],
    ["bytes=x", 416, undefined, undefined],
    ["bytes=-", 416, undefined, undefined],
  ])("answer the range %s with %i", async (range, status, text, contentRange) => {
    const { put, get } = await withJob();
    await put("r", "0123456789");
    const answer = await get("r", { range });
    expect(answer.status, answer.text).toBe(status);
    expect(answer.code).toBe(status === 416 ? "RANGE_INVALID" : undefined);
    expect(status === 416 ? undefined : answer.text).toBe(text);
    expect(answer.headers["content-range"]).toBe(contentRange);
  });

  it("know conditions of readers", async () => {
    const { ask, put, get } = await withJob();
    const tag = (await put("c", "1")).headers.etag ?? "";
    expect(await get("c", { "if-none-match": tag })).toMatchObject({ status: 304, text: "" });
    expect(await ask("HEAD", "c", { headers: { "if-none-match": tag } })).toMatchObject({
      status: 304,
    });
    expect((await get("c", { "if-none-match": `"0", W/${tag}` })).status).toBe(304);
    expect((await get("c", { "if-none-match": '"1"' })).status).toBe(200);
    expect((await get("c", { "if-match": tag })).text).toBe("1");
    expect(await get("c", { "if-match": '"1"' })).toMatchObject({
      status: 412,
      code: "PRECONDITION_FAILED",
    });
    const range = "bytes=0-0";
    expect((await get("c", { range, "if-range": tag })).status).toBe(206);
    expect((await get("c", { range, "if-range": '"1"' })).status).toBe(200);
  });

  it("know conditions of writers", async () => {
    const { ask, get } = await withJob();
    const write = async (body: string, headers: Record<string, string>) =>
      ask("PUT", "c", { body, headers });
    expect(await write("0", { "if-match": "*" })).toMatchObject({ status: 412 });
    const first = await write("1", { "if-none-match": "*" });
    expect(first.status).toBe(200);
    expect(await write("2", { "if-none-match": "*" })).toMatchObject({
      status: 412,
      code: "PRECONDITION_FAILED",
    });
    expect(await write("2", { "if-match": '"7777"' })).toMatchObject({ status: 412 });
    expect(await write("2", { "if-match": '"abc"' })).toMatchObject({ status: 412 });
    expect((await write("2", { "if-match": first.headers.etag ?? "" })).status).toBe(200);
    expect(await write("3", { "if-match": first.headers.etag ?? "" })).toMatchObject({
      status: 412,
    });
    for (const headers of [
      { "if-none-match": '"1"' },
      { "if-match": '"1", "2"' },
      { "if-match": "*", "if-none-match": "*" },
    ]) {
      expect(await write("3", headers)).toMatchObject({ status: 400, code: "REQUEST_INVALID" });
    }
    const removal = await ask("DELETE", "c", { headers: { "if-match": '"1"' } });
    expect(removal).toMatchObject({ status: 400, code: "REQUEST_INVALID" });
    expect((await get("c")).text).toBe("2");
  });

  it("expire by time to live, and by time without use", async () => {
    const { ask, put, get } = await withJob();
    await put("ttl", "1", "?ttlMs=400");
    await put("idle", "1", "?idleMs=400");
    const head = await ask("HEAD", "ttl");
    expect(Number(head.headers["x-isola-expires-at-ms"])).toBeGreaterThan(0);
    expect((await ask("HEAD", "idle")).headers["x-isola-idle-ms"]).toBe("400");
    await sleep(1_000);
    expect((await get("ttl")).status).toBe(404);
    expect((await get("idle")).status).toBe(404);
  });

  it.each([
    ["ttlMs=-1", "VALUE_INVALID"],
    ["ttlMs=0", "VALUE_INVALID"],
    ["ttlMs=1.5", "VALUE_INVALID"],
    ["ttlMs=1e99", "VALUE_INVALID"],
    ["idleMs=-5", "VALUE_INVALID"],
    ["ttlMs=soon", "REQUEST_INVALID"],
    ["ttlMs=", "REQUEST_INVALID"],
    ["ttlms=5", "REQUEST_INVALID"],
    ["persist=yes", "REQUEST_INVALID"],
    ["durability=paper", "REQUEST_INVALID"],
    ["persist=1&durability=memory", "REQUEST_INVALID"],
    ["fenceLock=a", "REQUEST_INVALID"],
    ["fenceLock=a&fenceToken=1", "LOCK_STALE"],
  ])("refuse ?%s", async (query, code) => {
    const { put, get, info } = await withJob();
    await put("k", "before");
    expect((await put("k", "after", `?${query}`)).code).toBe(code);
    expect((await get("k")).text).toBe("before");
    expect(await info()).toMatchObject({ objects: 1, usage: { heldBytes: 6 } });
  });
});

describe("structured values", () => {
  const VALUE = { text: "ü", list: [1, 2.5, null, true], nested: { "": [] } };

  it("are put and read as JSON or MessagePack", async () => {
    const { ask, get } = await withJob();
    const json = await ask("PUT", "v", { json: VALUE });
    expect(json.status).toBe(200);
    const read = await get("v");
    expect(read.headers).toMatchObject({
      "content-type": "application/json",
      "accept-ranges": "none",
    });
    expect(read.json).toEqual(VALUE);
    const packed = await get("v", { accept: "application/msgpack" });
    expect(packed.headers["content-type"]).toBe("application/msgpack");
    expect(new Unpackr({ useRecords: false }).unpack(packed.bytes)).toEqual(VALUE);
    const headers = { "content-type": "application/msgpack" };
    const body = new Uint8Array(new Packr({ useRecords: false }).pack({ ...VALUE, more: 1 }));
    expect((await ask("PUT", "p", { body, headers })).status).toBe(200);
    expect((await get("p")).json).toEqual({ ...VALUE, more: 1 });
    expect(await get("v", { range: "bytes=0-1" })).toMatchObject({ status: 416 });
  });

  it("that JSON cannot carry are refused in it, and stay", async () => {
    const { ask, get, operate } = await withJob();
    const headers = { "content-type": "application/msgpack" };
    const body = new Uint8Array(
      new Packr({ useRecords: false }).pack({ octets: Buffer.from("x") }),
    );
    await ask("PUT", "v", { body, headers });
    expect(await get("v")).toMatchObject({ status: 406, code: "NOT_ACCEPTABLE" });
    expect(await operate("v", "take")).toMatchObject({ status: 406, code: "NOT_ACCEPTABLE" });
    const packed = await get("v", { accept: "application/msgpack" });
    expect(new Unpackr({ useRecords: false }).unpack(packed.bytes)).toMatchObject({
      octets: Buffer.from("x"),
    });
  });

  it.each([
    ["application/json", "{", "INPUT_MALFORMED"],
    ["application/json", "", "INPUT_MALFORMED"],
    ["application/json", Buffer.from([0x22, 0xff, 0x22]), "INPUT_MALFORMED"],
    ["application/json", "[".repeat(5_000) + "]".repeat(5_000), "VALUE_INVALID"],
    ["application/json", '[{"__proto__":1}]', "VALUE_INVALID"],
    ["application/msgpack", "", "INPUT_MALFORMED"],
    ["application/msgpack", Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff]), "INPUT_MALFORMED"],
    ["application/msgpack", Buffer.from([0x01, 0x02]), "INPUT_MALFORMED"],
    ["application/msgpack", Buffer.from([0xc1]), "INPUT_MALFORMED"],
    ["application/msgpack", Buffer.alloc(5_000, 0x91), "INPUT_MALFORMED"],
  ])("of type %s are refused if they are none: %j", async (type, body, code) => {
    const { ask, info } = await withJob();
    const answer = await ask("PUT", "v", { body, headers: { "content-type": type } });
    expect(answer).toMatchObject({ status: 400, code });
    expect(await info()).toMatchObject({ objects: 0, usage: { heldBytes: 0 } });
  });
});

describe("operations", () => {
  it("take an object under a lease, once", async () => {
    const { put, get, operate } = await withJob();
    await put("t", "once");
    const taken = await operate("t", "take&leaseMs=60000");
    expect(taken).toMatchObject({ status: 200, text: "once" });
    expect(await get("t")).toMatchObject({ status: 404 });
    expect(await operate("t", "take")).toMatchObject({ status: 404, code: "OBJECT_NOT_FOUND" });
    const lease = taken.headers["x-isola-lease"] as string;
    expect((await operate("t", `return&lease=${lease}`)).status).toBe(204);
    expect((await get("t")).text).toBe("once");
    const again = (await operate("t", "take")).headers["x-isola-lease"] as string;
    expect((await operate("t", `acknowledge&lease=${again}`)).status).toBe(204);
    expect(await get("t")).toMatchObject({ status: 404 });
    for (const op of ["return", "acknowledge"]) {
      const late = await operate("t", `${op}&lease=${again}`);
      expect(late, op).toMatchObject({ status: 409, code: "LOCK_STALE" });
    }
  });

  it("give a taken object back when its lease ends", async () => {
    const { put, get, operate } = await withJob();
    await put("t", "back");
    await operate("t", "take&leaseMs=300");
    expect((await get("t")).status).toBe(404);
    await until(async () => (await get("t")).text === "back", 5_000);
  });

  it("count, with integers and fractions", async () => {
    const { ask, operate, put } = await withJob();
    const value = async (query: string) => ((await operate("n", query)).json as Fields)["value"];
    expect(await value("incr")).toBe(1);
    expect(await value("incr&by=41")).toBe(42);
    expect(await value("decr&by=2")).toBe(40);
    expect(await value("incr&by=0.5")).toBe(40.5);
    expect(await value("decr&by=0.5&float=1")).toBe(40);
    await put("text", "nothing to count");
    expect(await operate("text", "incr")).toMatchObject({ status: 409, code: "COUNTER_INVALID" });
    await ask("PUT", "words", { json: "words" });
    expect(await operate("words", "incr")).toMatchObject({ status: 409, code: "COUNTER_INVALID" });
    expect(await operate("n", "incr&by=x")).toMatchObject({ status: 400, code: "REQUEST_INVALID" });
    expect((await operate("n", "incr&by=9007199254740993")).code).toMatch(/INVALID/);
    expect(await value("incr&by=0")).toBe(40);
  });

  it("exchange values", async () => {
    const { get, operate } = await withJob();
    const none = await operate("x", "getPut", { json: 1 });
    expect(none).toMatchObject({ status: 204, headers: { "x-isola-found": "0" } });
    const former = await operate("x", "getPut", {
      body: "octets",
      headers: { "content-type": "a/b" },
    });
    expect(former).toMatchObject({ status: 200, json: 1 });
    expect((await operate("x", "getPut", { json: { a: 1 } })).text).toBe("octets");
    expect((await get("x")).json).toEqual({ a: 1 });
  });

  it("compare and set", async () => {
    const { get, operate } = await withJob();
    const set = async (json: unknown) => operate("x", "compareAndSet", { json });
    expect(await set({ expected: 1, next: 2 })).toMatchObject({ status: 412 });
    expect((await set({ next: { a: 1 } })).status).toBe(200);
    expect(await set({ next: 2 })).toMatchObject({ status: 412, code: "PRECONDITION_FAILED" });
    expect((await set({ expected: { a: 1 }, next: 2 })).status).toBe(200);
    for (const json of [{}, { expected: 1 }, { next: 1, more: 2 }, [], null, 5]) {
      expect(await set(json)).toMatchObject({ status: 400, code: "REQUEST_INVALID" });
    }
    expect((await get("x")).json).toBe(2);
  });

  it("set times anew", async () => {
    const { ask, put, operate } = await withJob();
    await put("e", "1");
    expect((await operate("e", "expire&ttlMs=60000")).status).toBe(204);
    expect((await ask("HEAD", "e")).headers["x-isola-expires-at-ms"]).toBeDefined();
    expect((await operate("e", "expire")).status).toBe(204);
    expect((await ask("HEAD", "e")).headers["x-isola-expires-at-ms"]).toBeUndefined();
    expect(await operate("none", "expire&ttlMs=1")).toMatchObject({ status: 404 });
    expect(await operate("e", "expire&ttlMs=-1")).toMatchObject({ code: "VALUE_INVALID" });
  });

  it("lock with leases, and fence writes", async () => {
    const { put, operate } = await withJob();
    const held = (await operate("l", "lock&leaseMs=60000")).json as { token: number };
    expect(held).toMatchObject({ acquired: true });
    expect((await operate("l", "lock")).json).toMatchObject({ acquired: false });
    const fence = `?fenceLock=l&fenceToken=${String(held.token)}`;
    expect((await put("guarded", "1", fence)).status).toBe(200);
    const renewed = await operate("l", `renew&leaseMs=60000&token=${String(held.token)}`);
    expect(renewed.json).toMatchObject({ acquired: true });
    const stale = await operate("l", `unlock&token=${String(held.token + 1)}`);
    expect(stale).toMatchObject({ status: 409, code: "LOCK_STALE" });
    expect((await operate("l", `unlock&token=${String(held.token)}`)).status).toBe(204);
    expect(await put("guarded", "2", fence)).toMatchObject({ status: 409, code: "LOCK_STALE" });
    expect(await operate("l", "unlock")).toMatchObject({ status: 400, code: "REQUEST_INVALID" });
    expect(await operate("l", "lock&leaseMs=-1")).toMatchObject({ code: "VALUE_INVALID" });
  });

  it.each(["", "?op=", "?op=toString", "?op=put", "?op=take&colour=1", "?op=incr&ttlMs=5"])(
    "refuse %s",
    async (query) => {
      const { ask } = await withJob();
      expect(await ask("POST", "k", { query })).toMatchObject({
        status: 400,
        code: "REQUEST_INVALID",
      });
    },
  );
});

describe("access", () => {
  it("needs a token: read to look, operate to change", async () => {
    const { http, job, put } = await withJob();
    await put("k", "v");
    const tokens = platform().client.tokens;
    const read = (await tokens.create("read")).token;
    const operate = (await tokens.create("operate")).token;
    const changes: readonly (readonly [string, string])[] = [
      ["POST", "jobs"],
      ["PUT", `jobs/${job}/buckets/b`],
      ["DELETE", `jobs/${job}/buckets/b`],
      ["PUT", objectPath(job, "k")],
      ["POST", objectPath(job, "n", "?op=incr")],
      ["DELETE", objectPath(job, "k")],
      ["DELETE", `jobs/${job}`],
    ];
    const looks: readonly (readonly [string, string])[] = [
      ["GET", "jobs"],
      ["GET", `jobs/${job}`],
      ["GET", `jobs/${job}/buckets/default`],
      ["GET", objectPath(job, "k")],
      ["HEAD", objectPath(job, "k")],
    ];
    for (const [method, path] of [...looks, ...changes]) {
      const init = { token: "isola_nobody", json: { name: "n" } };
      expect(await http.ask(method, path, init), path).toMatchObject({ status: 401 });
    }
    for (const [method, path] of looks) {
      expect((await http.ask(method, path, { token: read })).status, path).toBe(200);
    }
    for (const [method, path] of changes) {
      const init = { json: { name: "n" } };
      const refused = await http.ask(method, path, { ...init, token: read });
      expect(refused, path).toMatchObject({ status: 403, code: "ROLE_TOO_LOW" });
      expect((await http.ask(method, path, { ...init, token: operate })).status).toBeLessThan(300);
    }
  });

  it("does not tell a job of another namespace from one that never was", async () => {
    await platform().client.namespaces.create({ namespace: "other" });
    const theirs = await store("other").job();
    await store("other").ask("PUT", objectPath(theirs, "secret"), { body: "secret" });
    const shard = theirs.split("-")[0] ?? "0";
    const absent = `${shard}-${"a".repeat(32)}`;
    const ways: readonly (readonly [string, (job: string) => string])[] = [
      ["GET", (job) => `jobs/${job}`],
      ["DELETE", (job) => `jobs/${job}`],
      ["GET", (job) => `jobs/${job}/buckets/default`],
      ["DELETE", (job) => `jobs/${job}/buckets/default`],
      ["GET", (job) => objectPath(job, "secret")],
      ["PUT", (job) => objectPath(job, "secret")],
      ["DELETE", (job) => objectPath(job, "secret")],
      ["POST", (job) => objectPath(job, "secret", "?op=take")],
      ["POST", (job) => objectPath(job, "secret", "?op=lock")],
    ];
    for (const [method, path] of ways) {
      const [foreign, none] = [
        await store().ask(method, path(theirs)),
        await store().ask(method, path(absent)),
      ];
      expect(foreign).toMatchObject({ status: 404, code: "JOB_NOT_FOUND" });
      expect(foreign.text.replaceAll(theirs, "<id>")).toBe(none.text.replaceAll(absent, "<id>"));
      expect(Object.keys(foreign.headers)).toEqual(Object.keys(none.headers));
    }
    expect((await store("other").ask("GET", objectPath(theirs, "secret"))).text).toBe("secret");
    const { items } = (await store().ask("GET", "jobs")).json as { items: { id: string }[] };
    expect(items.map(({ id }) => id)).not.toContain(theirs);
    const nowhere = await store("nowhere").ask("GET", `jobs/${NOWHERE}`);
    expect(nowhere).toMatchObject({ status: 404, code: "NAMESPACE_NOT_FOUND" });
  });

  it("leaves nothing of a removed namespace to the next of its name", async () => {
    const { namespaces } = platform().client;
    await namespaces.create({ namespace: "brief" });
    const job = await store("brief").job();
    await store("brief").ask("PUT", objectPath(job, "k", "?persist=1"), { body: "v" });
    await expect(namespaces.remove("brief")).rejects.toMatchObject({ code: "CONFLICT" });
    await namespaces.remove("brief", { force: true });
    await namespaces.create({ namespace: "brief" });
    expect((await store("brief").ask("GET", "jobs")).json).toEqual({ items: [], missing: [] });
    const former = await store("brief").ask("GET", objectPath(job, "k"));
    expect(former.status).toBeGreaterThanOrEqual(400);
  });
});

describe("a cell that is down", () => {
  it("is an answer at once, is named in lists, and costs nobody else", async () => {
    const http = store();
    const jobs = await Promise.all(Array.from({ length: 20 }, async () => http.job()));
    const inCell1 = jobs.find((job) => job.startsWith("1-")) ?? "";
    const inCell0 = jobs.find((job) => job.startsWith("0-")) ?? "";
    expect([inCell0, inCell1]).not.toContain("");
    await http.ask("PUT", objectPath(inCell1, "k", "?durability=disk"), { body: "kept" });
    await killCell(platform(), 1);
    const refusals: Answer[] = [];
    const missing: unknown[] = [];
    const neighbours: number[] = [];
    await until(async () => {
      const answer = await http.ask("GET", objectPath(inCell1, "k"), { withinMs: 3_000 });
      if (answer.status === 200) return true;
      refusals.push(answer);
      missing.push(...((await http.ask("GET", "jobs")).json as { missing: unknown[] }).missing);
      neighbours.push((await http.ask("GET", `jobs/${inCell0}`)).status);
      return false;
    }, 15_000);
    const restarting = refusals.filter(({ code }) => code === "CELL_RESTARTING");
    expect(restarting).not.toEqual([]);
    for (const { headers } of restarting) expect(Number(headers["retry-after"])).toBeGreaterThan(0);
    expect(
      refusals.filter(({ code }) => code !== "CELL_RESTARTING" && code !== "CELL_LOST"),
    ).toEqual([]);
    expect(missing).not.toEqual([]);
    for (const row of missing) expect(row).toMatchObject({ shard: 1, cell: 1 });
    expect(new Set(neighbours)).toEqual(new Set([200]));
    expect((await http.ask("GET", objectPath(inCell1, "k"))).text).toBe("kept");
  });
});
