/** Input and output of data functions by content type (INTERFACE §5). */
import { expect } from "vitest";
import { Packr } from "msgpackr";
import { LIMITS } from "../../../runtime/contract/index.ts";
import type { Answer, CallInit } from "../../support/http-calls.ts";
import type { TestPlatform } from "../../support/platform.ts";
import type { CaseGroup } from "./case.ts";

/** Says what it got, so that the test sees the input as the function did. */
const TELL = `
  export default (input) => ({
    type: input === null ? "null" : input?.constructor?.name ?? typeof input,
    value: input instanceof Uint8Array ? [...input].slice(0, 100) : input,
    length: input?.length ?? null,
  });`;

const RESULTS = `
  const results = {
    nothing: undefined, null: null, text: "tëxt", zero: 0, list: [1, , 3], no: false,
    object: { a: { b: [1, "2", null] }, absent: undefined }, empty: "",
    date: new Date(0), nested: { at: new Date(0) },
    bytes: new Uint8Array([0, 1, 255]), buffer: new Uint8Array([7, 8]).buffer,
    view: new DataView(new Uint8Array([1, 2]).buffer),
    nobytes: new Uint8Array(0),
    map: new Map([["a", 1]]), set: new Set([1]), big: 10n, nan: NaN, infinite: -Infinity,
    inner: { bytes: new Uint8Array([1]) }, deep: { list: [{ when: new Map() }] },
    response: () => new Response("own", { status: 202, headers: { "x-own": "1" } }),
    function: () => () => 1, symbol: () => Symbol("s"), stream: () => new ReadableStream(),
    cycle: () => { const a = {}; a.a = a; return a; },
    getter: () => ({ get a() { throw new Error("from a getter"); } }),
    throwsInJson: () => ({ toJSON() { throw new Error("from toJSON"); } }),
    proxy: () => new Proxy({}, { ownKeys() { throw new Error("from a proxy"); } }),
    error: () => new Error("returned"), class: () => new (class Own { x = 1; })(),
  };
  export default ({ name }) => {
    const result = results[name];
    return typeof result === "function" ? result() : result;
  };`;

const packr = new Packr({ useRecords: false, moreTypes: true });
const msgpack = { accept: "application/msgpack" };

const tell = async (platform: TestPlatform, init: CallInit, query = ""): Promise<Answer> =>
  platform.call(`tell${query}`, { method: "POST", ...init });
const result = async (platform: TestPlatform, name: string, headers = {}): Promise<Answer> =>
  platform.call(`results?name=${name}`, { headers });

const inputCases: CaseGroup["cases"] = {
  "the query of a GET is the input": async (platform) => {
    const get = async (query: string) => (await platform.call(`tell${query}`)).json;
    expect(await get("")).toEqual({ type: "undefined", length: null });
    expect(await get("?")).toEqual({ type: "undefined", length: null });
    expect(await get("?a=1&b=x%20y&a=2")).toMatchObject({ value: { a: ["1", "2"], b: "x y" } });
    expect(await get("?__proto__=1")).toMatchObject({ type: "Object", value: {} });
    expect(await get("?constructor=1&toString=2")).toMatchObject({
      value: { constructor: "1", toString: "2" },
    });
    const head = await platform.call("tell?a=1", { method: "HEAD" });
    expect([head.status, head.bytes.length]).toEqual([200, 0]);
    expect(head.headers["content-type"]).toBe("application/json");
  },

  "JSON comes as its value, in every spelling of its type": async (platform) => {
    for (const type of [
      "application/json",
      "Application/JSON; charset=utf-8",
      "application/vnd.api+json",
      "application/problem+json ;x=y",
    ]) {
      const answer = await tell(platform, { headers: { "content-type": type }, body: '{"a":[1]}' });
      expect([type, answer.json]).toEqual([
        type,
        { type: "Object", value: { a: [1] }, length: null },
      ]);
    }
    for (const method of ["PUT", "PATCH", "DELETE"]) {
      expect((await tell(platform, { method, json: "é" })).json).toMatchObject({ value: "é" });
    }
    expect((await tell(platform, { json: null })).json).toMatchObject({ type: "null" });
  },

  "MessagePack comes as its value": async (platform) => {
    const headers = { "content-type": "application/msgpack" };
    const body = packr.pack({ a: [1, "x", null], n: 1.5 });
    expect((await tell(platform, { headers, body })).json).toMatchObject({
      type: "Object",
      value: { a: [1, "x", null], n: 1.5 },
    });
    const bytes = packr.pack(new Uint8Array([1, 2, 3]));
    expect((await tell(platform, { headers, body: bytes })).json).toMatchObject({
      value: [1, 2, 3],
    });
  },

  "octets come as bytes, text as a string": async (platform) => {
    const octets = { "content-type": "application/octet-stream" };
    const given = await tell(platform, { headers: octets, body: new Uint8Array([0, 255]) });
    expect(given.json).toEqual({ type: "Uint8Array", value: [0, 255], length: 2 });
    expect((await tell(platform, { headers: octets })).json).toMatchObject({
      type: "Uint8Array",
      length: 0,
    });
    const large = Buffer.alloc(3_000_000, 7);
    expect((await tell(platform, { headers: octets, body: large })).json).toMatchObject({
      length: 3_000_000,
    });
    for (const type of ["text/plain", "text/csv; charset=utf-8"]) {
      const answer = await tell(platform, { headers: { "content-type": type }, body: "a,ü\n" });
      expect(answer.json).toMatchObject({ type: "String", value: "a,ü\n" });
    }
  },

  "a form or a body without a type is JSON, fields or text": async (platform) => {
    for (const headers of [
      { "content-type": "application/x-www-form-urlencoded" },
      undefined,
    ] as const) {
      const told = async (body: string) =>
        (await tell(platform, { ...(headers ? { headers } : {}), body })).json;
      expect(await told('{"a":1}')).toMatchObject({ value: { a: 1 } });
      expect(await told("12")).toMatchObject({ type: "Number", value: 12 });
      expect(await told("a=1&b=2&a=3")).toMatchObject({ value: { a: ["1", "3"], b: "2" } });
      expect(await told("plain words")).toMatchObject({ type: "String", value: "plain words" });
      expect(await told("")).toMatchObject({ type: "undefined" });
    }
  },

  "what cannot be read is refused, and nothing of it is a 500": async (platform) => {
    const json = { "content-type": "application/json" };
    const cases: readonly [headers: Record<string, string>, body: string | Buffer, code: string][] =
      [
        [json, "", "INPUT_MALFORMED"],
        [json, "{", "INPUT_MALFORMED"],
        [json, "nul", "INPUT_MALFORMED"],
        [json, Buffer.from([0x22, 0xff, 0x22]), "INPUT_MALFORMED"],
        [{ "content-type": "text/plain" }, Buffer.from([0xc3, 0x28]), "INPUT_MALFORMED"],
        [{ "content-type": "application/msgpack" }, Buffer.from([0xc1]), "INPUT_MALFORMED"],
        [{ "content-type": "application/msgpack" }, Buffer.from([0x92, 1]), "INPUT_MALFORMED"],
        [{ "content-type": "application/msgpack" }, "", "INPUT_MALFORMED"],
        [{ "content-type": "image/png" }, "x", "MEDIA_UNSUPPORTED"],
        [{ "content-type": "multipart/form-data; boundary=x" }, "--x--", "MEDIA_UNSUPPORTED"],
        [{ "content-type": "nonsense" }, "x", "MEDIA_UNSUPPORTED"],
      ];
    for (const [headers, body, code] of cases) {
      const answer = await tell(platform, { headers, body });
      expect([headers, body, answer.code]).toEqual([headers, body, code]);
      expect(answer.status).toBe(code === "MEDIA_UNSUPPORTED" ? 415 : 400);
      expect(answer.json).toMatchObject({
        error: { code, retryable: false, callId: answer.headers["x-call-id"] },
      });
    }
  },

  "a method that is none of a data function is a 405 with Allow": async (platform) => {
    for (const method of ["OPTIONS", "PROPFIND"]) {
      const answer = await platform.call("tell", { method });
      expect([method, answer.status, answer.code]).toEqual([method, 405, "METHOD_NOT_ALLOWED"]);
      expect(answer.headers["allow"]).toBe("GET, HEAD, POST, PUT, PATCH, DELETE");
    }
  },

  "a body over the limit is a 413, declared or not": async (platform) => {
    const body = Buffer.alloc(LIMITS.dataBodyMaxBytes + 1, 0x20);
    const headers = { "content-type": "application/json" };
    const declared = await tell(platform, { headers, body });
    expect([declared.status, declared.code], declared.text).toEqual([413, "BODY_TOO_LARGE"]);
    const chunked = await tell(platform, {
      headers: { ...headers, "transfer-encoding": "chunked", "content-length": [] as never },
      body,
    });
    expect([chunked.status, chunked.code]).toEqual([413, "BODY_TOO_LARGE"]);
    expect((await tell(platform, { json: "after" })).json).toMatchObject({ value: "after" });
  },

  "a data function has no path below its name": async (platform) => {
    for (const path of ["tell/x", "tell//"]) {
      const answer = await platform.call(path);
      expect([path, answer.status, answer.code]).toEqual([path, 404, "ROUTE_NOT_FOUND"]);
    }
    expect((await platform.call("tell/")).status).toBe(200);
  },
};

const outputCases: CaseGroup["cases"] = {
  "a result is answered as JSON": async (platform) => {
    for (const [name, value] of [
      ["null", null],
      ["text", "tëxt"],
      ["zero", 0],
      ["no", false],
      ["empty", ""],
      ["object", { a: { b: [1, "2", null] } }],
      ["list", [1, null, 3]],
      ["date", "1970-01-01T00:00:00.000Z"],
      ["nested", { at: "1970-01-01T00:00:00.000Z" }],
    ] as const) {
      const answer = await result(platform, name);
      expect([name, answer.status, answer.json]).toEqual([name, 200, value]);
      expect(answer.headers["content-type"]).toBe("application/json");
    }
  },

  "undefined is a 204, bytes are octets, a Response is itself": async (platform) => {
    const nothing = await result(platform, "nothing");
    expect([nothing.status, nothing.bytes.length]).toEqual([204, 0]);
    for (const [name, bytes] of [
      ["bytes", [0, 1, 255]],
      ["buffer", [7, 8]],
      ["nobytes", []],
    ] as const) {
      const answer = await result(platform, name, msgpack);
      expect([name, [...answer.bytes]]).toEqual([name, bytes]);
      expect(answer.headers["content-type"]).toBe("application/octet-stream");
    }
    const own = await result(platform, "response");
    expect([own.status, own.text, own.headers["x-own"]]).toEqual([202, "own", "1"]);
  },

  "MessagePack is answered to who accepts it": async (platform) => {
    for (const [name, value] of [
      ["object", { a: { b: [1, "2", null] }, absent: undefined }],
      ["map", { a: 1 }],
      ["date", new Date(0)],
      ["inner", { bytes: new Uint8Array([1]) }],
    ] as const) {
      const accept = "text/html, application/msgpack;q=0.9";
      const answer = await result(platform, name, { accept });
      expect([name, answer.status]).toEqual([name, 200]);
      expect(answer.headers["content-type"]).toBe("application/msgpack");
      expect(new Packr({ mapsAsObjects: true, moreTypes: true }).unpack(answer.bytes)).toEqual(
        value,
      );
    }
    expect((await result(platform, "text", { accept: "application/json" })).json).toBe("tëxt");
  },

  "what JSON would lose is a 406 that names the place": async (platform) => {
    for (const [name, place] of [
      ["map", "Map at $"],
      ["set", "Set at $"],
      ["big", "bigint at $"],
      ["nan", "NaN at $"],
      ["infinite", "-Infinity at $"],
      ["inner", "Uint8Array at $.bytes"],
      ["deep", "Map at $.list[0].when"],
      ["cycle", "a cycle at $.a"],
      ["class", "Own at $"],
      ["throwsInJson", "function at $.toJSON"],
    ] as const) {
      const answer = await result(platform, name);
      expect([name, answer.status, answer.code]).toEqual([name, 406, "NOT_ACCEPTABLE"]);
      expect(answer.text).toContain(place);
    }
  },

  "what is no value is the function's own fault": async (platform) => {
    for (const name of ["function", "symbol", "stream"]) {
      for (const headers of [{}, msgpack]) {
        const answer = await result(platform, name, headers);
        expect([name, answer.status, answer.code]).toEqual([name, 500, "RESULT_INVALID"]);
      }
    }
    for (const name of ["getter", "proxy"]) {
      const answer = await result(platform, name);
      expect([name, answer.status]).toEqual([name, 500]);
      expect([name, answer.code]).toEqual([name, "FUNCTION_ERROR"]);
    }
  },
};

export const contentTypeCases: CaseGroup = {
  topic: "content types",
  prepare: async (platform) => {
    await platform.deploy("tell", TELL);
    await platform.deploy("results", RESULTS);
  },
  cases: { ...inputCases, ...outputCases },
};
