import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Span } from "../../runtime/contract/index.ts";
import {
  TELEMETRY_LIMITS,
  createOtlpExporter,
  createTelemetryHub,
} from "../../runtime/telemetry/index.ts";
import {
  type ExportAnswer,
  encodeSpans,
  parseOtlpHeaders,
  parsePartialSuccess,
  parseRetryAfter,
} from "../../runtime/telemetry/internal.ts";
import { NOON_MS, handClock, seededRandom, span } from "../support/telemetry-records.ts";

const resource = { serviceName: "isola", serviceVersion: "0.1.0" };

interface ExportRequest {
  readonly resourceSpans: readonly {
    readonly scopeSpans: readonly { readonly spans: readonly { readonly name: string }[] }[];
  }[];
}

const namesIn = (body: string): string[] =>
  (JSON.parse(body) as ExportRequest).resourceSpans.flatMap(({ scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) => spans.map(({ name }) => name)),
  );

/** An exporter with a collector that answers from a list, then takes everything. */
function newExporter(answers: (ExportAnswer | "broken" | "silent")[] = [], batchSpans = 4) {
  const clock = handClock();
  const limits = { ...TELEMETRY_LIMITS, exportBatchSpans: batchSpans, spansKept: 20 };
  const hub = createTelemetryHub({ clock, random: seededRandom(), limits });
  const bodies: string[] = [];
  const exporter = createOtlpExporter({
    source: hub.traces.source,
    resource,
    clock,
    random: { ...seededRandom(), fraction: () => 1 },
    limits,
    send: async (body) => {
      bodies.push(body);
      const answer = answers.shift() ?? { status: 200 };
      if (answer === "broken") throw new TypeError("connection refused");
      if (answer === "silent") return new Promise(() => {});
      return answer;
    },
  });
  const add = (...names: string[]): void => hub.recordSpans(names.map((name) => span({ name })));
  return { clock, hub, exporter, bodies, add };
}

describe("OTLP JSON", () => {
  it("has the shape of the protocol's own example", () => {
    const spans: Span[] = [
      span({
        parentSpanId: "1".repeat(16),
        startedAtMs: 1_544_712_660_000,
        endedAtMs: 1_544_712_661_000.5,
        error: "timeout",
        attributes: { text: "some value", count: 7, ratio: 0.5, flag: true },
      }),
    ];
    expect(JSON.parse(encodeSpans(spans, resource))).toEqual({
      resourceSpans: [
        {
          resource: {
            attributes: [
              { key: "service.name", value: { stringValue: "isola" } },
              { key: "service.version", value: { stringValue: "0.1.0" } },
            ],
          },
          scopeSpans: [
            {
              scope: { name: "isola", version: "0.1.0" },
              spans: [
                {
                  traceId: "0af7651916cd43dd8448eb211c80319c",
                  spanId: "b7ad6b7169203331",
                  parentSpanId: "1".repeat(16),
                  name: "hello",
                  kind: 2,
                  startTimeUnixNano: "1544712660000000000",
                  endTimeUnixNano: "1544712661000500000",
                  attributes: [
                    { key: "text", value: { stringValue: "some value" } },
                    { key: "count", value: { intValue: "7" } },
                    { key: "ratio", value: { doubleValue: 0.5 } },
                    { key: "flag", value: { boolValue: true } },
                  ],
                  status: { code: 2, message: "timeout" },
                },
              ],
            },
          ],
        },
      ],
    });
  });

  it("writes every moment as digits of nanoseconds, in order", () => {
    const moment = fc.double({ min: 0, max: 4e12, noNaN: true });
    fc.assert(
      fc.property(moment, (startedAtMs) => {
        const body = encodeSpans([span({ startedAtMs, endedAtMs: startedAtMs })], resource);
        const nanos = /"startTimeUnixNano":"(\d+)"/.exec(body)?.[1] ?? "";
        expect(Math.abs(Number(nanos) / 1e6 - startedAtMs)).toBeLessThan(0.01);
      }),
    );
  });
});

describe("the exporter", () => {
  it("waits for its delay, then sends what there is in one request", async () => {
    const { clock, exporter, bodies, add } = newExporter();
    await exporter.tick();
    add("a", "b");
    expect(exporter.isDue).toBe(false);
    await exporter.tick();
    expect(bodies).toEqual([]);
    clock.nowMs += TELEMETRY_LIMITS.exportDelayMs;
    await exporter.tick();
    expect(bodies.map(namesIn)).toEqual([["a", "b"]]);
    expect(exporter.stats).toEqual({
      sentSpans: 2,
      droppedSpans: 0,
      requests: 1,
      failures: 0,
      lastError: "",
    });
  });

  it("sends a full batch at once", async () => {
    const { exporter, bodies, add } = newExporter();
    add("a", "b", "c", "d", "e");
    await exporter.tick();
    await exporter.tick();
    expect(bodies.map(namesIn)).toEqual([["a", "b", "c", "d"]]);
  });

  it.each([429, 502, 503, 504])(
    "repeats the same batch after %i, with growing pauses",
    async (status) => {
      const { clock, exporter, bodies, add } = newExporter(
        [{ status }, { status }, { status: 200 }],
        1,
      );
      add("a");
      await exporter.tick();
      clock.nowMs += 999;
      await exporter.tick();
      expect(bodies).toHaveLength(1);
      clock.nowMs += 1;
      await exporter.tick();
      clock.nowMs += 1_999;
      await exporter.tick();
      expect(bodies).toHaveLength(2);
      clock.nowMs += 1;
      await exporter.tick();
      expect(bodies.map(namesIn)).toEqual([["a"], ["a"], ["a"]]);
      expect(exporter.stats).toMatchObject({ sentSpans: 1, droppedSpans: 0, failures: 2 });
    },
  );

  it("waits as long as Retry-After says", async () => {
    const answers = [{ status: 503, retryAfterSeconds: 30 }];
    const { clock, exporter, bodies, add } = newExporter(answers, 1);
    add("a");
    await exporter.tick();
    clock.nowMs += 29_999;
    await exporter.tick();
    expect(bodies).toHaveLength(1);
    clock.nowMs += 1;
    await exporter.tick();
    expect(exporter.stats.sentSpans).toBe(1);
  });

  it("repeats after a broken connection", async () => {
    const { clock, exporter, add } = newExporter(["broken"], 1);
    add("a");
    await exporter.tick();
    expect(exporter.stats.lastError).toBe("no answer: connection refused");
    clock.nowMs += 1_000;
    await exporter.tick();
    expect(exporter.stats).toMatchObject({ sentSpans: 1, lastError: "" });
  });

  it.each([400, 401, 404, 500, 301])(
    "drops a batch that is refused with %i, and goes on",
    async (status) => {
      const { exporter, bodies, add } = newExporter([{ status }], 1);
      add("a", "b");
      await exporter.tick();
      await exporter.tick();
      expect(bodies.map(namesIn)).toEqual([["a"], ["b"]]);
      expect(exporter.stats).toMatchObject({ sentSpans: 1, droppedSpans: 1 });
    },
  );

  it("counts the spans that a partial success refuses, and does not repeat them", async () => {
    const body = JSON.stringify({
      partialSuccess: { rejectedSpans: "3", errorMessage: "too old" },
    });
    const { exporter, bodies, add } = newExporter([{ status: 200, body }]);
    add("a", "b", "c", "d");
    await exporter.tick();
    await exporter.flush();
    expect(bodies).toHaveLength(1);
    expect(exporter.stats).toMatchObject({ sentSpans: 1, droppedSpans: 3, lastError: "too old" });
  });

  it("gives a batch up after its time, and then sends newer ones", async () => {
    const unavailable = Array.from({ length: 50 }, () => ({ status: 503 }));
    const { clock, exporter, bodies, add } = newExporter(unavailable, 1);
    add("old");
    while (exporter.stats.droppedSpans === 0) {
      await exporter.tick();
      clock.nowMs += 10_000;
    }
    expect(clock.nowMs - NOON_MS).toBeLessThan(2 * TELEMETRY_LIMITS.exportGiveUpMs);
    add("new");
    await exporter.tick();
    expect(namesIn(bodies.at(-1) ?? "{}")).toEqual(["new"]);
  });

  it("keeps E3: a request that never ends is given up, its late answer ignored", async () => {
    const { clock, exporter, bodies, add } = newExporter(["silent"], 1);
    add("a");
    void exporter.tick();
    await exporter.tick();
    expect(bodies).toHaveLength(1);
    clock.nowMs += TELEMETRY_LIMITS.exportTimeoutMs;
    await exporter.tick();
    clock.nowMs += TELEMETRY_LIMITS.exportBackoffMs;
    await exporter.tick();
    expect(bodies.map(namesIn)).toEqual([["a"], ["a"]]);
    expect(exporter.stats).toMatchObject({ sentSpans: 1, droppedSpans: 0 });
  });

  it("counts what left the ring while the collector was away", async () => {
    const { exporter, add } = newExporter([{ status: 503 }], 1);
    add(...Array.from({ length: 30 }, (_, index) => `${index}`));
    await exporter.tick();
    expect(exporter.stats).toMatchObject({ sentSpans: 0, droppedSpans: 10 });
  });

  it("flushes everything at the end, and stops at the first failure", async () => {
    const { exporter, bodies, add } = newExporter([{ status: 200 }, { status: 503 }], 1);
    add("a", "b", "c");
    await exporter.flush();
    expect(bodies.map(namesIn)).toEqual([["a"], ["b"]]);
    await exporter.flush();
    expect(bodies.map(namesIn)).toEqual([["a"], ["b"], ["b"], ["c"]]);
  });

  it("keeps E2: every span is sent, dropped or waiting, whatever the collector does", async () => {
    const answer = fc.oneof(
      fc.record({ status: fc.constantFrom(200, 204, 400, 429, 503) }),
      fc.constant("broken" as const),
    );
    const action = fc.record({ spans: fc.nat(6), pauseMs: fc.nat(400_000) });
    await fc.assert(
      fc.asyncProperty(fc.array(answer), fc.array(action), async (answers, actions) => {
        const { clock, exporter, hub, add } = newExporter([...answers], 3);
        let made = 0;
        for (const { spans, pauseMs } of actions) {
          add(...Array.from({ length: spans }, () => "span"));
          made += spans;
          await exporter.tick();
          clock.nowMs += pauseMs;
        }
        for (let round = 0; round <= answers.length; round += 1) {
          await exporter.flush();
          clock.nowMs += TELEMETRY_LIMITS.exportGiveUpMs;
        }
        await exporter.flush();
        expect(hub.traces.source.waiting).toBe(0);
        expect(exporter.stats.sentSpans + exporter.stats.droppedSpans).toBe(made);
      }),
    );
  });
});

describe("what collectors and operators write", () => {
  it.each([
    ["seconds", "12", 12],
    ["a date", new Date(NOON_MS + 5_000).toUTCString(), 5],
    ["a date in the past", new Date(NOON_MS - 5_000).toUTCString(), 0],
    ["nonsense", "soon", undefined],
    ["nothing", "", undefined],
  ])("reads Retry-After: %s", (_what, header, seconds) => {
    expect(parseRetryAfter(header, NOON_MS)).toBe(seconds);
    expect(parseRetryAfter(null, NOON_MS)).toBeUndefined();
  });

  it.each([
    "",
    "not json",
    "null",
    "[]",
    '{"partialSuccess":null}',
    '{"partialSuccess":{"rejectedSpans":-1}}',
  ])("takes %j for a full success", (body) => {
    expect(parsePartialSuccess(body).rejectedSpans).toBe(0);
  });

  it("reads OTEL_EXPORTER_OTLP_HEADERS", () => {
    expect(parseOtlpHeaders("Api-Key=a%20b, x=1=2 ,,=bad,broken=%zz")).toEqual([
      ["api-key", "a b"],
      ["x", "1=2"],
      ["broken", "%zz"],
    ]);
    expect(parseOtlpHeaders("")).toEqual([]);
  });
});
