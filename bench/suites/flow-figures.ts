/** The figures of `flows` that have an aim, from the journal alone, and the verdict on the run. */
import type { FlowTargetName } from "../flow-targets.ts";
import type { FlowRecord, Journal, LoadRecord } from "../journal.ts";
import { medianInterval, quantile, ratios, slopeOf, spreadOf } from "../statistics.ts";
import { type Figure, series } from "./figures.ts";

const BUSY_MAX = 0.9;
const KIB = 1_024;

type Aim = NonNullable<Figure["aim"]>;

/** Median over rounds with its interval; nothing without rounds. */
function figure(name: string, values: readonly number[], unit: string, aim?: Aim): Figure[] {
  if (values.length === 0) return [];
  return [
    {
      name,
      value: quantile(values, 0.5),
      unit,
      spread: spreadOf(values),
      interval: medianInterval(values),
      ...(aim && { aim }),
    },
  ];
}

/** A field of FizzBuzz under load, round by round. */
export function ofLoad(
  journal: Journal,
  target: FlowTargetName,
  clients: number,
  field: "callsPerSecond" | "p50Ms" | "p99Ms",
): readonly number[] {
  return series(journal, { phase: "fizzbuzz", target, clients }, field);
}

/** The median time of one composition of a size, round by round. */
export function ofShape(
  journal: Journal,
  where: Pick<FlowRecord, "composition" | "target" | "size">,
): readonly number[] {
  return journal
    .of("flow")
    .filter(({ composition, target, size }) => {
      return composition === where.composition && target === where.target && size === where.size;
    })
    .toSorted((a, b) => a.round - b.round)
    .map(({ elapsedMs }) => elapsedMs);
}

/** Milliseconds a step of a chain: the slope over its lengths, round by round. */
export function ofStep(
  journal: Journal,
  target: FlowTargetName,
  field: "elapsedMs" | "cpuMs" = "elapsedMs",
): readonly number[] {
  const records = journal
    .of("flow")
    .filter((record) => record.composition === "chain" && record.target === target);
  const rounds = [...new Set(records.map(({ round }) => round))].toSorted((a, b) => a - b);
  return rounds.flatMap((round) => {
    const points = records
      .filter((record) => record.round === round)
      .map((record): [number, number] => [record.size, record[field]]);
    return points.length < 2 ? [] : slopeOf(points);
  });
}

function rateFigures(journal: Journal): readonly Figure[] {
  const of = (target: FlowTargetName, clients: number): readonly number[] =>
    ofLoad(journal, target, clients, "callsPerSecond");
  const ratio = (target: FlowTargetName, other: FlowTargetName, clients: number, aim?: Aim) =>
    figure(
      `FizzBuzz, ${clients} clients: ${target}, of ${other}'s rate`,
      ratios(of(target, clients), of(other, clients)),
      "×",
      aim,
    );
  const p50 = (target: FlowTargetName): readonly number[] => ofLoad(journal, target, 1, "p50Ms");
  return [
    ...ratio("isola, step", "prototype, step", 32, { atLeast: 0.5 }),
    ...figure(
      "FizzBuzz, 1 client: isola, step, of prototype, step's p50",
      ratios(p50("isola, step"), p50("prototype, step")),
      "×",
      { atMost: 1.7 },
    ),
    ...ratio("isola, step", "restate", 32, { atLeast: 8 }),
    ...ratio("isola, step", "bundled", 32, { atLeast: 20 }),
    ...ratio("isola, run", "prototype, run", 32),
    ...ratio("isola, code", "prototype, step", 32),
    ...ratio("isola, step", "by hand", 32),
    ...ratio("isola, step", "restate", 1),
    ...ratio("isola, step", "restate", 128),
    ...ratio("isola, step", "bundled", 128),
  ];
}

function stepFigures(journal: Journal): readonly Figure[] {
  const own = ofStep(journal, "isola, step");
  const ratio = (other: FlowTargetName, aim?: Aim): Figure[] =>
    figure(
      `step in sequence: isola, step, of ${other}'s`,
      ratios(own, ofStep(journal, other)),
      "×",
      aim,
    );
  return [
    ...ratio("prototype, step", { atMost: 2 }),
    ...figure("step in sequence: isola, run", ofStep(journal, "isola, run"), "ms", { atMost: 0.2 }),
    ...figure("step in sequence: isola, step", own, "ms"),
    ...ratio("restate"),
    ...ratio("bundled"),
  ];
}

function fanFigures(journal: Journal): readonly Figure[] {
  return (["isola, step", "isola, run"] as const).flatMap((target) =>
    figure(
      `fan-out of 1,000: ${target}`,
      ofShape(journal, { composition: "fan", target, size: 1_000 }),
      "ms",
      target === "isola, step" ? { atMost: 300 } : undefined,
    ),
  );
}

function creationFigures(journal: Journal): readonly Figure[] {
  const of = (target: FlowTargetName): readonly number[] =>
    series(journal, { phase: "creation", target, clients: 32 }, "callsPerSecond");
  const own = of("isola, step");
  const ratio = (other: FlowTargetName): Figure[] =>
    figure(`creation of runs: isola, step, of ${other}'s rate`, ratios(own, of(other)), "×");
  return [
    ...figure("creation of runs: isola, step", own, "/s"),
    ...(["prototype, step", "restate", "bundled"] as const).flatMap(ratio),
  ];
}

function stateFigures(journal: Journal): readonly Figure[] {
  const disk = (target: FlowTargetName, aim?: Aim): Figure[] => {
    const records = journal.of("disk").filter((record) => record.target === target);
    if (records.length < 2) return [];
    const slope = slopeOf(records.map(({ runs, bytes }) => [runs, bytes])) / KIB;
    const name = `on disk per finished run: ${target}`;
    return [{ name, value: slope, unit: "KiB", ...(aim && { aim }) }];
  };
  const records = journal.of("waiting");
  const points = records.map((record): [number, number] => [record.runs, record.anonymousBytes]);
  const memory: Figure = {
    name: `memory per waiting run, ${records.at(0)?.runs ?? 0} to ${records.at(-1)?.runs ?? 0}`,
    value: slopeOf(points) / KIB,
    unit: "KiB",
    aim: { atMost: 1 },
  };
  const recoveries = journal.of("recovery");
  const sinceMs = recoveries.map(({ firstStepMs, restartMs }) => firstStepMs - restartMs);
  return [
    ...disk("isola, step", { atMost: 10 }),
    ...disk("isola, run", { atMost: 10 }),
    ...disk("isola, code"),
    ...(points.length < 2 ? [] : [memory]),
    ...figure(
      "kill -9 of the cell → first further step",
      recoveries.map(({ firstStepMs }) => firstStepMs),
      "ms",
    ),
    ...figure("the new cell's process → first further step", sinceMs, "ms", { atMost: 1_000 }),
  ];
}

/** Aims of issue and README. */
export function flowFiguresOf(journal: Journal): readonly Figure[] {
  return [
    ...rateFigures(journal),
    ...stepFigures(journal),
    ...fanFigures(journal),
    ...creationFigures(journal),
    ...stateFigures(journal),
  ].filter(({ value }) => !Number.isNaN(value));
}

const shownLoad = ({ phase, target, clients, round }: LoadRecord): string =>
  `${phase} of ${target} with ${clients} clients, round ${round}`;

/** Why the run proves nothing; empty if it is valid. */
export function flowFaultsOf(journal: Journal): readonly string[] {
  const loads = journal.of("load");
  const wrongLoads = loads.filter(({ errors }) => errors > 0);
  const empty = loads.filter(({ callsPerSecond }) => !(callsPerSecond > 0));
  const busy = loads.filter((record) => record.busy > BUSY_MAX);
  const wrongShapes = journal.of("flow").filter(({ wrong }) => wrong > 0);
  const lost = journal.of("recovery").filter(({ wrong }) => wrong > 0);
  return [
    ...wrongLoads.map((record) => `wrong answers: ${shownLoad(record)}`),
    ...empty.map((record) => `no answer: ${shownLoad(record)}`),
    ...busy.map((record) => `the generator was saturated: ${shownLoad(record)}`),
    ...wrongShapes.map(
      ({ composition, size, target }) => `wrong answers: ${composition} of ${size}, ${target}`,
    ),
    ...lost.map(({ wrong, round }) => `${wrong} runs were lost with their cell, round ${round}`),
  ];
}
