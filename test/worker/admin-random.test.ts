import { Agent, request } from "node:http";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NS, ask, call, deploy } from "../support/admin-requests.ts";
import { ADMIN_TOKEN, type GatewayProcess, startGateway } from "../support/gateway-process.ts";

const RUNS = 10_000;
const AT_ONCE = 16;

let gateway: GatewayProcess;
const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });

beforeAll(async () => {
  gateway = await startGateway();
  await deploy(gateway, "kept", "export default () => 'kept';");
});
afterAll(async () => {
  agent.destroy();
  await gateway.stop();
});

interface Sent {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const word = fc.oneof(
  fc.constantFrom(
    "",
    "default",
    "kept",
    "nil",
    "..",
    "__proto__",
    "constructor",
    "%00",
    "%ff",
    "*",
  ),
  fc.string({ maxLength: 12 }).map(encodeURIComponent),
  fc.constantFrom("a".repeat(3_000), "%2f%2e%2e", "1e9", "-1", "99999999999999999999"),
);
const part = fc.constantFrom(
  "functions",
  "versions",
  "traffic",
  "release",
  "secrets",
  "tokens",
  "usage",
  "logs",
  "calls",
  "traces",
  "cells",
  "status",
  "namespaces",
  "restart",
);
const query = fc
  .dictionary(fc.constantFrom("sinceMs", "limit", "function", "force", "dryRun", "callId"), word)
  .map((fields) =>
    Object.entries(fields)
      .map(([key, value]) => `${key}=${value}`)
      .join("&"),
  );
const path = fc
  .tuple(fc.boolean(), fc.array(fc.oneof(word, part), { maxLength: 5 }), query)
  .map(([isInside, parts, text]) => `${isInside ? `${NS}/` : "/v1/"}${parts.join("/")}?${text}`);
const value: fc.Arbitrary<unknown> = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.record({ namespace: word, cells: fc.constantFrom("shared", "dedicated", "both") }),
  fc.record({ version: fc.integer(), percent: fc.integer() }),
  fc.record({ value: fc.string() }),
  fc.record({ role: fc.constantFrom("read", "root"), label: fc.string() }),
);
const body = fc.oneof(
  value.map((one) => JSON.stringify(one)),
  fc.string(),
);
const contentType = fc.constantFrom(
  "application/json",
  "application/json; charset=latin1",
  "text/plain",
  "multipart/form-data",
  "multipart/form-data; boundary=x",
  "",
);
const authorization = fc.oneof(
  { weight: 8, arbitrary: fc.constant(`Bearer ${ADMIN_TOKEN}`) },
  fc.constantFrom("", "Bearer", "Basic YTpi", `Bearer isola_${"0".repeat(16)}_${"1".repeat(48)}`),
);
const anyRequest: fc.Arbitrary<Sent> = fc.record({
  method: fc.constantFrom("GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "PURGE"),
  path,
  headers: fc.record({ authorization, "content-type": contentType }),
  body,
});

function send(sent: Sent): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = { ...sent.headers, "content-length": String(Buffer.byteLength(sent.body)) };
    const out = request(
      gateway.adminUrl,
      { agent, method: sent.method, path: sent.path, headers },
      (response) => {
        if (response.headers["content-type"] === "text/event-stream") response.destroy();
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("close", () => resolve({ status: response.statusCode ?? 0, text }));
      },
    );
    out.on("error", reject);
    out.end(sent.body);
  });
}

describe("the admin API", () => {
  it(`answers ${String(RUNS)} random requests with no failure of its own`, async () => {
    const seed = Date.now() % 2 ** 31;
    const sample = fc.sample(anyRequest, { numRuns: RUNS, seed });
    const failures: string[] = [];
    const work = sample.values();
    const workers = Array.from({ length: AT_ONCE }, async () => {
      for (const one of work) {
        const answer = await send(one);
        const isFailure = answer.status >= 500 && !answer.text.includes('"BACKEND_UNAVAILABLE"');
        if (isFailure) failures.push(`${one.method} ${one.path}: ${answer.text}`);
      }
    });
    await Promise.all(workers);
    expect(failures.slice(0, 5), `seed ${String(seed)}`).toEqual([]);
    expect(gateway.output()).toBe("");
    expect((await ask(gateway, "GET", "/readyz")).status).toBe(200);
    await deploy(gateway, "kept", "export default () => 'kept';");
    expect((await call(gateway, "kept")).text).toBe('"kept"');
  });
});
