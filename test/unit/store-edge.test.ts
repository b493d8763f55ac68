/** What the gateway makes of requests to the store, and how their usage adds up. Pure. */
import * as fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import {
  IsolaError,
  STORE_LIMITS,
  type StoreUsage,
  newJobId,
  shardOfJob,
  storeHeader,
  systemClock,
  systemRandom,
} from "../../runtime/contract/index.ts";
import {
  acceptedForm,
  checkQuery,
  formOf,
  keyOfPath,
  messagePackFault,
  packValue,
  putConditions,
  putOptions,
  queryNumber,
  rangeWithin,
  readValue,
  readVerdict,
  showValue,
  wantedRange,
} from "../../runtime/gateway/internal.ts";
import { RegistryCore } from "../../runtime/registry/internal.ts";
import { StoreLedger } from "../../runtime/telemetry/internal.ts";
import { memorySql } from "../support/sqlite.ts";

const packr = new Packr({ useRecords: false });
const DEPTH = 256;

function codeOf(body: () => unknown): string {
  try {
    body();
    return "NONE";
  } catch (thrown) {
    return thrown instanceof IsolaError ? thrown.code : String(thrown);
  }
}

function usage(bytesIn: number, heldBytes: number): StoreUsage {
  return {
    bytes: { memory: heldBytes, disk: 0, cold: 0 },
    byteSeconds: { memory: bytesIn * 2, disk: 0, cold: 0 },
    highWaterBytes: { memory: heldBytes, disk: 0, cold: 0 },
    heldBytes,
    heldHighWaterBytes: heldBytes,
    operations: bytesIn,
    bytesIn,
    bytesOut: 0,
  };
}

function tell(registry: RegistryCore, epoch: number, done: number, held: number): void {
  const namespaces = { default: usage(done, held), nobody: usage(5, 5) };
  const reports = [
    { shard: 0, epoch, namespaces },
    { shard: 1, epoch: 1, namespaces: { default: usage(1, 1) } },
  ];
  registry.change("addStoreUsage", { reports }, 0);
}

describe("MessagePack that is looked at before it is decoded", () => {
  it("is fine if an encoder made it", () => {
    fc.assert(
      fc.property(fc.anything({ withDate: true, withBigInt: false }), (value) => {
        const bytes = packr.pack(value);
        expect(messagePackFault(bytes, DEPTH)).toBeUndefined();
      }),
    );
  });

  it("is none when it is cut or has more behind it", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.nat(), (value, at) => {
        const bytes = packr.pack(value);
        const cut = bytes.subarray(0, at % bytes.length);
        expect(messagePackFault(cut, DEPTH)).toBeDefined();
        expect(messagePackFault(Buffer.concat([bytes, bytes]), DEPTH)).toBeDefined();
      }),
    );
  });

  it("is looked at within its size, whatever it announces", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const fault = messagePackFault(bytes, DEPTH);
        // What passes, a decoder takes without making room for more than there is.
        if (fault !== undefined) return;
        const code = codeOf(() => readValue(bytes, "msgpack", "read"));
        expect(["NONE", "INPUT_MALFORMED", "VALUE_INVALID"]).toContain(code);
      }),
      { numRuns: 5_000 },
    );
    const announced = [0xdd, 0xff, 0xff, 0xff, 0xff];
    expect(messagePackFault(Uint8Array.from(announced), DEPTH)).toContain("fewer octets");
    const nested = new Uint8Array(10_000).fill(0x91);
    expect(messagePackFault(nested, DEPTH)).toContain("levels");
  });
});

describe("values", () => {
  it("go through the platform unchanged", () => {
    const json = fc.jsonValue().filter((value) => !JSON.stringify(value).includes("__proto__"));
    fc.assert(
      fc.property(json, fc.constantFrom("json" as const, "msgpack" as const), (value, form) => {
        const sent = form === "json" ? Buffer.from(JSON.stringify(value)) : packr.pack(value);
        const { bytes } = packValue(readValue(sent, form, "read"));
        const shown = showValue(bytes, "json");
        expect(shown.type).toBe("application/json");
        expect(JSON.stringify(JSON.parse(String(shown.body)))).toBe(JSON.stringify(value));
      }),
    );
  });

  it.each([
    [null, "json"],
    ["*/*", "json"],
    ["application/json", "json"],
    ["application/msgpack", "msgpack"],
    ["application/json, application/msgpack", "msgpack"],
    ["application/json, application/msgpack;q=0.5", "json"],
    ["application/msgpack;q=0", "json"],
    ["application/x-msgpack;q=x", "json"],
    ["application/x-isola-value", "inner"],
  ] as const)("are answered to %j as %s", (accept, form) => {
    expect(acceptedForm(accept)).toBe(form);
  });

  it.each([
    ["application/json", "json"],
    ["Application/JSON; charset=utf-8", "json"],
    ["application/msgpack", "msgpack"],
    ["application/jsonp", "bytes"],
    ["text/plain", "bytes"],
    ["", "bytes"],
  ] as const)("of type %j are %s", (type, form) => {
    expect(formOf(new Headers(type === "" ? {} : { "content-type": type }))).toBe(form);
  });
});

describe("paths and parameters", () => {
  const base = "http://h/v1/namespaces/n/store/jobs/j/buckets/b/objects";

  it("give back the key that was encoded", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", minLength: 1, maxLength: 100 }), (key) => {
        fc.pre(key.isWellFormed() && Buffer.byteLength(key) <= STORE_LIMITS.keyMaxBytes);
        const query = new URLSearchParams();
        expect(keyOfPath(`${base}/${encodeURIComponent(key)}?x=1`, query)).toBe(key);
        expect(keyOfPath(base, new URLSearchParams({ key }))).toBe(key);
      }),
    );
  });

  it("are read as they came", () => {
    expect(keyOfPath(`${base}/a/../b//c`, new URLSearchParams())).toBe("a/../b//c");
    expect(codeOf(() => keyOfPath(`${base}/%ff`, new URLSearchParams()))).toBe("KEY_INVALID");
    const both = new URLSearchParams("key=x");
    expect(codeOf(() => keyOfPath(`${base}/a`, both))).toBe("REQUEST_INVALID");
  });

  it("are refused by name", () => {
    expect(codeOf(() => checkQuery(new URLSearchParams("ttlms=1"), ["ttlMs"]))).toBe(
      "REQUEST_INVALID",
    );
    for (const given of ["", "x", "0x1", "1e", "Infinity", " 1", "1 ", "--1", "1e9999", "1e999"]) {
      const query = new URLSearchParams({ n: given });
      expect(
        codeOf(() => queryNumber(query, "n")),
        given,
      ).toBe("REQUEST_INVALID");
    }
    for (const given of ["0", "-1", "1.5", "1e3", ".5", "+2"]) {
      expect(queryNumber(new URLSearchParams({ n: given }), "n")).toBe(Number(given));
    }
    expect(putOptions(new URLSearchParams("persist=1&ttlMs=5&fenceLock=l&fenceToken=7"))).toEqual({
      persist: true,
      ttlMs: 5,
      fence: { lock: "l", token: 7 },
    });
  });
});

describe("conditions and ranges", () => {
  it("of writers are those that the store can hold", () => {
    expect(putConditions(new Headers())).toEqual({});
    expect(putConditions(new Headers({ "if-none-match": "*" }))).toEqual({ ifAbsent: true });
    expect(putConditions(new Headers({ "if-match": "*" }))).toEqual({ ifPresent: true });
    expect(putConditions(new Headers({ "if-match": '"12"' }))).toEqual({ ifVersion: 12 });
    // An ETag that is none of ours is none that stands there.
    expect(putConditions(new Headers({ "if-match": '"x"' }))).toEqual({ ifVersion: 0 });
  });

  it("of readers name versions", () => {
    expect(readVerdict(new Headers({ "if-none-match": '"1", W/"2"' }), 2)).toBe("same");
    expect(readVerdict(new Headers({ "if-none-match": '"1"' }), 2)).toBe("fine");
    expect(readVerdict(new Headers({ "if-match": '"1"' }), 2)).toBe("other");
    expect(readVerdict(new Headers({ "if-match": "*" }), 2)).toBe("fine");
  });

  it("lie within the object, or are refused", () => {
    fc.assert(
      fc.property(fc.nat(100), fc.option(fc.nat(100)), fc.option(fc.nat(100)), (size, a, b) => {
        const header = `bytes=${a === null ? "" : String(a)}-${b === null ? "" : String(b)}`;
        const octets = Array.from({ length: size }, (_, index) => index);
        const refused = codeOf(() => {
          const wanted = wantedRange(header);
          if (wanted === undefined) throw new TypeError("the whole");
          const { start, end } = rangeWithin(wanted, size);
          const first = a ?? Math.max(0, size - (b ?? 0));
          const last = a === null ? size - 1 : Math.min(b ?? size - 1, size - 1);
          expect(octets.slice(start, end)).toEqual(octets.slice(first, last + 1));
        });
        const isNone = a === null ? (b ?? 0) === 0 : b !== null && b < a;
        const isBeyond = size === 0 || (a !== null && a >= size);
        expect(refused).toBe(isNone || isBeyond ? "RANGE_INVALID" : "NONE");
      }),
    );
  });
});

describe("names and headers", () => {
  it("say which shard a job is in", () => {
    const random = { bytes: (count: number) => new Uint8Array(count).fill(171), fraction: () => 0 };
    const id = newJobId(12, random);
    expect(id).toBe(`12-${"ab".repeat(16)}`);
    expect(shardOfJob(id)).toBe(12);
    for (const text of [
      "",
      "1",
      `01-${"a".repeat(32)}`,
      `1-${"A".repeat(32)}`,
      `${id}0`,
      ` ${id}`,
    ]) {
      expect(shardOfJob(text), text).toBeUndefined();
    }
  });

  it("carry any key in ASCII", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 50 }), (key) => {
        const header = storeHeader({ key });
        expect(header).toMatch(/^[ -~]*$/);
        expect(JSON.parse(header)).toEqual({ key });
      }),
    );
  });
});

describe("usage", () => {
  it("adds up what each epoch of each shard did, told however often", () => {
    const step = fc.record({
      shard: fc.nat(2),
      kind: fc.constantFrom("work", "work", "tell", "restart"),
      amount: fc.nat(100),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const ledger = new StoreLedger();
        const shards = [0, 1, 2].map(() => ({ epoch: 1, done: 0, told: 0 }));
        let total = 0;
        for (const { shard, kind, amount } of steps) {
          const state = shards[shard];
          if (!state) continue;
          if (kind === "work") state.done += amount;
          if (kind === "restart")
            Object.assign(state, { epoch: state.epoch + 1, done: 0, told: 0 });
          if (kind === "tell") {
            total += state.done - state.told;
            state.told = state.done;
            const { epoch, done } = state;
            ledger.observe({ shard, epoch, namespaces: { a: usage(done, shard + 1) } });
          }
        }
        expect(ledger.totals("a")).toMatchObject({ bytesIn: total, operations: total });
        expect(ledger.totals("a").byteSeconds.memory).toBe(total * 2);
      }),
    );
  });

  it("tells what a namespace holds in the other shards", () => {
    const ledger = new StoreLedger();
    for (const shard of [0, 1, 2]) {
      ledger.observe({ shard, epoch: 1, namespaces: { a: usage(0, 10 ** shard) } });
    }
    expect(ledger.heldElsewhere("a", 1)).toBe(101);
    expect(ledger.totals("a").heldBytes).toBe(111);
    expect(ledger.heldElsewhere("b", 1)).toBe(0);
  });

  it("is kept by the registry once, also over a gateway's or a shard's restart", () => {
    const sql = memorySql();
    const options = { clock: systemClock, random: systemRandom, file: "registry.sqlite" };
    const core = new RegistryCore({ ...options, sql });
    tell(core, 1, 10, 100);
    tell(core, 1, 10, 100);
    tell(core, 1, 30, 50);
    // A gateway that knows nothing of before.
    const again = new RegistryCore({ ...options, sql });
    tell(again, 1, 30, 50);
    // The shard began anew: its counters, too.
    tell(again, 2, 4, 60);
    tell(again, 2, 9, 60);
    const kept = again.read("storeUsage", { namespace: "default", sinceMs: 0 });
    expect(kept).toEqual({
      byteSeconds: { memory: (30 + 9 + 1) * 2, disk: 0, cold: 0 },
      operations: 30 + 9 + 1,
      bytesIn: 30 + 9 + 1,
      bytesOut: 0,
      heldMaxBytes: 101,
    });
    const later = Date.now() + 2 * 60 * 60 * 1_000;
    const none = again.read("storeUsage", { namespace: "default", sinceMs: later });
    expect(none).toMatchObject({ operations: 0, heldMaxBytes: 0 });
  });
});
