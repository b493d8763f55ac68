/** The figures that have an aim, computed from the journal, and the verdict on the run. */
import type { Journal, LoadRecord } from "../journal.ts";
import {
  type Interval,
  type Spread,
  medianInterval,
  quantile,
  ratios,
  slopeOf,
  spreadOf,
} from "../statistics.ts";
import { type CallsOptions, MANY_CLIENTS } from "./options.ts";

const MEGABYTE = 1_000_000;
const BUSY_MAX = 0.9;
/** wrk may find this much more than we do before our generator counts as the bottleneck. */
const WRK_RATIO_MAX = 1.25;
/** What the ratio is about; the others are so fast that any generator shares their cores. */
const CROSS_CHECKED = new Set(["prototype", "isola"]);

/** Platforms of the phase `scale`. */
export const FEW = "isola, few functions";
export const MANY = "isola, many functions";

export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly spread?: Spread;
  /** 95 % interval of the median over rounds. */
  readonly interval?: Interval;
  /** What issue and README promise; absent for what is only reported. */
  readonly aim?: { readonly atLeast: number } | { readonly atMost: number };
}

export function isMet({ value, aim }: Figure): boolean | undefined {
  if (aim === undefined) return undefined;
  return "atLeast" in aim ? value >= aim.atLeast : value <= aim.atMost;
}

type Field = "callsPerSecond" | "p50Ms" | "p99Ms";

export function series(
  journal: Journal,
  where: Pick<LoadRecord, "phase" | "target" | "clients">,
  field: Field,
): readonly number[] {
  return journal
    .of("load")
    .filter((record) => record.phase === where.phase && record.target === where.target)
    .filter((record) => record.clients === where.clients)
    .toSorted((a, b) => a.round - b.round)
    .map((record) => record[field]);
}

function ratioOf(journal: Journal, clients: number, field: Field): Spread {
  const of = (target: string): readonly number[] =>
    series(journal, { phase: "calls", target, clients }, field);
  return spreadOf(ratios(of("isola"), of("prototype")));
}

function callFigures(journal: Journal): readonly Figure[] {
  const many = ratioOf(journal, MANY_CLIENTS, "callsPerSecond");
  const one = ratioOf(journal, 1, "p50Ms");
  return [
    {
      name: `calls a second, ${MANY_CLIENTS} clients, of the prototype's`,
      value: many.median,
      unit: "×",
      spread: many,
      aim: { atLeast: 0.7 },
    },
    {
      name: "p50, 1 client, of the prototype's",
      value: one.median,
      unit: "×",
      spread: one,
      aim: { atMost: 1.5 },
    },
  ];
}

function row(name: string, values: readonly number[], fraction: number): Figure {
  return { name, value: quantile(values, fraction), unit: "ms" };
}

function startFigures(journal: Journal): readonly Figure[] {
  const of = (target: string) =>
    journal.of("start").filter((record) => record.target === target && record.cold);
  const first = of("isola").map(({ firstAnswerMs }) => firstAnswerMs);
  const whole = of("isola").map(({ deployMs = 0, firstAnswerMs }) => deployMs + firstAnswerMs);
  const bare = of("prototype").map(({ firstAnswerMs }) => firstAnswerMs);
  return [
    { ...row("cold isolate, first answer, p50", first, 0.5), aim: { atMost: 20 } },
    row("cold isolate, first answer, p99", first, 0.99),
    row("cold isolate of the prototype, p50", bare, 0.5),
    row("deploy → first answer, p50", whole, 0.5),
    row("deploy → first answer, p99", whole, 0.99),
  ];
}

function memoryFigures(journal: Journal): readonly Figure[] {
  return ["isola", "prototype"].flatMap((target) => {
    const records = journal.of("memory").filter((record) => record.target === target);
    if (records.length < 2) return [];
    const slope = (field: "pssBytes" | "anonymousBytes"): number =>
      slopeOf(records.map((record) => [record.isolates, record[field]])) / MEGABYTE;
    const aim = target === "isola" ? { aim: { atMost: 3 } } : {};
    return [
      { name: `memory per isolate, ${target}, PSS`, value: slope("pssBytes"), unit: "MB", ...aim },
      { name: `the same, anonymous`, value: slope("anonymousBytes"), unit: "MB" },
    ];
  });
}

function scaleFigures(journal: Journal, { functions }: CallsOptions): readonly Figure[] {
  const of = (target: string): readonly number[] =>
    series(journal, { phase: "scale", target, clients: MANY_CLIENTS }, "callsPerSecond");
  const rounds = ratios(of(MANY), of(FEW));
  const name = `calls a second with ${functions} functions deployed, of those with few`;
  const interval = medianInterval(rounds);
  const value = quantile(rounds, 0.5);
  return [{ name, value, unit: "×", interval, aim: { atLeast: 0.95 } }];
}

export function figuresOf(journal: Journal, options: CallsOptions): readonly Figure[] {
  return [
    ...callFigures(journal),
    ...startFigures(journal),
    ...memoryFigures(journal),
    ...scaleFigures(journal, options),
  ].filter(({ value }) => !Number.isNaN(value));
}

/** Calls a second by wrk over those by our generator right before: the median for each target. */
export function wrkRatios(
  journal: Journal,
): readonly { readonly target: string; readonly ratio: number }[] {
  const records = journal.of("wrk");
  return [...new Set(records.map(({ target }) => target))].map((target) => {
    const own = records.filter((record) => record.target === target);
    const all = own.map((record) => record.callsPerSecond / record.ownCallsPerSecond);
    return { target, ratio: quantile(all, 0.5) };
  });
}

/** Why the run proves nothing; empty if it is valid. */
export function faultsOf(journal: Journal): readonly string[] {
  const loads = journal.of("load");
  const errors = loads.filter((record) => record.errors > 0);
  const busy = loads.filter((record) => record.busy > BUSY_MAX);
  const slower = wrkRatios(journal).filter(
    ({ target, ratio }) => CROSS_CHECKED.has(target) && ratio > WRK_RATIO_MAX,
  );
  const warm = journal.of("start").filter((record) => !record.cold);
  const evicted = journal.of("evicted").filter(({ isolates }) => isolates > 0);
  return [
    ...evicted.map(({ isolates }) => `${isolates} isolates had left when memory was read`),
    ...errors.map(({ target, round }) => `${target} gave errors in round ${round}`),
    ...busy.map(({ target, round }) => `the generator was saturated by ${target}, round ${round}`),
    ...slower.map(({ target }) => `wrk gets more than ${WRK_RATIO_MAX} × as much from ${target}`),
    ...(warm.length > 0 ? [`${warm.length} starts found their isolate warm`] : []),
  ];
}
