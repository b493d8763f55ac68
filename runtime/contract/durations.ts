/** Lengths of time as people write them: `10m`, `1h30m`, `250ms`, or bare seconds. */
const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

const WHOLE = /^(\d+(\.\d+)?(ms|s|m|h|d))+$/;
const PART = /(\d+(?:\.\d+)?)(ms|s|m|h|d)/g;
const SECONDS = /^\d+(\.\d+)?$/;

/** What `parseDurationMs` takes, for messages. */
export const DURATION_FORM = "a length of time such as 250ms, 30s, 10m, 24h or 7d";

/** Milliseconds, or undefined if the text is no length of time. */
export function parseDurationMs(text: string): number | undefined {
  const compact = text.trim().toLowerCase();
  if (SECONDS.test(compact)) return Math.round(Number(compact) * 1_000);
  if (!WHOLE.test(compact)) return undefined;
  let totalMs = 0;
  for (const [, amount, unit = ""] of compact.matchAll(PART)) {
    totalMs += Number(amount) * (UNIT_MS[unit] ?? 0);
  }
  return Math.round(totalMs);
}
