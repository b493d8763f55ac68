/** What a shard lets in: operations and values from tenants and other processes. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  DiskGauge,
  checkCall,
  ofItsOwn,
  plainValue,
  storageFault,
  storedValue,
} from "../../runtime/cell/internal.ts";
import { IsolaError, STORE_LIMITS } from "../../runtime/contract/index.ts";

function codeOf(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (thrown) {
    if (thrown instanceof IsolaError) return thrown.code;
    throw thrown;
  }
}

const PUT = { op: "put", bucket: "b", key: "k" } as const;

describe("an operation", () => {
  it("passes with what it takes, absent options included", () => {
    const calls = [
      PUT,
      { ...PUT, sizeBytes: 3, options: { ttlMs: 5, fence: { lock: "l", token: 1 } } },
      { ...PUT, options: undefined },
      { op: "get", bucket: "b", key: "k", range: { start: 0, end: 1 } },
      { op: "list", bucket: "b", prefix: "", limit: 3 },
      { op: "createJob", name: "j", kind: "client", durability: "disk", hints: { calls: 3 } },
      { op: "usage", allowances: { default: 10 } },
      { op: "endJob" },
    ];
    for (const call of calls) expect(checkCall(call)).toBe(call);
  });

  it("is refused by what is wrong in it, a name as a name", () => {
    const refused: readonly [unknown, string][] = [
      [undefined, "VALUE_INVALID"],
      [null, "VALUE_INVALID"],
      [[PUT], "VALUE_INVALID"],
      ["put", "VALUE_INVALID"],
      [{ op: "toString" }, "VALUE_INVALID"],
      [{ op: "__proto__" }, "VALUE_INVALID"],
      [{ ...PUT, key: 3 }, "KEY_INVALID"],
      [{ op: "put", key: "k" }, "KEY_INVALID"],
      [{ ...PUT, sizeBytes: -1 }, "VALUE_INVALID"],
      [{ ...PUT, sizeBytes: "3" }, "VALUE_INVALID"],
      [{ ...PUT, options: { persist: 1 } }, "VALUE_INVALID"],
      [{ ...PUT, options: { ttl: 5 } }, "VALUE_INVALID"],
      [{ ...PUT, options: { ttlMs: Number.NaN } }, "VALUE_INVALID"],
      [{ ...PUT, options: { durability: "tape" } }, "VALUE_INVALID"],
      [{ ...PUT, options: { fence: { lock: "l" } } }, "VALUE_INVALID"],
      [{ ...PUT, options: new Map() }, "VALUE_INVALID"],
      [{ ...PUT, surprise: 1 }, "VALUE_INVALID"],
      [{ op: "get", bucket: "b", key: "k", range: { start: 0.5, end: 1 } }, "VALUE_INVALID"],
      [{ op: "increment", bucket: "b", key: "k", by: "1" }, "VALUE_INVALID"],
      [{ op: "unlock", name: "l", token: "1" }, "VALUE_INVALID"],
      [{ op: "createJob", name: "j", kind: "other", durability: "disk" }, "VALUE_INVALID"],
      [{ op: "usage", allowances: { a: -1 } }, "VALUE_INVALID"],
    ];
    for (const [call, code] of refused) {
      expect(
        codeOf(() => checkCall(call)),
        JSON.stringify(call),
      ).toBe(code);
    }
  });

  it("never fails in another way than with an error of the catalogue", () => {
    const op = fc.constantFrom("put", "get", "list", "lock", "expire", "createJob", "usage");
    const call = fc.record(
      { op, bucket: fc.anything(), key: fc.anything(), options: fc.anything() },
      { requiredKeys: ["op"] },
    );
    fc.assert(
      fc.property(fc.oneof(call, fc.anything()), (given) => {
        expect(["KEY_INVALID", "VALUE_INVALID", undefined]).toContain(
          codeOf(() => checkCall(given)),
        );
      }),
    );
  });
});

describe("a value", () => {
  it("is octets if it is octets, in a buffer of their own", () => {
    const large = new ArrayBuffer(1_000);
    const stored = storedValue(new Uint8Array(large, 10, 5));
    expect(stored).toMatchObject({ kind: "bytes", sizeBytes: 5 });
    const octets = plainValue(stored) as Uint8Array;
    expect([octets.byteLength, octets.buffer.byteLength]).toEqual([5, 5]);
    expect(storedValue(new ArrayBuffer(3))).toMatchObject({ kind: "bytes", sizeBytes: 3 });
    expect(storedValue(new Float64Array(2)).kind).toBe("value");
    const whole = new Uint8Array(4);
    expect(ofItsOwn(whole)).toBe(whole);
  });

  it("comes back in one piece, whatever pieces it came in", () => {
    const chunks = [new Uint8Array([1, 2]), new Uint8Array([3])];
    expect(plainValue({ kind: "bytes", chunks, sizeBytes: 3 })).toEqual(new Uint8Array([1, 2, 3]));
    expect(plainValue({ kind: "bytes", chunks: [], sizeBytes: 0 })).toEqual(new Uint8Array(0));
  });

  it("is refused if it is none, or too large for one message", () => {
    expect(codeOf(() => storedValue(undefined))).toBe("VALUE_INVALID");
    expect(codeOf(() => storedValue(null))).toBeUndefined();
    const text = "x".repeat(STORE_LIMITS.wholeMaxBytes);
    expect(codeOf(() => storedValue(text))).toBe("BODY_TOO_LARGE");
    const holes: unknown[] = [];
    holes.length = 4e9;
    expect(codeOf(() => storedValue([holes]))).toBe("BODY_TOO_LARGE");
  });
});

function throws(): never {
  throw new TypeError("not for you");
}

describe("a value that is made to harm", () => {
  it("is refused by a code of the catalogue, however it is looked at", () => {
    const trap = new Proxy({}, { get: throws, ownKeys: throws, getPrototypeOf: throws });
    const named = { constructor: { name: { toString: 1, valueOf: 1 } } };
    const strange: unknown = Object.create(named);
    let deep: unknown = 0;
    for (let level = 0; level < 50_000; level += 1) deep = { deep };
    for (const value of [trap, [trap], new Map([[trap, 1]]), strange, [strange], deep]) {
      expect(codeOf(() => storedValue(value))).toBe("VALUE_INVALID");
    }
    expect(codeOf(() => storedValue({ a: () => 1 }))).toBe("VALUE_INVALID");
    expect(codeOf(() => storedValue(new ReadableStream()))).toBe("VALUE_INVALID");
  });
});

describe("free space", () => {
  it("is unbounded until somebody says; then less the reserve and what was written since", () => {
    const gauge = new DiskGauge(100);
    gauge.spend(1_000);
    expect(gauge.freeBytes).toBe(Number.POSITIVE_INFINITY);
    gauge.tell(500, 0);
    expect(gauge.freeBytes).toBe(400);
    gauge.spend(150);
    expect(gauge.freeBytes).toBe(250);
    gauge.spend(1_000);
    expect(gauge.freeBytes).toBe(0);
    gauge.tell(50, 30);
    expect(gauge.freeBytes).toBe(0);
    gauge.tell(120, 30);
    expect(gauge.freeBytes).toBe(50);
  });
});

describe("a failure of the storage", () => {
  it("says what the operator can do about it, else that the shard opens again", () => {
    const codes = [
      "database or disk is full: SQLITE_FULL",
      "database disk image is malformed: SQLITE_CORRUPT",
      "internal error; reference = abc",
    ].map((text) => storageFault(new Error(text), "store").code);
    expect(codes).toEqual(["DISK_FULL", "DATA_CORRUPT", "CELL_RESTARTING"]);
    const own = new IsolaError("JOB_ENDED", { attempted: "use it", found: "its end" });
    expect(storageFault(own, "store")).toBe(own);
  });
});
