import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TELEMETRY_LIMITS, createTelemetryHub } from "../../runtime/telemetry/index.ts";
import { FunctionTable, Ring, cutText, utf8Bytes } from "../../runtime/telemetry/internal.ts";
import {
  NOON_MS,
  callId,
  callRecord,
  handClock,
  logLine,
  seededRandom,
  span,
} from "../support/telemetry-records.ts";

const HOUR_MS = 3_600_000;

function newHub(limits: Parameters<typeof createTelemetryHub>[0]["limits"] = {}) {
  const clock = handClock();
  return { clock, hub: createTelemetryHub({ clock, random: seededRandom(), limits }) };
}

const texts = (answer: { readonly lines: readonly { readonly text: string }[] }): string[] =>
  answer.lines.map(({ text }) => text);

describe("ring", () => {
  it("behaves like a list that loses its head beyond the capacity", () => {
    const operation = fc.oneof(fc.integer(), fc.constant("shift" as const));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.array(operation), (capacity, operations) => {
        const ring = new Ring<number>(capacity);
        const list: number[] = [];
        for (const item of operations) {
          const isFull = item === "shift" || list.length === capacity;
          const left = isFull ? list.shift() : undefined;
          if (item !== "shift") list.push(item);
          expect(item === "shift" ? ring.shift() : ring.push(item)).toBe(left);
          expect(Array.from({ length: ring.length }, (_, index) => ring.at(index))).toEqual(list);
        }
        expect(ring.at(-1)).toBeUndefined();
        expect(ring.at(list.length)).toBeUndefined();
      }),
    );
  });
});

describe("text", () => {
  it("is measured as UTF-8 encodes it", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(utf8Bytes(text)).toBe(new TextEncoder().encode(text).length);
      }),
    );
    expect(utf8Bytes("\ud800x")).toBe(4);
  });

  it("is cut within its bound, at a character, with a mark", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 9, max: 60 }), (text, max) => {
        const cut = cutText(text, max);
        expect(utf8Bytes(cut)).toBeLessThanOrEqual(Math.max(max, 9));
        const isWhole = utf8Bytes(text) <= max;
        expect(cut === text).toBe(isWhole);
        expect(isWhole || text.startsWith(cut.slice(0, -"… (cut)".length))).toBe(true);
        expect(cut.isWellFormed()).toBe(text.isWellFormed());
      }),
    );
  });
});

describe("logs", () => {
  it("are answered by time across functions, newest within the limit", () => {
    const { hub } = newHub();
    hub.recordLogs([
      logLine({ function: "b", atMs: NOON_MS + 2, text: "second" }),
      logLine({ function: "a", atMs: NOON_MS + 1, text: "first" }),
      logLine({ function: "a", atMs: NOON_MS + 3, text: "third" }),
      logLine({ namespace: "other", text: "not yours" }),
    ]);
    expect(texts(hub.logs.query({ namespace: "default" }))).toEqual(["first", "second", "third"]);
    expect(texts(hub.logs.query({ namespace: "default", limit: 2 }))).toEqual(["second", "third"]);
    expect(texts(hub.logs.query({ namespace: "default", function: "b" }))).toEqual(["second"]);
    expect(texts(hub.logs.query({ namespace: "default", sinceMs: NOON_MS + 3 }))).toEqual([
      "third",
    ]);
    expect(texts(hub.logs.query({ namespace: "nobody" }))).toEqual([]);
  });

  it("are found by call", () => {
    const { hub } = newHub();
    hub.recordLogs([logLine({ callId: callId(1), text: "one" }), logLine({ callId: callId(2) })]);
    expect(texts(hub.logs.query({ namespace: "default", callId: callId(1) }))).toEqual(["one"]);
  });

  it("keep the newest lines of a function and count what left", () => {
    const { hub } = newHub({ logLinesPerFunction: 3 });
    hub.recordLogs(Array.from({ length: 4 }, (_, index) => logLine({ text: `${index}` })));
    const answer = hub.logs.query({ namespace: "default" });
    expect(texts(answer)).toEqual(["1", "2", "3"]);
    expect(answer.droppedLines).toBe(1);
  });

  it("keep a function's text within its bytes, at the limit and one past it", () => {
    const { hub } = newHub({ logBytesPerFunction: 10 });
    hub.recordLogs([logLine({ text: "12345" }), logLine({ text: "67890" })]);
    expect(hub.logs.query({ namespace: "default" }).droppedLines).toBe(0);
    hub.recordLogs([logLine({ text: "x" })]);
    expect(texts(hub.logs.query({ namespace: "default" }))).toEqual(["67890", "x"]);
  });

  it("cut a line that is too long", () => {
    const { hub } = newHub({ logLineMaxBytes: 20 });
    hub.recordLogs([logLine({ text: "a".repeat(21) })]);
    expect(texts(hub.logs.query({ namespace: "default" }))).toEqual([`${"a".repeat(11)}… (cut)`]);
  });

  it("stay within the memory of all functions: the idlest loses its lines, the others none", () => {
    const { hub } = newHub({ memoryMaxBytes: 2_000 });
    for (const name of ["a", "b", "c"]) {
      hub.recordLogs([logLine({ function: name, text: name.repeat(500) })]);
    }
    hub.callStarted("default", "a");
    hub.recordLogs([logLine({ function: "d", text: "d".repeat(500) })]);
    expect(hub.logs.query({ namespace: "default", function: "b" }).droppedLines).toBe(1);
    const kept = ["a", "c", "d"].map((name) =>
      hub.logs.query({ namespace: "default", function: name }),
    );
    expect(kept.map(({ lines }) => lines.length)).toEqual([1, 1, 1]);
  });

  it("go on after a cursor, and from the start after a foreign one", () => {
    const { hub } = newHub();
    hub.recordLogs(["a", "b", "c"].map((text) => logLine({ text })));
    const { cursors } = hub.logs.query({ namespace: "default" });
    const after = (cursor: string) =>
      texts(hub.logs.query({ namespace: "default", after: cursor }));
    expect(after(cursors[1] ?? "")).toEqual(["c"]);
    expect(after("before-restart")).toEqual(["a", "b", "c"]);
    expect(after("")).toEqual(["a", "b", "c"]);
  });

  it("reach followers of their function and namespace until these stop", () => {
    const { hub } = newHub();
    const seen: string[] = [];
    const stop = hub.logs.follow({ namespace: "default", function: "a" }, ({ text }) => {
      seen.push(text);
    });
    hub.recordLogs([
      logLine({ function: "a", text: "mine" }),
      logLine({ function: "b", text: "another function" }),
      logLine({ namespace: "other", function: "a", text: "another namespace" }),
    ]);
    stop();
    stop();
    hub.recordLogs([logLine({ function: "a", text: "too late" })]);
    expect(seen).toEqual(["mine"]);
  });

  it("lose a follower that throws, and no other", () => {
    const { hub } = newHub();
    const seen: string[] = [];
    hub.logs.follow({ namespace: "default" }, () => {
      throw new TypeError("gone");
    });
    hub.logs.follow({ namespace: "default" }, ({ text }) => seen.push(text));
    hub.recordLogs([logLine({ text: "1" }), logLine({ text: "2" })]);
    expect(seen).toEqual(["1", "2"]);
  });

  it("refuse one follower too many", () => {
    const { hub } = newHub({ followersMax: 1 });
    const stop = hub.logs.follow({ namespace: "default" }, () => {});
    const follow = () => hub.logs.follow({ namespace: "default" }, () => {});
    expect(follow).toThrow(expect.objectContaining({ code: "CAPACITY" }));
    stop();
    expect(follow).not.toThrow();
  });
});

describe("function table", () => {
  it("keeps T1: the sum of its entries, and never more than the budget", () => {
    const action = fc.record({
      name: fc.constantFrom("a", "b", "c", "d"),
      kind: fc.constantFrom("line", "call", "touch", "forget"),
      length: fc.nat(300),
    });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 200 }), (actions) => {
        const limits = {
          ...TELEMETRY_LIMITS,
          memoryMaxBytes: 3_000,
          functionsMax: 3,
          logLinesPerFunction: 4,
          logBytesPerFunction: 500,
          callsPerFunction: 2,
        };
        const table = new FunctionTable(limits);
        for (const [number, { name, kind, length }] of actions.entries()) {
          const entry = table.touch("default", name);
          const line = logLine({ text: "x".repeat(length) });
          if (kind === "line") table.addLine(entry, { number, line });
          if (kind === "call") table.addCall(entry, callRecord());
          if (kind === "forget") table.forget("default", name);
          const entries = table.select("default");
          expect(table.bytes).toBe(entries.reduce((sum, { bytes }) => sum + bytes, 0));
          expect(table.bytes).toBeLessThanOrEqual(limits.memoryMaxBytes);
          expect(table.size).toBe(entries.length);
          expect(table.size).toBeLessThanOrEqual(3);
          for (const { textBytes, lines } of entries) {
            let sum = 0;
            for (let at = 0; at < lines.length; at += 1) sum += lines.at(at)?.line.text.length ?? 0;
            expect(textBytes).toBe(sum);
            expect(sum).toBeLessThanOrEqual(500);
          }
        }
      }),
    );
  });
});

describe("call records", () => {
  it("are answered newest first, by namespace and function", () => {
    const { hub } = newHub();
    for (const [index, name] of ["a", "b", "a"].entries()) {
      const record = { callId: callId(index), function: name, startedAtMs: NOON_MS + index };
      hub.recordCall(callRecord(record));
    }
    const ids = (query: Parameters<typeof hub.calls.query>[0]) =>
      hub.calls.query(query).map((record) => record.callId);
    expect(ids({ namespace: "default" })).toEqual([callId(2), callId(1), callId(0)]);
    expect(ids({ namespace: "default", function: "a", limit: 1 })).toEqual([callId(2)]);
    expect(ids({ namespace: "default", sinceMs: NOON_MS + 1 })).toEqual([callId(2), callId(1)]);
    expect(ids({ namespace: "other" })).toEqual([]);
  });

  it("leave in order beyond the bound of their function", () => {
    const { hub } = newHub({ callsPerFunction: 2 });
    for (let index = 0; index < 3; index += 1) {
      hub.recordCall(callRecord({ callId: callId(index), startedAtMs: NOON_MS + index }));
    }
    hub.recordCall(callRecord({ function: "other", callId: callId(9) }));
    const kept = hub.calls.query({ namespace: "default", function: "hello" });
    expect(kept.map((record) => record.callId)).toEqual([callId(2), callId(1)]);
  });
});

describe("usage", () => {
  it("adds up per function and hour of the end, and is drained once", () => {
    const { hub } = newHub();
    hub.recordCall(callRecord({ wallMs: 2_000, memoryMb: 512, cold: true }));
    hub.recordCall(callRecord({ outcome: "timeout", startedAtMs: NOON_MS + 1, wallMs: 1_000 }));
    hub.recordCall(
      callRecord({ outcome: "canceled", startedAtMs: NOON_MS + HOUR_MS - 1, wallMs: 1 }),
    );
    const drained = hub.usage.drain();
    expect(drained).toEqual([
      {
        namespace: "default",
        function: "hello",
        hourStartMs: NOON_MS,
        calls: 2,
        errors: 1,
        coldStarts: 1,
        wallMs: 3_000,
        gbSeconds: 1.125,
        bytesIn: 200,
        bytesOut: 400,
      },
      expect.objectContaining({ hourStartMs: NOON_MS + HOUR_MS, calls: 1, errors: 0, wallMs: 1 }),
    ]);
    expect(hub.usage.drain()).toEqual([]);
  });

  it("counts every call exactly once, whenever it is drained, restored or forgotten", () => {
    const action = fc.record({
      kind: fc.constantFrom("call", "call", "call", "drain", "fail", "forget"),
      name: fc.constantFrom("a", "b"),
      hour: fc.nat(2),
      wallMs: fc.nat(5_000),
    });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 100 }), (actions) => {
        const { hub } = newHub();
        const kept: { calls: number; wallMs: number }[] = [];
        let calls = 0;
        let wallMs = 0;
        for (const step of actions) {
          if (step.kind === "call") {
            const startedAtMs = NOON_MS + step.hour * HOUR_MS;
            hub.recordCall(callRecord({ function: step.name, startedAtMs, wallMs: step.wallMs }));
            calls += 1;
            wallMs += step.wallMs;
          }
          if (step.kind === "drain") kept.push(...hub.usage.drain());
          if (step.kind === "fail") hub.usage.restore(hub.usage.drain());
          if (step.kind === "forget") hub.forget("default", step.name);
        }
        kept.push(...hub.usage.drain());
        expect(kept.reduce((sum, row) => sum + row.calls, 0)).toBe(calls);
        expect(kept.reduce((sum, row) => sum + row.wallMs, 0)).toBe(wallMs);
      }),
    );
  });

  it("shows what waits, of one namespace, without taking it", () => {
    const { hub } = newHub();
    hub.recordCall(callRecord({ namespace: "mine" }));
    hub.recordCall(callRecord({ namespace: "other" }));
    expect(hub.usage.peek("mine").map((row) => row.calls)).toEqual([1]);
    expect(hub.usage.peek("mine").map((row) => row.calls)).toEqual([1]);
    expect(hub.usage.drain()).toHaveLength(2);
  });

  it("does not share rows that were handed out", () => {
    const { hub } = newHub();
    hub.recordCall(callRecord());
    const [row] = hub.usage.drain();
    hub.recordCall(callRecord());
    expect(row?.calls).toBe(1);
    expect(hub.usage.drain().map(({ calls }) => calls)).toEqual([1]);
  });
});

describe("traces", () => {
  const trace = { traceId: "a".repeat(32), spanId: "1".repeat(16), sampled: true };

  it("show a call's own span with those of its sub-calls, by trace and by call", () => {
    const { hub } = newHub();
    hub.recordSpans([
      span({ traceId: trace.traceId, parentSpanId: trace.spanId, startedAtMs: NOON_MS + 1 }),
    ]);
    hub.recordCall(callRecord({ callId: callId(7) }), trace, "2".repeat(16));
    const byTrace = hub.traces.query({ namespace: "default", traceId: trace.traceId });
    expect(byTrace.map(({ kind, parentSpanId }) => [kind, parentSpanId])).toEqual([
      ["server", "2".repeat(16)],
      ["server", trace.spanId],
    ]);
    expect(hub.traces.query({ namespace: "default", callId: callId(7) })).toEqual(byTrace);
  });

  it("are listed by what was called first, the newest ones in order", () => {
    const { hub } = newHub();
    for (let at = 0; at < 5; at += 1) {
      const own = { ...trace, traceId: String(at).repeat(32) };
      const startedAtMs = NOON_MS + at;
      // A callee ends, and is recorded, before its caller.
      const callee = { function: "callee", parentCallId: callId(at), startedAtMs };
      const outcome = at === 3 ? { outcome: "function_error" as const, status: 500 } : {};
      const below = { ...own, spanId: "9".repeat(16) };
      hub.recordCall(
        callRecord({ ...callee, ...outcome, callId: callId(50 + at) }),
        below,
        own.spanId,
      );
      hub.recordCall(callRecord({ function: "first", callId: callId(at), startedAtMs }), own);
    }
    const list = hub.traces.list({ namespace: "default", limit: 3 });
    expect(list.map(({ traceId, name, spans }) => [traceId[0], name, spans])).toEqual([
      ["2", "first", 2],
      ["3", "first", 2],
      ["4", "first", 2],
    ]);
    expect(list.map(({ error }) => error)).toEqual([undefined, "function_error", undefined]);
    const of = (query: object) => hub.traces.list({ namespace: "default", ...query }).length;
    expect([of({}), of({ limit: 0 }), of({ function: "callee" }), of({ function: "no" })]).toEqual([
      5, 0, 5, 0,
    ]);
    expect(of({ sinceMs: NOON_MS + 1_000_000 })).toBe(0);
    expect(hub.traces.list({ namespace: "other" })).toEqual([]);
  });

  it("show nothing of another namespace, not even within one trace", () => {
    const { hub } = newHub();
    hub.recordCall(callRecord({ namespace: "mine" }), trace);
    hub.recordCall(callRecord({ namespace: "other", callId: callId(3) }), trace);
    const mine = hub.traces.query({ namespace: "mine", traceId: trace.traceId });
    expect(mine.map(({ attributes }) => attributes["isola.namespace"])).toEqual(["mine"]);
    expect(hub.traces.query({ namespace: "mine", callId: callId(3) })).toEqual([]);
  });

  it("begin where the gateway gave none", () => {
    const { hub } = newHub();
    hub.recordCall(callRecord());
    const [own] = hub.traces.query({ namespace: "default", callId: callId(0) });
    expect(own?.traceId).toMatch(/^[0-9a-f]{32}$/);
    expect(own?.spanId).toMatch(/^[0-9a-f]{16}$/);
  });

  it("mark faults as errors, and neither success nor a caller that left", () => {
    const { hub } = newHub();
    const outcomes = ["ok", "function_error", "platform_error", "timeout", "canceled"] as const;
    for (const outcome of outcomes) hub.recordCall(callRecord({ outcome }), trace);
    const spans = hub.traces.query({ namespace: "default", traceId: trace.traceId });
    expect(spans.map(({ error }) => error)).toEqual([
      undefined,
      "function_error",
      "platform_error",
      "timeout",
      undefined,
    ]);
  });

  it("hand every sampled span to the exporter once, and count those it was too late for", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constant("span" as const), fc.nat(9)), { maxLength: 80 }),
        (actions) => {
          const { hub } = newHub({ spansKept: 8 });
          const { source } = hub.traces;
          let made = 0;
          const taken: string[] = [];
          for (const action of actions) {
            if (action === "span") {
              hub.recordSpans([span({ name: `${made}` })]);
              made += 1;
            } else taken.push(...source.take(action).map(({ name }) => name));
            expect(source.waiting).toBeLessThanOrEqual(8);
          }
          expect(new Set(taken).size).toBe(taken.length);
          expect(taken.length + source.waiting + source.lost).toBe(made);
          expect(taken).toEqual([...taken].sort((a, b) => Number(a) - Number(b)));
        },
      ),
    );
  });

  it("keep what the caller did not sample from the exporter, not from the namespace", () => {
    const { hub } = newHub();
    hub.recordCall(callRecord(), { ...trace, sampled: false });
    expect(hub.traces.source.take(9)).toEqual([]);
    expect(hub.traces.query({ namespace: "default", traceId: trace.traceId })).toHaveLength(1);
  });
});

describe("forgetting", () => {
  it("takes lines, records and spans of a function, and keeps its usage and the others", () => {
    const { hub } = newHub();
    for (const name of ["gone", "stays"]) {
      hub.recordCall(callRecord({ function: name }));
      hub.recordLogs([logLine({ function: name, text: name })]);
    }
    hub.forget("default", "gone");
    expect(texts(hub.logs.query({ namespace: "default" }))).toEqual(["stays"]);
    expect(hub.calls.query({ namespace: "default" }).map((call) => call.function)).toEqual([
      "stays",
    ]);
    expect(hub.traces.source.take(9).map(({ name }) => name)).toEqual(["stays"]);
    expect(hub.usage.drain()).toHaveLength(2);
  });
});
