/** The tables of `flows`, as plain text. */
import { FLOW_TARGETS, type FlowTargetName } from "../flow-targets.ts";
import type { Journal, LoadRecord } from "../journal.ts";
import type { Provenance } from "../provenance.ts";
import { quantile, spreadOf } from "../statistics.ts";
import { type Figure, series } from "./figures.ts";
import { ofLoad, ofShape, ofStep } from "./flow-figures.ts";
import { figureTable, originLines, shown, tableOf, withQuartiles } from "./tables.ts";

const median = (values: readonly number[]): string => shown(quantile(values, 0.5));

const fizzbuzzOf = (journal: Journal): readonly LoadRecord[] =>
  journal.of("load").filter(({ phase }) => phase === "fizzbuzz");

/** Each once, in their order. */
const numbersOf = (values: readonly number[]): readonly number[] =>
  [...new Set(values)].toSorted((a, b) => a - b);

/** Targets that were measured, in their order. */
function present(journal: Journal): readonly FlowTargetName[] {
  const measured = new Set<string>(journal.of("load").map(({ target }) => target));
  return FLOW_TARGETS.filter((name) => measured.has(name));
}

function loadTable(journal: Journal): string {
  const header = ["FizzBuzz", "clients", "p50 ms", "p99 ms", "runs/s (quartiles)", "CPU µs a run"];
  const rows = numbersOf(fizzbuzzOf(journal).map(({ clients }) => clients)).flatMap((clients) =>
    present(journal).map((target) => {
      const of = (field: Parameters<typeof ofLoad>[3]): readonly number[] =>
        ofLoad(journal, target, clients, field);
      return [
        target,
        String(clients),
        median(of("p50Ms")),
        median(of("p99Ms")),
        withQuartiles(spreadOf(of("callsPerSecond"))),
        cpuOf(journal, target, clients),
      ];
    }),
  );
  return tableOf([header, ...rows]);
}

function cpuOf(journal: Journal, target: string, clients: number): string {
  const loads = fizzbuzzOf(journal).filter(
    (record) => record.target === target && record.clients === clients,
  );
  const parts = Object.keys(loads[0]?.cpuMicroseconds ?? {}).toSorted();
  return parts
    .map((part) => {
      const values = loads.map(({ cpuMicroseconds }) => cpuMicroseconds[part] ?? 0);
      return { part, micros: quantile(values, 0.5) };
    })
    .filter(({ micros }) => micros > 1)
    .map(({ part, micros }) => `${part} ${Math.round(micros)}`)
    .join(", ");
}

function shapeTable(journal: Journal): string {
  const sizes = (["chain", "fan"] as const).flatMap((composition) =>
    numbersOf(
      journal
        .of("flow")
        .filter((record) => record.composition === composition)
        .map(({ size }) => size),
    ).map((size) => ({ composition, size })),
  );
  const header = [
    "ms",
    ...sizes.map(({ composition, size }) => `${composition} ${size}`),
    "a step",
    "CPU a step",
  ];
  const rows = present(journal).map((target) => [
    target,
    ...sizes.map((shape) => median(ofShape(journal, { ...shape, target }))),
    median(ofStep(journal, target)),
    median(ofStep(journal, target, "cpuMs")),
  ]);
  return tableOf([header, ...rows]);
}

function creationTable(journal: Journal): string {
  const rows = present(journal).flatMap((target) => {
    const rates = series(journal, { phase: "creation", target, clients: 32 }, "callsPerSecond");
    return rates.length === 0 ? [] : [[target, withQuartiles(spreadOf(rates))]];
  });
  return tableOf([["runs begun a second, 32 clients", "(quartiles)"], ...rows]);
}

export function flowReportOf(
  journal: Journal,
  figures: readonly Figure[],
  faults: readonly string[],
  origin: Provenance,
): string {
  return [
    ...originLines(origin),
    "",
    loadTable(journal),
    "",
    shapeTable(journal),
    "",
    creationTable(journal),
    "",
    figureTable(figures),
    "",
    ...journal.of("note").map(({ value }) => `note: ${String(value)}`),
    faults.length === 0 ? "VALID" : `INVALID: ${faults.join("; ")}`,
  ].join("\n");
}
