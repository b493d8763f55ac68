/**
 * The cold tier against a real S3 server that misbehaves: what is repeated, how often and when,
 * what is given up, and that nothing is half there afterwards.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { BucketTier, ByteRoom, COLD_RETRY } from "../../runtime/cell/internal.ts";
import { COLD_LIMITS, IsolaError } from "../../runtime/contract/index.ts";
import { S3Bucket, handleCold } from "../../runtime/gateway/internal.ts";
import { BUCKET, CREDENTIALS, type S3Server, startS3Server } from "../support/s3-server.ts";

const PREFIX = "isola/0123456789abcdef/";
const MIB = 1024 * 1024;

let s3: S3Server;
let slept: number[] = [];
let warnings: string[] = [];

beforeAll(async () => {
  s3 = await startS3Server();
});
afterAll(() => s3.stop());
beforeEach(() => {
  s3.fault = undefined;
  s3.clear();
  slept = [];
  warnings = [];
});

interface TierOptions {
  readonly shard?: number;
  readonly secretAccessKey?: string;
  /** Longest wait for one answer. */
  readonly timeoutMs?: number;
}

function tierOf({ shard = 0, secretAccessKey, timeoutMs }: TierOptions = {}): BucketTier {
  const place = { endpoint: s3.url, bucket: BUCKET, region: "us-east-1", prefix: PREFIX };
  const keys = { ...CREDENTIALS, ...(secretAccessKey === undefined ? {} : { secretAccessKey }) };
  const bucket = new S3Bucket(place, keys, fetch);
  const around = {
    bucket,
    prefix: PREFIX,
    shards: [0, 1],
    warn: (line: string) => void warnings.push(line),
  };
  return new BucketTier(shard, {
    send: (path, init, boundMs) => {
      const signal = AbortSignal.timeout(timeoutMs ?? boundMs);
      return handleCold(new Request(`http://cold${path}`, { ...init, signal }), around);
    },
    sleep: async (delayMs) => void slept.push(delayMs),
    random: () => 0.5,
  });
}

const octets = (sizeBytes: number): Uint8Array =>
  Uint8Array.from({ length: sizeBytes }, (_, at) => (at * 31 + (at >> 11)) & 255);

const from = (bytes: Uint8Array) => async (start: number, end: number) =>
  bytes.subarray(start, end);

async function listed(tier: BucketTier): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of tier.list()) keys.push(key);
  return keys.toSorted();
}

async function refusalOf(work: Promise<unknown>): Promise<IsolaError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof IsolaError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

/** The first `times` requests that match fail so; later ones go through. */
function failFirst(times: number, match: RegExp, fault: S3Server["fault"]): void {
  let left = times;
  s3.fault = (request) => {
    const isMeant = match.test(`${request.method ?? ""} ${request.url ?? ""}`);
    if (!isMeant || left === 0) return undefined;
    left -= 1;
    return fault?.(request);
  };
}

const text = new TextEncoder().encode("hello, cold world");

describe("a value in the bucket", () => {
  it("comes back whole and in ranges, and is gone when it was deleted", async () => {
    const tier = tierOf();
    await tier.put("1-1", text.byteLength, from(text));
    expect(await tier.get("1-1", 0, text.byteLength)).toEqual(text);
    expect(await tier.get("1-1", 7, 11)).toEqual(text.subarray(7, 11));
    expect(await tier.get("1-1", 3, 3)).toEqual(new Uint8Array());
    await tier.delete(["1-1", "1-999"]);
    expect((await refusalOf(tier.get("1-1", 0, 1))).code).toBe("VALUE_LOST");
    expect(s3.keys()).toEqual([]);
  });

  it("goes in parts when it is large, a few of them in memory at once", async () => {
    const tier = tierOf();
    const bytes = octets(5 * COLD_LIMITS.partBytes + 17);
    let reading = 0;
    let mostBytes = 0;
    await tier.put("1-2", bytes.byteLength, async (start, end) => {
      reading += end - start;
      mostBytes = Math.max(mostBytes, end - start);
      return bytes.subarray(start, end);
    });
    expect(reading).toBe(bytes.byteLength);
    expect(mostBytes).toBeLessThanOrEqual(MIB);
    const edge = COLD_LIMITS.partBytes;
    expect(await tier.get("1-2", edge - 5, edge + 5)).toEqual(bytes.subarray(edge - 5, edge + 5));
    const whole = await tier.get("1-2", 0, bytes.byteLength);
    expect(Buffer.compare(whole, bytes)).toBe(0);
  });

  it("belongs to its shard: lists and deletes of another do not meet it", async () => {
    const [own, other] = [tierOf({ shard: 0 }), tierOf({ shard: 1 })];
    await own.put("1-1", 3, from(text));
    await other.put("1-1", 4, from(text));
    expect(await listed(other)).toEqual(["1-1"]);
    await other.delete(["1-1"]);
    expect(s3.keys()).toEqual([`${PREFIX}shard-0/1-1`]);
  });

  it("is listed over many pages, and deleted in batches", async () => {
    const tier = tierOf();
    const keys = Array.from({ length: 1_050 }, (_, at) => `1-${String(at).padStart(5, "0")}`);
    for (let at = 0; at < keys.length; at += 50) {
      await Promise.all(keys.slice(at, at + 50).map((key) => tier.put(key, 1, from(text))));
    }
    s3.clearRequests();
    expect(await listed(tier)).toEqual(keys);
    await tier.delete(keys);
    // Two, and a server that is slow to answer one of them gets it again.
    const batches = s3.requests.filter((line) => line.startsWith("POST /cold?delete"));
    expect(batches.length).toBeGreaterThanOrEqual(2);
    expect(batches.length).toBeLessThan(keys.length / 100);
    expect(s3.keys()).toEqual([]);
  }, 60_000);
});

const upload = (key: string, id: string): string =>
  `<Upload><Key>${key}</Key><UploadId>${id}</UploadId></Upload>`;

describe("servers that differ", () => {
  it("are asked for single deletes where they know no batches", async () => {
    const tier = tierOf();
    for (const key of ["1-1", "1-2", "1-3"]) await tier.put(key, 3, from(text));
    s3.fault = (request) =>
      request.url?.includes("?delete") === true ? { kind: "status", status: 501 } : undefined;
    await tier.delete(["1-1", "1-3", "1-9"]);
    expect(s3.keys()).toEqual([`${PREFIX}shard-0/1-2`]);
  });

  it("are asked again for what a batch left", async () => {
    const tier = tierOf();
    for (const key of ["1-1", "1-2"]) await tier.put(key, 3, from(text));
    const failed = `<Key>${PREFIX}shard-0/1-1</Key><Code>InternalError</Code>`;
    const body = `<DeleteResult><Error>${failed}</Error></DeleteResult>`;
    failFirst(1, /delete/, () => ({ kind: "answer", body }));
    await tier.delete(["1-1", "1-2"]);
    expect(s3.keys()).toEqual([`${PREFIX}shard-0/1-2`]);
    s3.fault = (request) =>
      request.url?.includes("?delete") === true ? { kind: "answer", body } : undefined;
    expect((await refusalOf(tier.delete(["1-1"]))).parts.found).toBe("1 keys stay");
  });

  it("are rid of parts that former openings left, and of nothing else", async () => {
    const tier = tierOf();
    const uploads = [
      upload(`${PREFIX}shard-0/1-7`, "left&amp;open"),
      upload(`${PREFIX}shard-1/1-8`, "of-another-shard"),
      upload("elsewhere", "of-another-program"),
    ];
    const body = `<ListMultipartUploadsResult>${uploads.join("")}</ListMultipartUploadsResult>`;
    s3.fault = (request) => {
      if (request.method === "DELETE") return { kind: "answer", body: "" };
      return request.url?.includes("uploads=") === true ? { kind: "answer", body } : undefined;
    };
    expect(await listed(tier)).toEqual([]);
    const dropped = s3.requests.filter((line) => line.startsWith("DELETE"));
    expect(dropped).toEqual([`DELETE /cold/${PREFIX}shard-0/1-7?uploadId=left%26open`]);
  });

  it("may hold what is not ours: it is neither listed nor deleted", async () => {
    const key = `<Contents><Key>${PREFIX}shard-0/a/b</Key></Contents>`;
    const own = `<Contents><Key>${PREFIX}shard-0/1-1</Key></Contents>`;
    const other = "<Contents><Key>x</Key></Contents>";
    const body = `<ListBucketResult>${other}${key}${own}</ListBucketResult>`;
    s3.fault = (request) =>
      request.url?.includes("list-type") === true ? { kind: "answer", body } : undefined;
    expect(await listed(tierOf())).toEqual(["1-1"]);
  });

  it("may say in an answer of 200 that an upload could not be completed", async () => {
    const bytes = octets(COLD_LIMITS.partBytes + 1);
    const body = "<Error><Code>InternalError</Code></Error>";
    failFirst(9, /^POST.*\?uploadId=/, () => ({ kind: "answer", body }));
    const refusal = await refusalOf(tierOf().put("1-1", bytes.byteLength, from(bytes)));
    expect(refusal.parts.found).toContain("200 with the error InternalError");
    expect(s3.keys()).toEqual([]);
  });
});

describe("a request that fails", () => {
  it.each([500, 502, 503, 429])("is repeated after %d, each time later", async (status) => {
    failFirst(3, /^PUT/, () => ({ kind: "status", status }));
    await tierOf().put("1-1", 3, from(text));
    expect(s3.keys()).toHaveLength(1);
    expect(slept).toEqual([75, 150, 300]);
  });

  it.each([
    ["cut before it arrives", { kind: "cut", when: "before" }],
    ["cut after it was done", { kind: "cut", when: "after" }],
    ["without an answer", { kind: "silence" }],
  ] as const)("is repeated when it is %s", async (_, fault) => {
    failFirst(2, /^PUT/, () => fault);
    await tierOf({ timeoutMs: 300 }).put("1-1", text.byteLength, from(text));
    s3.fault = undefined;
    expect(await tierOf().get("1-1", 0, text.byteLength)).toEqual(text);
    expect(slept).toHaveLength(2);
  });

  it("is repeated when the body of its answer breaks off or stalls", async () => {
    await tierOf().put("1-1", text.byteLength, from(text));
    failFirst(1, /^GET/, () => ({ kind: "half" }));
    expect(await tierOf().get("1-1", 0, text.byteLength)).toEqual(text);
    failFirst(1, /^GET/, () => ({ kind: "slow", delayMs: 2_000 }));
    expect(await tierOf({ timeoutMs: 300 }).get("1-1", 0, text.byteLength)).toEqual(text);
    expect(slept).toHaveLength(2);
  });

  it("waits as long as Retry-After asks, within a bound", async () => {
    failFirst(1, /^PUT/, () => ({ kind: "status", status: 503, retryAfter: "2" }));
    await tierOf().put("1-1", 3, from(text));
    failFirst(1, /^PUT/, () => ({ kind: "status", status: 503, retryAfter: "3600" }));
    await tierOf().put("1-2", 3, from(text));
    expect(slept).toEqual([2_000, COLD_RETRY.retryAfterMaxMs]);
  });

  it("is given up after some attempts, and says what was found", async () => {
    s3.fault = () => ({ kind: "status", status: 500 });
    const refusal = await refusalOf(tierOf().put("1-1", 3, from(text)));
    expect(refusal.code).toBe("COLD_UNAVAILABLE");
    expect(refusal.parts.found).toContain("500 SlowDown from the bucket");
    expect(s3.requests).toHaveLength(COLD_RETRY.attempts);
    expect(refusal.retryable).toBe(true);
  });

  it("is not repeated where that cannot help: a wrong secret", async () => {
    const refusal = await refusalOf(tierOf({ secretAccessKey: "wrong" }).put("1-1", 3, from(text)));
    expect(refusal.parts.found).toBe("403 SignatureDoesNotMatch from the bucket");
    expect(s3.requests).toHaveLength(1);
    expect(JSON.stringify([refusal, warnings])).not.toContain("wrong");
  });

  it("is given up when nobody listens, and works again once somebody does", async () => {
    await s3.goDown();
    const refusal = await refusalOf(tierOf().get("1-1", 0, 1));
    expect(refusal.code).toBe("COLD_UNAVAILABLE");
    await s3.comeBack();
    await tierOf().put("1-1", 3, from(text));
    expect(s3.keys()).toHaveLength(1);
  });
});

describe("an upload in parts", () => {
  const bytes = octets(2 * COLD_LIMITS.partBytes + 9);

  it("repeats the part that failed, not the others", async () => {
    failFirst(2, /partNumber=2/, () => ({ kind: "cut", when: "before" }));
    await tierOf().put("1-1", bytes.byteLength, from(bytes));
    const parts = s3.requests.filter((line) => line.includes("partNumber="));
    const sentTimes = (part: string): number =>
      parts.filter((line) => line.includes(`partNumber=${part}&`)).length;
    expect(["1", "2", "3"].map(sentTimes)).toEqual([1, 3, 1]);
    s3.fault = undefined;
    expect(Buffer.compare(await tierOf().get("1-1", 0, bytes.byteLength), bytes)).toBe(0);
  });

  it("is complete although the answer that says so was lost", async () => {
    failFirst(1, /^POST.*\?uploadId=/, () => ({ kind: "cut", when: "after" }));
    await tierOf().put("1-1", bytes.byteLength, from(bytes));
    s3.fault = undefined;
    expect(Buffer.compare(await tierOf().get("1-1", 0, bytes.byteLength), bytes)).toBe(0);
  });

  it("leaves nothing when a part cannot be sent", async () => {
    s3.fault = (request) =>
      request.url?.includes("partNumber=3") === true ? { kind: "status", status: 500 } : undefined;
    const refusal = await refusalOf(tierOf().put("1-1", bytes.byteLength, from(bytes)));
    expect(refusal.code).toBe("COLD_UNAVAILABLE");
    expect(s3.requests.at(-1)).toMatch(/^DELETE .*uploadId=/);
    expect(s3.keys()).toEqual([]);
  });

  it("leaves nothing when what it reads from fails, and says that", async () => {
    const failing = async (start: number): Promise<Uint8Array> => {
      if (start > COLD_LIMITS.partBytes) throw new RangeError("the disk is gone");
      return bytes.subarray(start, start + MIB);
    };
    await expect(tierOf().put("1-1", bytes.byteLength, failing)).rejects.toThrow("disk is gone");
    expect(s3.requests.at(-1)).toMatch(/^DELETE .*uploadId=/);
  });
});

describe("a cell that is broken out of", () => {
  it.each([
    "/2/1-1",
    "/0/..%2F..%2Fother",
    "/0/../1/1-1",
    "/../../etc",
    "/0/a/b",
    "/",
    "/0x0/1-1",
    "//0/1-1",
  ])("gets nothing at %s", async (path) => {
    const bucket = new S3Bucket(
      { endpoint: s3.url, bucket: BUCKET, region: "us-east-1", prefix: PREFIX },
      CREDENTIALS,
      fetch,
    );
    const request = new Request(`http://cold${path}`);
    const around = { bucket, prefix: PREFIX, shards: [0], warn: String };
    const answer = await handleCold(request, around);
    expect(answer.status).toBe(404);
    expect(s3.requests).toEqual([]);
  });
});

describe("room for octets", () => {
  it("lets in what fits, in line, and what is larger than all of it alone", async () => {
    const room = new ByteRoom(10);
    const seen: string[] = [];
    const gates = new Map<string, () => void>();
    const hold = (name: string, bytes: number): Promise<void> =>
      room.hold(bytes, async () => {
        seen.push(name);
        await new Promise<void>((resolve) => gates.set(name, resolve));
      });
    const all = [hold("a", 6), hold("b", 4), hold("c", 50), hold("d", 1)];
    await Promise.resolve();
    expect(seen).toEqual(["a", "b"]);
    gates.get("a")?.();
    await all[0];
    expect(seen).toEqual(["a", "b"]);
    gates.get("b")?.();
    await all[1];
    await Promise.resolve();
    expect(seen).toEqual(["a", "b", "c"]);
    gates.get("c")?.();
    await all[2];
    await Promise.resolve();
    expect(seen.at(-1)).toBe("d");
    gates.get("d")?.();
    await all[3];
  });
});
