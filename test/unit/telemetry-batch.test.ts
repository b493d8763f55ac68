import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TELEMETRY_LIMITS, createTelemetryHub } from "../../runtime/telemetry/index.ts";
import { type TelemetryLimits, checkBatch, utf8Bytes } from "../../runtime/telemetry/internal.ts";
import {
  NOON_MS,
  callRecord,
  handClock,
  logLine,
  seededRandom,
  span,
} from "../support/telemetry-records.ts";

const check = (batch: unknown, limits: Partial<TelemetryLimits> = {}) =>
  checkBatch(batch, {
    limits: { ...TELEMETRY_LIMITS, ...limits },
    nowMs: NOON_MS + 1_000,
    allows: (namespace) => namespace !== "foreign",
  });

const whole = { calls: [callRecord()], logs: [logLine()], spans: [span()] };

describe("a batch from a cell", () => {
  it("passes as it is where it is right", () => {
    const { rejected, ...kept } = check(JSON.parse(JSON.stringify(whole)));
    expect(kept).toEqual(whole);
    expect(rejected).toBe(0);
  });

  it("loses the items of namespaces that are not the cell's, and no other", () => {
    const attributes = { "isola.namespace": "foreign" };
    const foreign = { namespace: "foreign" };
    const batch = {
      calls: [callRecord(foreign), callRecord()],
      logs: [logLine(foreign), logLine()],
      spans: [span({ attributes }), span({ attributes: {} }), span()],
    };
    const { rejected, ...kept } = check(batch);
    expect(kept).toEqual(whole);
    expect(rejected).toBe(4);
  });

  it.each([
    ["a negative duration", { wallMs: -1 }],
    ["a duration that is no number", { runMs: "5" }],
    ["an infinite duration", { queueMs: Number.POSITIVE_INFINITY }],
    ["a call that ends in the future", { wallMs: 3_600_000 }],
    ["a call of last week", { startedAtMs: NOON_MS - 7 * 24 * 3_600_000 }],
    ["a name that is no label", { function: "Not A Label" }],
    ["a backend that is no label", { backend: 'x"} 1\n' }],
    ["an unknown outcome", { outcome: "great" }],
    ["a status out of range", { status: 1_000 }],
    ["memory beyond any machine", { memoryMb: 1e12 }],
    ["a call id that is none", { callId: "1" }],
    ["a parent that is none", { parentCallId: 7 }],
    ["bytes with a fraction", { bytesOut: 0.5 }],
  ])("loses a record with %s", (_what, fields) => {
    const { calls, rejected } = check({ calls: [{ ...callRecord(), ...fields }] });
    expect([calls.length, rejected]).toEqual([0, 1]);
  });

  it.each([
    ["an all-zero trace", { traceId: "0".repeat(32) }],
    ["an all-zero span", { spanId: "0".repeat(16) }],
    ["an end before its start", { endedAtMs: NOON_MS - 1 }],
    ["an unknown kind", { kind: "producer" }],
    ["no attributes", { attributes: null }],
  ])("loses a span with %s", (_what, fields) => {
    const { spans, rejected } = check({ spans: [{ ...span(), ...fields }] });
    expect([spans.length, rejected]).toEqual([0, 1]);
  });

  it("is cut at the bound of items, and one past it is counted", () => {
    const logs = [logLine(), logLine(), logLine()];
    expect(check({ logs: logs.slice(1) }, { batchItemsMax: 2 }).rejected).toBe(0);
    const { logs: kept, rejected } = check({ logs }, { batchItemsMax: 2 });
    expect([kept.length, rejected]).toEqual([2, 1]);
  });

  it("keeps only known fields, bounded texts and plain attributes", () => {
    const attributes = {
      "isola.namespace": "default",
      ["__proto__"]: "own",
      long: "x".repeat(5_000),
      nested: { a: 1 },
      missing: null,
      nan: Number.NaN,
      count: 1,
      flag: true,
    };
    const { spans } = check({
      spans: [{ ...span({ name: "n".repeat(5_000) }), attributes, extra: 1 }],
    });
    const [kept] = spans;
    expect(Object.keys(kept ?? {})).not.toContain("extra");
    expect(Object.keys(kept?.attributes ?? {}).sort()).toEqual(
      ["__proto__", "count", "flag", "isola.namespace", "long"].sort(),
    );
    expect(utf8Bytes(kept?.name ?? "")).toBeLessThanOrEqual(TELEMETRY_LIMITS.textMaxBytes);
    const long = kept?.attributes["long"];
    expect(typeof long === "string" && utf8Bytes(long)).toBeLessThanOrEqual(1_024);
  });

  it("never throws and keeps nothing out of bounds, whatever comes", () => {
    const mutated = fc.tuple(
      fc.constantFrom<object>(...whole.calls, ...whole.logs, ...whole.spans),
      fc.dictionary(fc.string(), fc.jsonValue()),
    );
    const items = fc.array(
      fc.oneof(
        mutated.map(([item, more]) => ({ ...item, ...more })),
        fc.jsonValue(),
      ),
    );
    const batch = fc.oneof(
      fc.jsonValue(),
      fc.record({ calls: items, logs: items, spans: items }, { requiredKeys: [] }),
    );
    fc.assert(
      fc.property(batch, (sent) => {
        const { calls, logs, spans, rejected } = check(sent);
        expect(rejected).toBeGreaterThanOrEqual(0);
        expect([...calls, ...logs].some(({ namespace }) => namespace === "foreign")).toBe(false);
        const hub = createTelemetryHub({ clock: handClock(), random: seededRandom() });
        const absorbed = hub.absorb(sent);
        expect(absorbed.accepted).toBe(calls.length + logs.length + spans.length);
      }),
    );
  });

  it("counts each call as started and ended, so nothing seems in flight", () => {
    const hub = createTelemetryHub({ clock: handClock(), random: seededRandom() });
    hub.absorb({ calls: [callRecord({ parentCallId: "f".repeat(32) })] });
    const gauges = { version: "", startedAtMs: 0, queued: 0, inFlight: 0 };
    const text = hub.metricsText({
      ...gauges,
      cells: [],
      processes: [],
      shards: [],
      runs: { open: [], ended: [] },
      functions: [],
    });
    expect(text).toContain('gateway_function_invocation_started{function_name="hello.default"} 1');
    expect(text).toContain('gateway_function_invocation_inflight{function_name="hello.default"} 0');
  });

  it("cannot grow the ledger of usage without bound by naming functions", () => {
    const limits = { usageRowsMax: 2 };
    const hub = createTelemetryHub({ clock: handClock(), random: seededRandom(), limits });
    const calls = ["a", "b", "c", "a"].map((name) => callRecord({ function: name }));
    expect(hub.absorb({ calls })).toEqual({ accepted: 3, rejected: 1 });
    expect(hub.usage.drain().map((row) => [row.function, row.calls])).toEqual([
      ["a", 2],
      ["b", 1],
    ]);
  });
});
