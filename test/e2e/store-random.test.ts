/** Random requests to the store, and tenants that try each other's ids (G6). */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isErrorCode } from "../../runtime/contract/index.ts";
import type { Answer } from "../support/http-calls.ts";
import { usePlatform } from "../support/platform.ts";
import { type StoreHttp, objectPath, storeHttp } from "../support/store-requests.ts";

const platform = usePlatform({ cells: 2, shards: 2 });
const REQUESTS = 10_000;
const AT_ONCE = 25;

const text = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 20 }),
  fc.string({ unit: "binary-ascii", maxLength: 8 }),
  fc.integer({ min: 900, max: 1_200 }).map((length) => "k".repeat(length)),
  fc.constantFrom("", ".", "..", "a/../b", "a//b", "%", "%2e", "\u0000", "😀", "a\nb"),
);
const number = fc.oneof(
  fc.integer({ min: -10, max: 100_000 }).map(String),
  fc.double().map(String),
  fc.constantFrom("", "0x10", "1e400", "NaN", "-0", "9007199254740993", " 1"),
);
const parameter = fc.tuple(
  fc.constantFrom(
    ...["op", "ttlMs", "idleMs", "persist", "durability", "leaseMs", "lease", "by", "float"],
    ...["token", "key", "prefix", "cursor", "limit", "fenceLock", "fenceToken", "colour"],
  ),
  fc.oneof(
    number,
    text,
    fc.constantFrom("take", "acknowledge", "return", "incr", "decr", "getPut", "compareAndSet"),
    fc.constantFrom("expire", "lock", "renew", "unlock", "1", "0", "true", "memory", "disk"),
  ),
);
/** What a header may hold at all. */
const headerText = fc.string({ unit: "grapheme-ascii", maxLength: 30 });
const header = fc.oneof(
  fc.tuple(
    fc.constantFrom("range", "if-match", "if-none-match", "if-range", "accept", "content-type"),
    fc.oneof(
      headerText,
      fc.constantFrom("*", '"1"', 'W/"2"', '"1", "2"', "bytes=0-", "bytes=-1", "bytes=5-2"),
      fc.constantFrom("application/json", "application/msgpack", "text/plain", "*/*;q=0"),
    ),
  ),
  fc.tuple(fc.constantFrom("x-isola-store", "x-isola-call", "x-forwarded-for"), headerText),
);
const body = fc.oneof(
  fc.constant(undefined),
  fc.uint8Array({ maxLength: 200 }),
  fc.json().map((json) => Buffer.from(json)),
  fc.integer({ min: 0, max: 200_000 }).map((length) => Buffer.alloc(length, "b")),
);
const asked = fc.record({
  method: fc.constantFrom("PUT", "GET", "HEAD", "POST", "DELETE", "PATCH"),
  place: fc.constantFrom("object", "object", "object", "object", "bucket", "job", "jobs", "beyond"),
  bucket: fc.oneof({ weight: 3, arbitrary: fc.constantFrom("default", "b") }, text),
  key: text,
  isRaw: fc.boolean(),
  parameters: fc.array(parameter, { maxLength: 3 }),
  headers: fc.array(header, { maxLength: 3 }),
  body,
});
type Asked = typeof asked extends fc.Arbitrary<infer T> ? T : never;

function encoded(part: string, isRaw: boolean): string {
  // Some octets are sent as they are, percent signs too: encodings that are none.
  const raw = /^[!-~]*$/.test(part) && isRaw;
  return raw ? part.replaceAll(/[?#]/g, "") : encodeURIComponent(part.toWellFormed());
}

function pathOf(job: string, { place, bucket, key, isRaw, parameters }: Asked): string {
  const pairs = parameters.map(([name, value]) => `${name}=${encoded(value, false)}`);
  const query = pairs.length === 0 ? "" : `?${pairs.join("&")}`;
  if (place === "jobs") return `jobs${query}`;
  if (place === "job") return `jobs/${encoded(key, isRaw)}${query}`;
  if (place === "beyond") return `${encoded(key, isRaw)}${query}`;
  const path = `jobs/${job}/buckets/${encoded(bucket, isRaw)}`;
  return place === "bucket" ? path + query : `${path}/objects/${encoded(key, isRaw)}${query}`;
}

async function send(http: StoreHttp, job: string, sent: Asked): Promise<Answer> {
  const withBody = sent.body !== undefined && !["GET", "HEAD"].includes(sent.method);
  return http.ask(sent.method, pathOf(job, sent), {
    headers: Object.fromEntries(sent.headers),
    ...(withBody ? { body: sent.body ?? "" } : {}),
  });
}

/** Why an answer is none that the platform may give; undefined if it is fine. */
function faultOf({ status, code, headers }: Answer): string | undefined {
  if (status < 400) return undefined;
  if (code === undefined) {
    // What the runtime itself refuses before it is a request.
    return [400, 431].includes(status) ? undefined : `${String(status)} without a code`;
  }
  if (!isErrorCode(code)) return `unknown code ${code}`;
  const retry = [429, 503, 507].includes(status) && code !== "QUOTA_EXCEEDED";
  if (retry && headers["retry-after"] === undefined) return `${code} without Retry-After`;
  return status >= 500 && !retry ? `${String(status)} ${code}` : undefined;
}

function median(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0;
}

describe("random requests", () => {
  it(
    `never make the platform fail, ${String(REQUESTS)} of them`,
    { timeout: 180_000 },
    async () => {
      const http = storeHttp(platform());
      const job = await http.job();
      const statuses = new Map<number, number>();
      await fc.assert(
        fc.asyncProperty(
          fc.array(asked, { minLength: AT_ONCE, maxLength: AT_ONCE }),
          async (batch) => {
            const answers = await Promise.all(batch.map(async (one) => send(http, job, one)));
            for (const { status } of answers) {
              statuses.set(status, (statuses.get(status) ?? 0) + 1);
            }
            const faults = answers.flatMap((answer, index) => {
              const fault = faultOf(answer);
              return fault === undefined ? [] : [{ fault, sent: batch[index], text: answer.text }];
            });
            expect(faults).toEqual([]);
          },
        ),
        { numRuns: REQUESTS / AT_ONCE, endOnFailure: true },
      );
      // The job went through it, and random requests reach more than refusals.
      expect((await http.ask("GET", `jobs/${job}`)).status).toBe(200);
      expect(statuses.get(200) ?? 0).toBeGreaterThan(REQUESTS / 50);
      expect(statuses.get(404) ?? 0).toBeGreaterThan(0);
      http.close();
    },
  );

  it("store what they say, octet by octet", { timeout: 60_000 }, async () => {
    const http = storeHttp(platform());
    const job = await http.job();
    const key = fc
      .string({ unit: "grapheme", minLength: 1, maxLength: 60 })
      .filter((name) => name !== "." && name !== ".." && name.isWellFormed());
    await fc.assert(
      fc.asyncProperty(key, fc.uint8Array({ maxLength: 100_000 }), async (name, octets) => {
        const put = await http.ask("PUT", objectPath(job, name), { body: octets });
        expect(put.status, put.text).toBe(200);
        const read = await http.ask("GET", objectPath(job, name));
        expect(read.bytes.equals(octets)).toBe(true);
      }),
      { numRuns: 300 },
    );
    // The one key that the codec would change is refused; see store-http.test.ts.
    const json = fc.json().filter((written) => !written.includes("__proto__"));
    await fc.assert(
      fc.asyncProperty(key, json, async (name, value) => {
        const headers = { "content-type": "application/json" };
        const put = await http.ask("PUT", objectPath(job, name), { body: value, headers });
        expect(put.status, put.text).toBe(200);
        const read = await http.ask("GET", objectPath(job, name));
        expect(JSON.stringify(read.json)).toBe(JSON.stringify(JSON.parse(value)));
      }),
      { numRuns: 300 },
    );
    http.close();
  });
});

describe("two tenants", () => {
  it(
    "that hammer each other's ids reach nothing and move no meter",
    { timeout: 60_000 },
    async () => {
      const names = ["ann", "bob"] as const;
      const tenants = await Promise.all(
        names.map(async (namespace) => {
          await platform().client.namespaces.create({ namespace });
          const { token } = await platform().client.in(namespace).tokens.create("operate");
          const http = storeHttp(platform(), namespace);
          const jobs = await Promise.all(Array.from({ length: 4 }, async () => http.job()));
          return { namespace, token, http, jobs };
        }),
      );
      const [ann, bob] = tenants;
      if (!ann || !bob) throw new Error("two tenants");
      const hammer = async (self: typeof ann, other: typeof bob): Promise<Answer[]> => {
        const foreign: Answer[] = [];
        for (let round = 0; round < 150; round += 1) {
          const own = self.jobs[round % self.jobs.length] ?? "";
          const theirs = other.jobs[round % other.jobs.length] ?? "";
          const { token } = self;
          const put = await self.http.ask("PUT", objectPath(own, "shared"), {
            token,
            body: self.namespace,
          });
          expect(put.status).toBe(200);
          foreign.push(
            ...(await Promise.all([
              self.http.ask("GET", objectPath(theirs, "shared"), { token }),
              self.http.ask("PUT", objectPath(theirs, "shared"), { token, body: "stolen" }),
              self.http.ask("POST", objectPath(theirs, "shared", "?op=take"), { token }),
              self.http.ask("DELETE", `jobs/${theirs}`, { token }),
            ])),
          );
          const read = await self.http.ask("GET", objectPath(own, "shared"), { token });
          expect(read.text).toBe(self.namespace);
        }
        return foreign;
      };
      const answers = (await Promise.all([hammer(ann, bob), hammer(bob, ann)])).flat();
      expect(new Set(answers.map(({ status, code }) => `${String(status)} ${code ?? ""}`))).toEqual(
        new Set(["404 JOB_NOT_FOUND"]),
      );
      for (const { namespace, token, http } of tenants) {
        const other = namespace === "ann" ? "bob" : "ann";
        const elsewhere = await storeHttp(platform(), other).ask("GET", "jobs", { token });
        expect(elsewhere).toMatchObject({ status: 404, code: "NAMESPACE_NOT_FOUND" });
        const { store } = await platform().client.in(namespace).usage();
        expect(store).toMatchObject({ heldBytes: 4 * 3, bytesIn: 150 * 3, bytesOut: 150 * 3 });
        http.close();
      }
    },
  );

  it("learn nothing from how long an answer takes", { timeout: 60_000 }, async () => {
    await platform().client.namespaces.create({ namespace: "eve" });
    const http = storeHttp(platform(), "eve");
    const theirs = await storeHttp(platform()).job();
    const absent = `${theirs.split("-")[0] ?? ""}-${"e".repeat(32)}`;
    const timed = async (job: string): Promise<number> => {
      const atMs = performance.now();
      expect((await http.ask("GET", objectPath(job, "k"))).code).toBe("JOB_NOT_FOUND");
      return performance.now() - atMs;
    };
    const [foreign, none]: [number[], number[]] = [[], []];
    for (let round = 0; round < 400; round += 1) {
      foreign.push(await timed(theirs));
      none.push(await timed(absent));
    }
    const ratio = median(foreign) / median(none);
    expect(ratio).toBeGreaterThan(0.8);
    expect(ratio).toBeLessThan(1.25);
    http.close();
  });
});
