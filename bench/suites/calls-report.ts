/** The tables of `calls`, as plain text. */
import type { Journal } from "../journal.ts";
import type { Provenance } from "../provenance.ts";
import { type Spread, spreadOf } from "../statistics.ts";
import { type Figure, isMet, series, wrkRatios } from "./figures.ts";
import { MANY_CLIENTS } from "./options.ts";

const TARGETS = ["static", "loaded", "prototype", "isola"] as const;

const shown = (value: number): string => {
  if (Number.isNaN(value) || !Number.isFinite(value)) return "–";
  if (value >= 1000) return Math.round(value).toLocaleString("en-US");
  return value.toFixed(value >= 100 ? 0 : 2);
};

const withQuartiles = ({ median, low, high }: Spread): string =>
  `${shown(median)} (${shown(low)}–${shown(high)})`;

function tableOf(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function callTable(journal: Journal): string {
  const header = ["", "clients", "p50 ms", "p99 ms", "calls/s, median (quartiles of rounds)"];
  const rows = [1, MANY_CLIENTS].flatMap((clients) =>
    TARGETS.map((target) => {
      const where = { phase: "calls", target, clients } as const;
      const of = (field: "p50Ms" | "p99Ms" | "callsPerSecond"): Spread =>
        spreadOf(series(journal, where, field));
      return [
        target,
        String(clients),
        shown(of("p50Ms").median),
        shown(of("p99Ms").median),
        withQuartiles(of("callsPerSecond")),
      ];
    }),
  );
  return tableOf([header, ...rows]);
}

/** Where the time goes: CPU of each process for one call. */
function cpuTable(journal: Journal): string {
  const rows = (["prototype", "isola"] as const).flatMap((target) => {
    const loads = journal
      .of("load")
      .filter((record) => record.phase === "calls" && record.target === target)
      .filter(({ clients }) => clients === MANY_CLIENTS);
    const parts = Object.keys(loads[0]?.cpuMicroseconds ?? {}).toSorted();
    const shares = parts.map((part) => {
      const values = loads.map(({ cpuMicroseconds }) => cpuMicroseconds[part] ?? 0);
      return `${part} ${shown(spreadOf(values).median)}`;
    });
    return [[target, shares.join(", ")]];
  });
  return tableOf([[`CPU µs a call, ${MANY_CLIENTS} clients`, ""], ...rows]);
}

function aimOf({ aim, unit }: Figure): string {
  if (aim === undefined) return "";
  return "atLeast" in aim ? `≥ ${aim.atLeast} ${unit}` : `≤ ${aim.atMost} ${unit}`;
}

function figureTable(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => {
    const met = isMet(figure);
    const value = figure.spread ? withQuartiles(figure.spread) : shown(figure.value);
    const judgement = met ? "met" : "MISSED";
    return [
      figure.name,
      `${value} ${figure.unit}`,
      aimOf(figure),
      met === undefined ? "" : judgement,
    ];
  });
  return tableOf([["", "measured", "aim", ""], ...rows]);
}

export function reportOf(
  journal: Journal,
  figures: readonly Figure[],
  faults: readonly string[],
  { commit, dirtyFiles, versions, machine, loadBefore }: Provenance,
): string {
  const wrk = wrkRatios(journal).map(({ target, ratio }) => `${ratio.toFixed(2)} on ${target}`);
  const changes = dirtyFiles === 0 ? "" : `, ${dirtyFiles} files changed`;
  return [
    `Isola ${versions.isola} (${commit.slice(0, 12)}${changes}), workerd ${versions.workerd}, ` +
      `Node ${versions.node}`,
    `${machine.cpu}, ${machine.cores} cores, ` +
      `${Math.round(machine.memoryBytes / 2 ** 30)} GiB, load before ${loadBefore.toFixed(2)}`,
    "",
    callTable(journal),
    "",
    cpuTable(journal),
    "",
    figureTable(figures),
    "",
    ...journal.of("note").map(({ value }) => `note: ${String(value)}`),
    wrk.length > 0
      ? `wrk over our generator: ${wrk.join(", ")}`
      : "wrk is not installed: the generator was not cross-checked",
    faults.length === 0 ? "VALID" : `INVALID: ${faults.join("; ")}`,
  ].join("\n");
}
