/** Ten thousand calls that nobody would write: no answer is a fault of the platform. */
import { connect } from "node:net";
import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import type { Answer, CallInit } from "../support/http-calls.ts";
import { usePlatform } from "../support/platform.ts";

const platform = usePlatform({ cells: 1 });

const BATCH = 50;
const CALLS = 10_000;

/** Errors that a function may be answered for by a 500. */
const OWN = new Set(["FUNCTION_ERROR", "RESULT_INVALID"]);

interface RandomCall {
  readonly path: string;
  readonly init: CallInit;
}

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PROPFIND", "LOCK"];
const TYPES = [
  "application/json",
  "application/msgpack",
  "application/octet-stream",
  "application/x-www-form-urlencoded",
  "text/plain;charset=utf-16",
  "multipart/form-data; boundary=x",
  "application/problem+json",
  "*/*",
  "",
];

/** A header's value as HTTP lets it be: visible Latin-1, no line breaks. */
const headerValue = fc
  .string({ unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code)) })
  .map((text) => text.replaceAll(/[\u007f-\u009f]/g, ""));
const headerName = fc.oneof(
  fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9-]{0,20}$/),
  fc.constantFrom(
    ...["x-isola-call", "x-isola-reply", "x-isola-shim", "traceparent", "accept", "authorization"],
    ...["idempotency-key", "x-forwarded-prefix", "range", "if-match", "accept-encoding", "cookie"],
    ...["content-encoding", "x-callback-url", "origin", "forwarded", "x-real-ip", "prefer"],
  ),
);
/** Headers that change how the message itself is read belong to other tests. */
const FRAMING = new RegExp(
  "^(content-length|transfer-encoding|connection|upgrade|expect|te|trailer|host|" +
    "keep-alive|proxy-connection)$",
  "i",
);

const headers = fc
  .array(fc.tuple(headerName, headerValue), { maxLength: 6 })
  .map((pairs) => Object.fromEntries(pairs.filter(([name]) => !FRAMING.test(name))));

const pathText = fc
  .string({ unit: "grapheme", maxLength: 30 })
  .map((text) => encodeURI(text.toWellFormed()).replaceAll("#", "%23"));
const name = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom("data", "http", "rpc", "fresh", "asks", "data.default") },
  { weight: 1, arbitrary: fc.stringMatching(/^[a-z0-9.-]{0,70}$/) },
  { weight: 1, arbitrary: pathText },
);
const path = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .tuple(name, fc.constantFrom("", "/", "?", "/a/", "?a=%zz&"), pathText)
      .map((parts) => `/function/${parts.join("")}`),
  },
  { weight: 1, arbitrary: pathText.map((text) => `/${text}`) },
);

const body = fc.oneof(
  fc.constant(undefined),
  fc.string({ maxLength: 200 }),
  fc.json(),
  fc.uint8Array({ maxLength: 300 }),
  fc.constantFrom("null", "{", '{"__proto__":{"a":1}}', "[".repeat(5_000), '"\\ud800"', "1e999"),
);

const call: fc.Arbitrary<RandomCall> = fc
  .record({
    path,
    headers,
    body,
    method: fc.constantFrom(...METHODS),
    type: fc.constantFrom(...TYPES),
  })
  .map(({ type, body: given, headers: others, ...rest }) => {
    const all = type === "" ? others : { ...others, "content-type": type };
    const hasBody = given !== undefined && rest.method !== "GET" && rest.method !== "HEAD";
    return {
      path: rest.path,
      init: { method: rest.method, headers: all, ...(hasBody ? { body: given } : {}) },
    };
  });

/** Undefined if the answer is one that the platform may give. */
function fault({ path: asked, init }: RandomCall, answer: Answer): unknown {
  const { status, code } = answer;
  const isOwn = status < 500 || code === undefined || OWN.has(code);
  const isWhole = code === undefined || answer.bytes.length === 0 || answer.json !== undefined;
  return isOwn && isWhole && status >= 200
    ? undefined
    : { asked, init, status, code, text: answer.text };
}

beforeAll(async () => {
  const echo = "export default (input) => input;";
  await platform().deploy("data", echo);
  await platform().deploy("fresh", echo, { reuse: "call" });
  await platform().deploy("asks", "export default (input, ctx) => ctx.call('data', input);");
  await platform().deploy(
    "http",
    `export default { async fetch(request) {
      const { headers } = request;
      const seen = String([...headers].length);
      return new Response(request.body, { headers: { "x-seen": seen } });
    } };`,
  );
  await platform().deploy(
    "rpc",
    `import { WorkerEntrypoint } from "cloudflare:workers";
    export default class extends WorkerEntrypoint { a(input) { return input; } }`,
  );
});

describe("random calls", () => {
  it("never get a 500 that is not the function's own", { timeout: 90_000 }, async () => {
    const statuses = new Map<number, number>();
    const batches = fc.array(call, { minLength: BATCH, maxLength: BATCH });
    await fc.assert(
      fc.asyncProperty(batches, async (calls) => {
        const faults = await Promise.all(
          calls.map(async (one) => {
            const answer = await platform().http.call(one.path, one.init);
            statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
            return fault(one, answer);
          }),
        );
        expect(faults.filter((one) => one !== undefined)).toEqual([]);
      }),
      { numRuns: CALLS / BATCH, endOnFailure: true, interruptAfterTimeLimit: 80_000 },
    );
    // What was sent did reach functions, and was refused for many a reason.
    for (const status of [200, 204, 400, 404, 405, 415]) {
      expect([status, (statuses.get(status) ?? 0) > 10]).toEqual([status, true]);
    }
    await platform().idle();
    const { cells } = await platform().status();
    expect(cells.map(({ restarts, state }) => [restarts, state])).toEqual([
      [0, "up"],
      [0, "up"],
    ]);
  });

  it("that are not even HTTP cost the platform nothing", { timeout: 30_000 }, async () => {
    const { hostname, port } = new URL(platform().publicUrl);
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 500 }).map((bytes) => Buffer.from(bytes)),
      fc
        .tuple(fc.constantFrom("GET", "POST", "", "\u0000"), fc.string(), headerName, fc.string())
        .map(([method, target, header, value]) =>
          Buffer.from(`${method} /function/data${target} HTTP/1.1\r\n${header}:${value}\r\n\r\n`),
        ),
      fc.constantFrom(
        Buffer.from("POST /function/data HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"),
        Buffer.from(
          "POST /function/http HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        ),
        Buffer.from("POST /function/data HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nabc"),
        Buffer.from(
          "GET /function/data HTTP/1.1\r\nHost: a\r\n" +
            "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        ),
        Buffer.from(`GET /function/data HTTP/1.1\r\nHost: a\r\nx: ${"y".repeat(300_000)}\r\n\r\n`),
      ),
    );
    const send = async (bytes: Buffer): Promise<string> => {
      const socket = connect({ host: hostname, port: Number(port) });
      let said = "";
      socket.on("data", (chunk) => (said += String(chunk)));
      socket.on("error", () => undefined);
      const closed = new Promise((resolve) => socket.once("close", resolve));
      socket.write(bytes);
      setTimeout(() => socket.destroy(), 60);
      await closed;
      return said;
    };
    await fc.assert(
      fc.asyncProperty(fc.array(garbage, { minLength: 20, maxLength: 20 }), async (all) => {
        const answers = await Promise.all(all.map(send));
        for (const said of answers) expect(said.slice(0, 12)).not.toMatch(/^HTTP\/1\.1 50[0-9]$/);
      }),
      { numRuns: 40, endOnFailure: true },
    );
    await platform().idle();
    expect((await platform().call("data", { json: "alive" })).json).toBe("alive");
  });
});
