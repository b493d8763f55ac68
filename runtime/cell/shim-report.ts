/**
 * What a tenant's isolate reports, which tenant code may have written: nothing of it is trusted.
 */
import {
  type ErrorData,
  LIMITS,
  type RunResult,
  type ShimLine,
  type ShimReport,
  type ThrownData,
  parseErrorData,
} from "../contract/index.ts";

const LEVELS: ReadonlySet<unknown> = new Set(["debug", "info", "warn", "error"]);

/** Lines that have the shape and size of lines. */
export function checkLines(lines: unknown): ShimLine[] {
  if (!Array.isArray(lines)) return [];
  return lines.slice(0, LIMITS.logLinesPerFlush + 1).filter(isLine);
}

function isLine(value: unknown): value is ShimLine {
  const line = (value ?? {}) as Partial<ShimLine>;
  return (
    typeof line.text === "string" &&
    line.text.length <= LIMITS.logLineMaxBytes + 16 &&
    Number.isFinite(line.atMs) &&
    LEVELS.has(line.level)
  );
}

/** The report on an answer; empty if it is none. */
export function parseReport(header: string): ShimReport {
  let report: Partial<Record<keyof ShimReport, unknown>> | null;
  try {
    report = JSON.parse(header) as typeof report;
  } catch {
    return {};
  }
  const error = parseErrorData(report?.error);
  const thrown = checkThrown(report?.thrown);
  return {
    logs: checkLines(report?.logs),
    ...(error ? { error } : {}),
    ...(thrown ? { thrown } : {}),
  };
}

/** A result of `run`; undefined if it is none. */
export function checkResult(value: unknown): RunResult | undefined {
  const result = (value ?? {}) as { ok?: unknown; value?: unknown; logs?: unknown };
  const logs = checkLines(result.logs);
  if (result.ok === true) return { ok: true, value: result.value, logs };
  const failure = result as { error?: unknown; thrown?: unknown };
  const error: ErrorData | undefined = parseErrorData(failure.error);
  if (!error) return undefined;
  const thrown = checkThrown(failure.thrown);
  return { ok: false, error, ...(thrown ? { thrown } : {}), logs };
}

function checkThrown(value: unknown): ThrownData | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { name, message, stack } = value as Partial<Record<keyof ThrownData, unknown>>;
  return { name: textOf(name), message: textOf(message), stack: textOf(stack) };
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value.slice(0, LIMITS.logLineMaxBytes) : "";
}
