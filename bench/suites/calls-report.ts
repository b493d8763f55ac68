/** The tables of `calls`, as plain text. */
import type { Journal } from "../journal.ts";
import type { Provenance } from "../provenance.ts";
import { type Spread, spreadOf } from "../statistics.ts";
import { type Figure, series, wrkRatios } from "./figures.ts";
import { MANY_CLIENTS } from "./options.ts";
import { figureTable, originLines, shown, tableOf, withQuartiles } from "./tables.ts";

const TARGETS = ["static", "loaded", "prototype", "isola"] as const;

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

export function reportOf(
  journal: Journal,
  figures: readonly Figure[],
  faults: readonly string[],
  origin: Provenance,
): string {
  const wrk = wrkRatios(journal).map(({ target, ratio }) => `${ratio.toFixed(2)} on ${target}`);
  return [
    ...originLines(origin),
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
