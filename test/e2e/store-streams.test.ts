/** Bodies of objects that are large, broken off or announced wrongly. */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { StoreJobInfo } from "../../runtime/contract/index.ts";
import { cellOf, processOf } from "../support/cells.ts";
import { usePlatform } from "../support/platform.ts";
import { objectPath, storeHttp } from "../support/store-requests.ts";
import { until } from "../support/until.ts";

const platform = usePlatform({ cells: 1, shards: 1 });
const MIB = 1024 * 1024;
const BIG_BYTES = 200 * MIB;
const CHUNK = randomBytes(MIB);

/** Most and present memory of a process. */
function memoryOf(pid: number | undefined): { peakBytes: number; residentBytes: number } {
  const status = readFileSync(`/proc/${String(pid)}/status`, "utf8");
  const bytesOf = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) * 1024;
  return { peakBytes: bytesOf("VmHWM"), residentBytes: bytesOf("VmRSS") };
}

/** Opens a request of an object; the body is the test's to write. */
function open(method: string, path: string, headers: Record<string, string | number> = {}) {
  const url = `${platform().adminUrl}/v1/namespaces/default/store/${path}`;
  const authorization = `Bearer ${platform().adminToken}`;
  const sent = request(url, { method, headers: { authorization, ...headers }, agent: false });
  const response = once(sent, "response").then(([message]) => message as IncomingMessage);
  response.catch(() => undefined);
  return { sent, response };
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return text;
}

async function putBig(path: string, headers: Record<string, number>): Promise<string> {
  const hash = createHash("sha256");
  const { sent, response } = open("PUT", path, headers);
  for (let bytes = 0; bytes < BIG_BYTES; bytes += CHUNK.length) {
    CHUNK.writeUInt32LE(bytes / MIB);
    hash.update(CHUNK);
    if (!sent.write(Buffer.from(CHUNK))) await once(sent, "drain");
  }
  sent.end();
  const answer = await response;
  expect(answer.statusCode, await textOf(answer)).toBe(200);
  return hash.digest("hex");
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  const { sent, response } = open("GET", path);
  sent.end();
  for await (const chunk of await response) hash.update(chunk as Uint8Array);
  return hash.digest("hex");
}

/** A job, and whether nothing of an upload is left in it. */
async function emptyJob() {
  const http = storeHttp(platform());
  const job = await http.job();
  const info = async () => (await http.ask("GET", `jobs/${job}`)).json as StoreJobInfo;
  const staysEmpty = async (): Promise<void> => {
    await until(async () => (await info()).usage.heldBytes === 0, 10_000);
    const { objects, usage } = await info();
    expect(objects).toBe(0);
    expect(usage.bytes).toEqual({ memory: 0, disk: 0, cold: 0 });
    const list = await http.ask("GET", `jobs/${job}/buckets/default`);
    expect(list.json).toEqual({ items: [] });
  };
  return { http, job, info, staysEmpty };
}

describe("an object of 200 MB", () => {
  it.each([
    ["of an announced length", { "content-length": BIG_BYTES }],
    ["of unknown length", {}],
  ] as const)(
    "%s passes both ways at constant memory",
    { timeout: 120_000 },
    async (_name, headers) => {
      const { http, job } = await emptyJob();
      const pids = [processOf(platform(), "gateway"), (await cellOf(platform(), 0)).pid];
      const before = pids.map((pid) => memoryOf(pid).residentBytes);
      const path = objectPath(job, "big");
      const sentHash = await putBig(path, headers);
      expect((await http.ask("HEAD", path)).headers["content-length"]).toBe(String(BIG_BYTES));
      expect(await hashOf(path)).toBe(sentHash);
      const [gateway = 0, cell = 0] = pids.map(
        (pid, index) => memoryOf(pid).peakBytes - (before[index] ?? 0),
      );
      expect(gateway / MIB).toBeLessThan(64);
      // The shard's memory tier and what is on its way to disk; a fraction of the object.
      expect(cell / MIB).toBeLessThan(150);
      const range = await http.ask("GET", path, {
        headers: { range: `bytes=${String(BIG_BYTES - MIB)}-${String(BIG_BYTES - MIB + 3)}` },
      });
      expect(range.bytes.readUInt32LE()).toBe(BIG_BYTES / MIB - 1);
      await http.ask("DELETE", `jobs/${job}`);
    },
  );

  it("is given up where its reader leaves", async () => {
    const { http, job } = await emptyJob();
    const path = objectPath(job, "big");
    await putBig(path, { "content-length": BIG_BYTES });
    for (let round = 0; round < 5; round += 1) {
      const { sent, response } = open("GET", path);
      sent.end();
      const answer = await response;
      await once(answer, "data");
      answer.destroy();
    }
    expect((await http.ask("GET", path, { headers: { range: "bytes=0-3" } })).status).toBe(206);
    await http.ask("DELETE", `jobs/${job}`);
  });
});

describe("an upload", () => {
  it("that breaks off anywhere leaves nothing", async () => {
    const { job, info, staysEmpty } = await emptyJob();
    const cuts = [0, 1, 1_000, 64 * 1024, 64 * 1024 + 1, MIB, 3 * MIB, 20 * MIB];
    for (const headers of [{}, { "content-length": 30 * MIB }, { "content-length": 40_000 }]) {
      const bound = headers["content-length"] ?? 30 * MIB;
      for (const bytes of cuts.filter((cut) => cut < bound)) {
        const { sent } = open("PUT", objectPath(job, `cut-${String(bytes)}`), headers);
        sent.on("error", () => undefined);
        sent.flushHeaders();
        for (let at = 0; at < bytes; at += MIB) {
          const part = CHUNK.subarray(0, Math.min(MIB, bytes - at));
          if (!sent.write(part)) await once(sent, "drain");
        }
        await sleep(20);
        sent.destroy();
      }
    }
    await staysEmpty();
    expect((await info()).usage.heldHighWaterBytes).toBeGreaterThan(0);
  });

  it("that is shorter than announced is refused, and stored by nobody", async () => {
    const { job, staysEmpty } = await emptyJob();
    for (const [announced, sentBytes] of [
      [100, 50],
      [200_000, 100_000],
      [3 * MIB, 2 * MIB],
    ] as const) {
      const { status, text } = await sendRaw(
        job,
        `content-length: ${String(announced)}`,
        sentBytes,
      );
      expect([0, 400]).toContain(status);
      expect(status === 400 ? text : "BODY_INCOMPLETE").toContain("BODY_INCOMPLETE");
    }
    await staysEmpty();
  });

  it.each([
    "content-length: -5",
    "content-length: five",
    "content-length: 5\r\ncontent-length: 6",
    "content-length: 99999999999999999999",
    "transfer-encoding: rot13",
  ])("with %j is refused by its framing", async (header) => {
    const { job, staysEmpty } = await emptyJob();
    const { status } = await sendRaw(job, header, 50);
    expect([0, 400, 411, 413, 501]).toContain(status);
    await staysEmpty();
  });

  it("that ends in the middle of a chunk is stored by nobody", async () => {
    const { job, staysEmpty } = await emptyJob();
    const { status } = await sendRaw(job, "transfer-encoding: chunked", "400\r\nshort");
    expect([0, 400]).toContain(status);
    await staysEmpty();
  });

  it("that is longer than announced is cut there, and the rest is no request", async () => {
    const { http, job } = await emptyJob();
    const { status } = await sendRaw(job, "content-length: 5", "0123456789 and more");
    expect([200, 400]).toContain(status);
    const stored = await http.ask("GET", objectPath(job, "raw"));
    expect(["01234", undefined]).toContain(stored.status === 200 ? stored.text : undefined);
  });

  it("that is refused hears why, however much it sends", async () => {
    const { http, job, staysEmpty } = await emptyJob();
    const absent = `${job.slice(0, -8)}00000000`;
    for (const [path, code] of [
      [objectPath(absent, "k"), "JOB_NOT_FOUND"],
      [objectPath(job, "k", "?ttlMs=-1"), "VALUE_INVALID"],
      [objectPath(job, "k", "?ttlms=1"), "REQUEST_INVALID"],
    ] as const) {
      const answer = await http.ask("PUT", path, { body: Buffer.alloc(10 * MIB) });
      expect(answer).toMatchObject({ code });
    }
    const large = open("PUT", objectPath(job, "k"), { "content-length": 2 ** 40 });
    large.sent.on("error", () => undefined);
    large.sent.flushHeaders();
    const refused = await Promise.race([large.response, sleep(1_000)]);
    large.sent.destroy();
    expect(refused === undefined ? 413 : refused.statusCode).toBe(413);
    const value = await http.ask("PUT", objectPath(job, "k"), {
      body: `"${"x".repeat(9 * MIB)}"`,
      headers: { "content-type": "application/json" },
    });
    expect(value).toMatchObject({ status: 413, code: "BODY_TOO_LARGE" });
    await staysEmpty();
  });
});

/** Octets as no client would send them; status 0: the connection ended without an answer. */
async function sendRaw(
  job: string,
  header: string,
  body: number | string,
): Promise<{ status: number; text: string }> {
  const { hostname, port, host } = new URL(platform().adminUrl);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => undefined);
  await once(socket, "connect");
  const path = `/v1/namespaces/default/store/${objectPath(job, "raw")}`;
  socket.write(
    `PUT ${path} HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${platform().adminToken}\r\n` +
      `${header}\r\n\r\n`,
  );
  socket.write(typeof body === "string" ? body : Buffer.alloc(body, "x"));
  await sleep(50);
  socket.end();
  let text = "";
  socket.setEncoding("latin1").on("data", (chunk: string) => (text += chunk));
  await Promise.race([once(socket, "close"), sleep(5_000)]);
  socket.destroy();
  return { status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0), text };
}
