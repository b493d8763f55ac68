/** The store's figures that have an aim, from the journal alone, and the verdict on the run. */
import type { BatchRecord, Journal } from "../journal.ts";
import { medianInterval, quantile, ratios, spreadOf } from "../statistics.ts";
import type { Figure } from "./figures.ts";
import { caseName } from "./store-cases.ts";

const MICROSECONDS = 1_000;
const BYTES_PER_GB = 1e9;
/** The same case twice in one run: further apart than this, and the machine was not to be used. */
const CONTROL_MAX = 0.1;

function recordsOf(journal: Journal, name: string, isEmpty: boolean): readonly BatchRecord[] {
  return journal
    .of("batch")
    .filter((record) => record.name === name && (record.count === 0) === isEmpty)
    .toSorted((a, b) => a.round - b.round);
}

/**
 * Microseconds an operation, batch by batch. What goes around the operations is taken off: the
 * median of the batches of the same case that had none.
 */
export function perOperation(journal: Journal, name: string): readonly number[] {
  const emptyMs = recordsOf(journal, name, true).map(({ elapsedMs }) => elapsedMs);
  const aroundMs = quantile(emptyMs, 0.5);
  return recordsOf(journal, name, false).map(
    ({ elapsedMs, count }) => ((elapsedMs - aroundMs) / count) * MICROSECONDS,
  );
}

/** CPU microseconds an operation over all rounds, of function and store together. */
export function cpuPerOperation(journal: Journal, name: string): number {
  const sum = (isEmpty: boolean): number =>
    recordsOf(journal, name, isEmpty).reduce((total, { cpuMs }) => total + cpuMs, 0);
  const operations = recordsOf(journal, name, false).reduce((all, { count }) => all + count, 0);
  return ((sum(false) - sum(true)) / operations) * MICROSECONDS;
}

function timeFigure(journal: Journal, name: string, atMost: number): Figure[] {
  const values = perOperation(journal, name);
  if (values.length === 0) return [];
  return [
    {
      name,
      value: quantile(values, 0.5),
      unit: "µs",
      spread: spreadOf(values),
      interval: medianInterval(values),
      aim: { atMost },
    },
  ];
}

function ratioFigure(
  journal: Journal,
  label: string,
  names: readonly [above: string, below: string],
  aim?: Figure["aim"],
): Figure[] {
  const [above, below] = names.map((name) => perOperation(journal, name));
  return ratioOf(label, ratios(above ?? [], below ?? []), aim);
}

function ratioOf(label: string, values: readonly number[], aim?: Figure["aim"]): Figure[] {
  if (values.length === 0) return [];
  return [
    {
      name: label,
      value: quantile(values, 0.5),
      unit: "×",
      spread: spreadOf(values),
      interval: medianInterval(values),
      ...(aim === undefined ? {} : { aim }),
    },
  ];
}

/** Of the mean of what was measured right before and right after, which takes the drift off. */
function expiryFigure(journal: Journal, op: "put" | "get"): Figure[] {
  const [before = [], values = [], after = []] = ["plain", "ttl", "again"].map((place) =>
    perOperation(journal, caseName(place, op, "1 KB")),
  );
  const without = before.flatMap((one, round) => (one + (after[round] ?? Number.NaN)) / 2);
  const label = `${op} 1 KB with expiry, of without`;
  return ratioOf(label, ratios(values, without), { atMost: 1.05 });
}

/** What the first takes more than the second, round by round. */
function differenceFigure(
  journal: Journal,
  label: string,
  names: readonly [whole: string, part: string],
): Figure[] {
  const [whole = [], part = []] = names.map((name) => perOperation(journal, name));
  const values = whole.flatMap((value, round) => value - (part[round] ?? Number.NaN));
  if (values.length === 0 || part.length === 0) return [];
  const value = quantile(values, 0.5);
  return [
    { name: label, value, unit: "µs", spread: spreadOf(values), interval: medianInterval(values) },
  ];
}

function streamFigure(journal: Journal, op: string, aim?: Figure["aim"]): Figure[] {
  const name = caseName("memory", op, "100 MB");
  const sizeBytes = recordsOf(journal, name, false)[0]?.sizeBytes ?? 0;
  // Bytes a microsecond, in GB a second.
  const values = perOperation(journal, name).map(
    (micros) => (sizeBytes / micros) * (1e6 / BYTES_PER_GB),
  );
  if (values.length === 0) return [];
  return [
    {
      name,
      value: quantile(values, 0.5),
      unit: "GB/s",
      spread: spreadOf(values),
      interval: medianInterval(values),
      ...(aim === undefined ? {} : { aim }),
    },
  ];
}

const get = (place: string): string => caseName(place, "get", "1 KB");
const put = (place: string): string => caseName(place, "put", "1 KB");

/** Aims of issue and README. */
export function storeFiguresOf(journal: Journal): readonly Figure[] {
  return [
    ...timeFigure(journal, get("memory"), 60),
    ...ratioFigure(journal, "redis get 1 KB, of memory's", [get("redis"), get("memory")], {
      atLeast: 3,
    }),
    ...ratioFigure(journal, "s3 get 1 KB, of memory's", [get("s3"), get("memory")], {
      atLeast: 15,
    }),
    ...ratioFigure(journal, "r2 get 1 KB, of memory's", [get("r2"), get("memory")]),
    ...ratioFigure(journal, "redis put 1 KB, of memory's", [put("redis"), put("memory")]),
    ...ratioFigure(journal, "s3 put 1 KB, of memory's", [put("s3"), put("memory")]),
    ...ratioFigure(journal, "r2 put 1 KB, of memory's", [put("r2"), put("memory")]),
    ...ratioFigure(journal, "redis put 1 KB, of disk's", [put("redis"), put("disk")]),
    ...timeFigure(journal, caseName("memory", "handOver", "64 KB"), 250),
    ...differenceFigure(journal, "of it beside the call", [
      caseName("memory", "handOver", "64 KB"),
      caseName("memory", "call", "100 B"),
    ]),
    ...streamFigure(journal, "getStream", { atLeast: 1.5 }),
    ...streamFigure(journal, "putStream"),
    ...expiryFigure(journal, "put"),
    ...expiryFigure(journal, "get"),
    ...ratioFigure(journal, "control: get 1 KB, of the same", [get("again"), get("plain")]),
  ];
}

/** Why the run proves nothing; empty if it is valid. */
export function storeFaultsOf(journal: Journal): readonly string[] {
  const batches = journal.of("batch");
  const wrong = batches.filter(({ octets, wantedOctets }) => octets !== wantedOctets);
  const names = [...new Set(batches.map(({ name }) => name))];
  const negative = names.filter((name) => !(quantile(perOperation(journal, name), 0.5) > 0));
  const control = storeFiguresOf(journal).find(({ name }) => name.startsWith("control"));
  const isApart = control !== undefined && Math.abs(control.value - 1) > CONTROL_MAX;
  return [
    ...wrong.map(
      ({ name, octets, wantedOctets }) => `${name}: read ${octets} of ${wantedOctets} octets`,
    ),
    ...negative.map((name) => `${name}: no longer than nothing`),
    ...(isApart ? [`the same case differs from itself by ${control.value.toFixed(2)} ×`] : []),
  ];
}
