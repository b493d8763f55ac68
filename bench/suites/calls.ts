/**
 * Suite `calls`: what the platform costs over a bare workerd. Static worker, loaded isolate,
 * prototype of gateway and cell, and Isola answer the same hello, interleaved in one run.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Target, fixtureCode, startBaselines } from "../baselines.ts";
import { Journal } from "../journal.ts";
import { LoadGenerator } from "../load/index.ts";
import { type IsolaTarget, deployCode, startIsola } from "../platform.ts";
import { provenance } from "../provenance.ts";
import { wrkCallsPerSecond } from "../wrk.ts";
import { reportOf } from "./calls-report.ts";
import { measureBareDensity, measureDensity } from "./density.ts";
import { FEW, MANY, faultsOf, figuresOf, isMet } from "./figures.ts";
import { runRounds, warmUp } from "./loads.ts";
import { type CallsOptions, MANY_CLIENTS } from "./options.ts";
import { measureBareStarts, measureStarts } from "./starts.ts";

const DEPLOYS_AT_ONCE = 4;

export interface CallsResult {
  readonly report: string;
  readonly isValid: boolean;
  readonly aimsMet: boolean;
}

interface Bench {
  readonly options: CallsOptions;
  readonly journal: Journal;
  readonly generator: LoadGenerator;
  readonly targets: readonly Target[];
  readonly prototype: Target;
  readonly isola: IsolaTarget;
  readonly code: string;
  /** For files of what is started. */
  readonly folder: string;
}

export async function runCalls(
  options: CallsOptions,
  tell: (line: string) => void,
  jsonFile?: string,
): Promise<CallsResult> {
  const journal = new Journal();
  const origin = provenance();
  journal.add({ type: "provenance", value: origin });
  journal.add({ type: "options", value: options });
  try {
    await withTargets(async (running) => {
      const generator = new LoadGenerator();
      try {
        await measureTimes({ ...running, options, journal, generator }, tell);
      } finally {
        await generator.close();
      }
    });
    tell(`memory: ${options.isolates.join(", ")} isolates`);
    // In processes that have done nothing else: what they once needed would hide the slope.
    await withTargets(async ({ prototype, isola, code }) => {
      await measureBareDensity(prototype, options.isolates, journal);
      await measureDensity(isola, code, options.isolates, journal);
    });
  } catch (error) {
    // What was measured until then is kept.
    journal.add({ type: "note", value: String(error) });
    if (jsonFile !== undefined) journal.write(jsonFile);
    throw error;
  }
  const figures = figuresOf(journal, options);
  const faults = faultsOf(journal);
  for (const value of figures) journal.add({ type: "figure", value });
  journal.add({ type: "verdict", value: { valid: faults.length === 0, faults } });
  if (jsonFile !== undefined) journal.write(jsonFile);
  return {
    report: reportOf(journal, figures, faults, origin),
    isValid: faults.length === 0,
    aimsMet: figures.every((figure) => isMet(figure) !== false),
  };
}

type Running = Pick<Bench, "targets" | "prototype" | "isola" | "code" | "folder">;

async function withTargets(use: (running: Running) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "isola-bench-"));
  const started: Target[] = [];
  try {
    const code = await fixtureCode("hello.ts");
    started.push(...(await startBaselines(folder)));
    const prototype = started.at(-1);
    if (!prototype) throw new Error("no baseline started");
    const isola = await startIsola(folder, code);
    started.push(isola);
    await use({ targets: [...started], prototype, isola, code, folder });
  } finally {
    await Promise.all(started.map((target) => target.stop()));
    await rm(folder, { recursive: true, force: true });
  }
}

async function measureTimes(bench: Bench, tell: (line: string) => void): Promise<void> {
  const { options, journal, generator, targets, prototype, isola, code } = bench;
  tell("calls: warming up");
  await warmUp(targets, MANY_CLIENTS, options.warmUpMs, generator);
  tell(`calls: ${options.rounds} rounds of ${targets.map(({ name }) => name).join(", ")}`);
  const loads = [
    { clients: 1, durationMs: options.oneClientMs },
    { clients: MANY_CLIENTS, durationMs: options.manyClientsMs },
  ];
  await runRounds({ phase: "calls", targets, rounds: options.rounds, loads }, generator, journal);
  await crossCheck(bench);
  tell(`starts: ${options.starts} new isolates`);
  await measureBareStarts(prototype, options.starts, journal);
  await measureStarts(isola, code, options.starts, journal);
  tell(`scale: ${options.functions} functions`);
  await measureScale(bench);
}

/** The same load by another program: a generator that cannot keep up would show here. */
async function crossCheck({ options, journal, generator, targets }: Bench): Promise<void> {
  const durationMs = 1_000;
  for (let round = 0; round < options.crossChecks; round++) {
    for (const { name, url } of targets) {
      const plan = { kind: "closed", url, clients: MANY_CLIENTS, durationMs } as const;
      const { ok, elapsedMs } = await generator.run(plan);
      const callsPerSecond = await wrkCallsPerSecond(url, MANY_CLIENTS, durationMs);
      if (callsPerSecond === undefined) return;
      const ownCallsPerSecond = (ok * 1000) / elapsedMs;
      const both = { callsPerSecond, ownCallsPerSecond };
      journal.add({ type: "wrk", target: name, clients: MANY_CLIENTS, ...both });
    }
  }
}

/** Two fresh platforms side by side, one with few functions and one with many. */
async function measureScale({ options, journal, generator, code, folder }: Bench): Promise<void> {
  const started: IsolaTarget[] = [];
  const start = async (name: string): Promise<IsolaTarget> => {
    const place = join(folder, name);
    await mkdir(place);
    const target = { ...(await startIsola(place, code)), name };
    started.push(target);
    return target;
  };
  try {
    const [few, many] = [await start(FEW), await start(MANY)];
    let next = 0;
    const deploySome = async (): Promise<void> => {
      while (next < options.functions) {
        const name = `scale-${next++}`;
        await deployCode(many.client, name, `${code}\n// ${name}\n`);
      }
    };
    await Promise.all(Array.from({ length: DEPLOYS_AT_ONCE }, deploySome));
    const targets = [few, many];
    await warmUp(targets, MANY_CLIENTS, options.warmUpMs, generator);
    const loads = [{ clients: MANY_CLIENTS, durationMs: options.manyClientsMs }];
    const plan = { phase: "scale", targets, rounds: options.scaleRounds, loads } as const;
    await runRounds(plan, generator, journal);
  } finally {
    await Promise.all(started.map((target) => target.stop()));
  }
}
