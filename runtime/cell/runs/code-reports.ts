/** What an isolate says of its session, which tenant code may have written: shapes only. */
import type { CodeError, CodeOutcome, CodeReport } from "../../contract/index.ts";

/** Reports of one exchange; an isolate that says more in one turn says it in several. */
const REPORTS_MAX = 10_000;
const TEXT_MAX_CHARACTERS = 2_000;

type Fields = Readonly<Partial<Record<string, unknown>>>;

/** What is none is left out. */
export function checkReports(said: unknown): CodeReport[] {
  if (!Array.isArray(said)) return [];
  return said.slice(0, REPORTS_MAX).flatMap((one): CodeReport[] => {
    const report = checkReport((one ?? {}) as Fields);
    return report ? [report] : [];
  });
}

function checkReport(said: Fields): CodeReport | undefined {
  const { type, step, token, operation, input, outcome, quietMs } = said;
  switch (type) {
    case "called":
      if (typeof step !== "string") return undefined;
      return { type, step, operation, ...(input !== undefined && { input }) };
    case "settled":
      if (typeof step !== "string" || typeof token !== "number") return undefined;
      return { type, step, token, outcome: checkOutcome(outcome) };
    case "ended":
      return { type, outcome: checkOutcome(outcome) };
    case "idle":
      return { type, quietMs: typeof quietMs === "number" ? quietMs : 0 };
    default:
      return undefined;
  }
}

function checkOutcome(said: unknown): CodeOutcome {
  const { ok, output, error, retryAfterMs } = (said ?? {}) as Fields;
  if (ok === true) return { ok, output };
  const isDelay = typeof retryAfterMs === "number" && retryAfterMs >= 0;
  return { ok: false, error: checkError(error), ...(isDelay && { retryAfterMs }) };
}

function checkError(said: unknown): CodeError {
  const { name, message, code, isFinal } = (said ?? {}) as Fields;
  return {
    name: textOf(name, "Error"),
    message: textOf(message, ""),
    ...(typeof code === "string" && { code: textOf(code, "") }),
    ...(isFinal === true && { isFinal }),
  };
}

function textOf(said: unknown, fallback: string): string {
  return typeof said === "string" ? said.slice(0, TEXT_MAX_CHARACTERS) : fallback;
}
