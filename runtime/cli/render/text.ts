/** Tables and quantities for people. */

export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string | number;
  /** Numbers stand to the right. */
  readonly isNumber?: boolean;
}

/** Rows under titles; `empty` if there are none. */
export function table<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  empty: string,
): string {
  if (rows.length === 0) return empty;
  const cells = rows.map((row) => columns.map(({ value }) => String(value(row))));
  const lines = [columns.map(({ title }) => title.toUpperCase()), ...cells];
  const widths = columns.map((_, index) =>
    Math.max(...lines.map((line) => line[index]?.length ?? 0)),
  );
  return lines
    .map((line) =>
      line
        .map((cell, index) => {
          const width = widths[index] ?? 0;
          return columns[index]?.isNumber === true ? cell.padStart(width) : cell.padEnd(width);
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** `name: value` lines, values in one column; undefined values are left out. */
export function fields(pairs: readonly (readonly [string, string | number | undefined])[]): string {
  const shown = pairs.filter(([, value]) => value !== undefined);
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${name.padEnd(width)}  ${String(value)}`).join("\n");
}

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(count: number): string {
  let [amount, unit] = [count, 0];
  while (amount >= 1_024 && unit < BYTE_UNITS.length - 1) {
    amount /= 1_024;
    unit += 1;
  }
  const digits = unit === 0 || amount >= 100 ? 0 : 1;
  return `${amount.toFixed(digits)} ${BYTE_UNITS[unit] ?? ""}`;
}

export function milliseconds(ms: number): string {
  if (ms < 1_000) return `${String(Math.round(ms))} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  return span(ms);
}

/** A time to come, to the second. */
export function instant(atMs: number | null): string {
  return atMs === null ? "never" : `${new Date(atMs).toISOString().slice(0, 19)}Z`;
}

const SPANS: readonly (readonly [number, string])[] = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "m"],
  [1_000, "s"],
];

/** The two largest units: `3d 4h`, `5m 2s`, `0s`. */
export function span(ms: number): string {
  const start = SPANS.findIndex(([unit]) => ms >= unit);
  if (start === -1) return "0s";
  let rest = ms;
  const parts: string[] = [];
  for (const [unit, letter] of SPANS.slice(start, start + 2)) {
    const count = Math.floor(rest / unit);
    if (count > 0) parts.push(`${String(count)}${letter}`);
    rest -= count * unit;
  }
  return parts.join(" ");
}

/** How long ago. */
export function age(atMs: number): string {
  return atMs === 0 ? "-" : `${span(Math.max(0, Date.now() - atMs))} ago`;
}

export function shares(traffic: readonly { version: number; percent: number }[]): string {
  return traffic
    .map(({ version, percent }) => `v${String(version)} ${String(percent)}%`)
    .join(", ");
}
