/** Records, lines and spans for tests of telemetry, each with what the test cares about. */
import type { CallRecord, Clock, LogLine, Random, Span } from "../../runtime/contract/index.ts";

/** 2026-11-20 at 12:00 UTC: the start of an hour. */
export const NOON_MS = Date.UTC(2026, 10, 20, 12);

export interface HandClock extends Clock {
  nowMs: number;
}

export function handClock(nowMs = NOON_MS): HandClock {
  return {
    nowMs,
    now() {
      return this.nowMs;
    },
  };
}

/** A generator with a seed (mulberry32). */
export function seededRandom(seed = 1): Random {
  let state = seed;
  const fraction = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  return {
    fraction,
    bytes: (length) => Uint8Array.from({ length }, () => Math.floor(fraction() * 256)),
  };
}

export function callId(index: number): string {
  return (index + 1).toString(16).padStart(32, "0");
}

export function callRecord(fields: Partial<CallRecord> = {}): CallRecord {
  return {
    callId: callId(0),
    namespace: "default",
    function: "hello",
    version: 1,
    backend: "isolate",
    outcome: "ok",
    status: 200,
    cold: false,
    startedAtMs: NOON_MS,
    wallMs: 10,
    queueMs: 1,
    loadMs: 0,
    runMs: 8,
    bytesIn: 100,
    bytesOut: 200,
    memoryMb: 128,
    ...fields,
  };
}

export function logLine(fields: Partial<LogLine> = {}): LogLine {
  return {
    callId: callId(0),
    namespace: "default",
    function: "hello",
    version: 1,
    atMs: NOON_MS,
    level: "info",
    text: "a line",
    ...fields,
  };
}

export function span(fields: Partial<Span> = {}): Span {
  return {
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: "b7ad6b7169203331",
    name: "hello",
    kind: "server",
    startedAtMs: NOON_MS,
    endedAtMs: NOON_MS + 5,
    attributes: { "isola.namespace": "default", "isola.call_id": callId(0) },
    ...fields,
  };
}
