/** The tables of `store`, as plain text. */
import type { Journal } from "../journal.ts";
import type { Provenance } from "../provenance.ts";
import { medianInterval, quantile } from "../statistics.ts";
import type { Figure } from "./figures.ts";
import { HAND_OVERS, PLACES, SIZES, caseName } from "./store-cases.ts";
import { cpuPerOperation, perOperation } from "./store-figures.ts";
import { figureTable, originLines, shown, tableOf } from "./tables.ts";

function rowOf(journal: Journal, name: string): readonly string[] | undefined {
  const values = perOperation(journal, name);
  if (values.length === 0) return undefined;
  const { low, high } = medianInterval(values);
  return [
    name,
    shown(quantile(values, 0.5)),
    `${shown(low)}–${shown(high)}`,
    shown(quantile(values, 0.99)),
    String(values.length),
    shown(cpuPerOperation(journal, name)),
  ];
}

function operationTable(journal: Journal): string {
  const values = Object.keys(SIZES).flatMap((size) =>
    ["put", "get"].flatMap((op) => PLACES.map((place) => caseName(place, op, size))),
  );
  const streams = ["putStream", "getStream"].flatMap((op) =>
    PLACES.map((place) => caseName(place, op, "100 MB")),
  );
  const handOvers = HAND_OVERS.map(([op, size]) => caseName("memory", op, size));
  const rows = [...values, ...handOvers, ...streams].flatMap((name) => {
    const row = rowOf(journal, name);
    return row === undefined ? [] : [row];
  });
  return tableOf([
    ["µs an operation", "median", "95 % of it", "p99 of batches", "batches", "CPU µs"],
    ...rows,
  ]);
}

export function storeReportOf(
  journal: Journal,
  figures: readonly Figure[],
  faults: readonly string[],
  origin: Provenance,
): string {
  return [
    ...originLines(origin),
    "",
    operationTable(journal),
    "",
    figureTable(figures),
    "",
    ...journal.of("note").map(({ value }) => `note: ${String(value)}`),
    "p99 is of batches of up to 100 operations, not of operations: workerd has no finer clock.",
    faults.length === 0 ? "VALID" : `INVALID: ${faults.join("; ")}`,
  ].join("\n");
}
