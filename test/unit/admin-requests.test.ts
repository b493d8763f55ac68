import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IsolaError } from "../../runtime/contract/index.ts";
import {
  Room,
  checkOrigin,
  confidential,
  integer,
  oneOf,
  optional,
  parseFields,
  queryFlag,
  queryInteger,
  record,
  text,
} from "../../runtime/gateway/internal.ts";

function errorOf(body: () => unknown): IsolaError | undefined {
  try {
    body();
    return undefined;
  } catch (error) {
    if (error instanceof IsolaError) return error;
    throw error;
  }
}

const FIELDS = {
  name: text(1, 5, /^[a-z]+$/),
  percent: optional(integer(0, 100)),
  cells: optional(oneOf(["shared", "dedicated"])),
  quotas: optional(record({ functionsMax: integer(0, 10) })),
  value: optional(confidential(text(0, 3))),
};
const parse = (value: unknown) => parseFields(value, FIELDS, "try");

describe("fields of a request", () => {
  it("are what the table says, or refused by name", () => {
    expect(parse({ name: "abc", percent: 7 })).toEqual({ name: "abc", percent: 7 });
    const wrong: [unknown, string][] = [
      [{}, "name"],
      [{ name: "ABC" }, "name"],
      [{ name: "toolong" }, "name"],
      [{ name: "a", percent: 1.5 }, "percent"],
      [{ name: "a", percent: "1" }, "percent"],
      [{ name: "a", cells: "none" }, "cells"],
      [{ name: "a", quotas: { functionsMax: 11 } }, "quotas"],
      [{ name: "a", quotas: { other: 1 } }, "quotas"],
      [{ name: "a", other: 1 }, "other"],
      [JSON.parse('{"name":"a","__proto__":1}'), "__proto__"],
      [[], "a JSON object"],
      [null, "a JSON object"],
    ];
    for (const [value, part] of wrong) {
      const error = errorOf(() => parse(value));
      expect(error?.code).toBe("REQUEST_INVALID");
      expect(error?.message).toContain(part);
    }
  });

  it("throw nothing but errors of the catalogue, whatever they are", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect([undefined, "REQUEST_INVALID"]).toContain(errorOf(() => parse(value))?.code);
      }),
    );
  });

  it("that are confidential are quoted in no message", () => {
    const error = errorOf(() => parse({ name: "a", value: "hunter2" }));
    expect(error?.message).toContain("value");
    expect(error?.message).not.toContain("hunter2");
  });

  it("of a query are whole numbers and switches", () => {
    const query = new URLSearchParams("a=5&b=&c=-1&d=1e3&on=1&off=false&odd=yes");
    expect(queryInteger(query, ["x", "a"], 10)).toBe(5);
    expect(queryInteger(query, ["x"], 10)).toBeUndefined();
    for (const name of ["b", "c", "d"]) {
      expect(errorOf(() => queryInteger(query, [name], 10))?.code).toBe("REQUEST_INVALID");
    }
    expect(errorOf(() => queryInteger(query, ["a"], 4))?.code).toBe("REQUEST_INVALID");
    expect([queryFlag(query, "on"), queryFlag(query, "off"), queryFlag(query, "x")]).toEqual([
      true,
      false,
      false,
    ]);
    expect(errorOf(() => queryFlag(query, "odd"))?.code).toBe("REQUEST_INVALID");
  });
});

const check = (headers: Record<string, string>, hosts: string[] = []) =>
  errorOf(() => checkOrigin(new Headers(headers), hosts))?.code;

describe("the origin of a request", () => {
  it("is the admin listener's own", () => {
    for (const host of ["localhost:8081", "127.0.0.1", "[::1]:8081", "admin.localhost:8787"]) {
      expect(check({ host })).toBeUndefined();
      expect(check({ host, origin: `http://${host}` })).toBeUndefined();
    }
    expect(check({ host: "isola.example:8081" }, ["isola.example"])).toBeUndefined();
  });

  it("is nobody else's", () => {
    const host = "localhost:8081";
    const refused: Record<string, string>[] = [
      { host: "isola.example" },
      { host: "127.0.0.1.evil.example" },
      { host: "localhost.evil.example:8081" },
      { host: "" },
      { host, origin: "http://localhost:8080" },
      { host, origin: "null" },
      { host, origin: "http://localhost:8081.evil.example" },
      { host, "sec-fetch-site": "cross-site" },
    ];
    for (const headers of refused)
      expect([headers, check(headers)]).toEqual([headers, "ORIGIN_REFUSED"]);
  });
});

/** Lets everything that can go on go on, then lets time pass. */
function roomAt(capacity: number, clock: { nowMs: number }): Room {
  return new Room({
    capacity,
    clock: { now: () => clock.nowMs },
    sleep: async (delayMs) => {
      await new Promise((resolve) => setImmediate(resolve));
      clock.nowMs += delayMs;
    },
    waitMaxMs: 1_000,
    leaseMs: 5_000,
  });
}

describe("work that waits for room", () => {
  it("never holds more than the capacity under a key, and goes in by arrival (W1)", async () => {
    const room = roomAt(3, { nowMs: 0 });
    const order: number[] = [];
    let held = 0;
    const work = Array.from({ length: 12 }, (_, index) =>
      room.enter("k", 1 + (index % 2), async () => {
        held += 1 + (index % 2);
        expect(held).toBeLessThanOrEqual(3);
        order.push(index);
        await new Promise((resolve) => setImmediate(resolve));
        held -= 1 + (index % 2);
      }),
    );
    await Promise.all(work);
    expect(order).toEqual(order.toSorted((a, b) => a - b));
  });

  it("does not wait for holders that vanished, nor longer than it may (W2)", async () => {
    const clock = { nowMs: 0 };
    const room = roomAt(1, clock);
    void room.enter("k", 1, () => new Promise(() => {}));
    await expect(room.enter("k", 1, () => Promise.resolve())).rejects.toMatchObject({
      code: "CAPACITY",
    });
    expect(await room.enter("other", 1, () => Promise.resolve("in"))).toBe("in");
    clock.nowMs += 5_000;
    expect(await room.enter("k", 1, () => Promise.resolve("in"))).toBe("in");
  });

  it("lets one in that is larger than the whole", async () => {
    const room = roomAt(3, { nowMs: 0 });
    expect(await room.enter("k", 100, () => Promise.resolve("in"))).toBe("in");
  });
});
