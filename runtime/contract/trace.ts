/** W3C trace context, level 1: `00-<trace id>-<span id>-<flags>`. */
import type { Random } from "./clock.ts";
import { toHex } from "./ids.ts";

export interface TraceContext {
  /** 32 hex digits, not all zero. */
  readonly traceId: string;
  /** 16 hex digits, not all zero. */
  readonly spanId: string;
  readonly sampled: boolean;
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const ZERO_TRACE = "0".repeat(32);
const ZERO_SPAN = "0".repeat(16);

/** Undefined for anything the standard calls invalid; the caller then begins a trace. */
export function parseTraceparent(text: string | null | undefined): TraceContext | undefined {
  if (!text || text.length < 55) return undefined;
  const match = TRACEPARENT.exec(text);
  if (!match) return undefined;
  const [, version, traceId, spanId, flags, rest] = match;
  if (version === "ff" || (version === "00" && rest !== undefined)) return undefined;
  if (!traceId || !spanId || !flags) return undefined;
  if (traceId === ZERO_TRACE || spanId === ZERO_SPAN) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

export function formatTraceparent(trace: TraceContext): string {
  return `00-${trace.traceId}-${trace.spanId}-${trace.sampled ? "01" : "00"}`;
}

export function newTrace(random: Random): TraceContext {
  const hex = toHex(random.bytes(24));
  return { traceId: hex.slice(0, 32), spanId: hex.slice(32), sampled: true };
}

/** The same trace with a span of its own. */
export function childTrace(parent: TraceContext, random: Random): TraceContext {
  return { traceId: parent.traceId, spanId: toHex(random.bytes(8)), sampled: parent.sampled };
}

/**
 * The trace of a run and its own span: made of its id, so that whoever makes an attempt, after
 * whatever crash, hangs it under the same one.
 *
 * @param traceparent of the request that began the run.
 */
export function traceOfRun(id: string, traceparent: string | undefined): TraceContext {
  const caller = parseTraceparent(traceparent);
  const traceId = caller?.traceId ?? [1, 2, 3, 4].map((seed) => hash32(id, seed)).join("");
  return { traceId, spanId: spanOfRun(id), sampled: caller?.sampled ?? true };
}

/** Id of a run's own span. */
export function spanOfRun(id: string): string {
  return hash32(id, 5) + hash32(id, 6);
}

/** FNV-1a with a seed, as 8 hex digits, never all zero. */
function hash32(text: string, seed: number): string {
  let hash = 0x811c_9dc5 ^ Math.imul(seed, 0x9e37_79b1);
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x0100_0193);
  }
  return (hash >>> 0 || 1).toString(16).padStart(8, "0");
}
