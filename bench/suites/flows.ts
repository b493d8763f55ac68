/**
 * Suite `flows`: what a composition of functions costs that survives failure. The same FizzBuzz,
 * chains and fan-outs on Isola in its forms, on a bare prototype of gateway and cell, on Restate
 * and on the Workflows engine that comes with workerd, interleaved in one run.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { both, buzz, classify, fizz, number, say } from "../fixtures/index.ts";
import { restateVersion, startBundled, startRestate } from "../flow-peers.ts";
import { type FlowGroup, type FlowTarget, startFlows, startPrototype } from "../flow-targets.ts";
import { Journal } from "../journal.ts";
import { LoadGenerator } from "../load/index.ts";
import type { Ask } from "../load/plan.ts";
import { cpuMsOf } from "../processes.ts";
import { provenance } from "../provenance.ts";
import { isMet } from "./figures.ts";
import { flowFaultsOf, flowFiguresOf } from "./flow-figures.ts";
import type { FlowOptions } from "./flow-options.ts";
import { flowReportOf } from "./flow-report.ts";
import { measureShapes } from "./flow-shapes.ts";
import { type State, measureDisk, measureRecovery, measureWaiting } from "./flow-state.ts";
import { runRounds, warmUp } from "./loads.ts";

/** Clients that begin runs. */
const CREATORS = 32;
/** So little CPU of its processes, and a target has done what it was asked for. */
const IDLE_SHARE = 0.15;
const IDLE_LOOK_MS = 200;
const IDLE_MAX_MS = 20_000;

const SPEAKERS = { fizz, buzz, both, number };

/** Every kind of number, and what FizzBuzz says of it. */
export const FIZZBUZZ_ASKS: readonly Ask[] = Array.from({ length: 15 }, (_one, index) => {
  const classified = classify(index + 1);
  const answer = JSON.stringify(say(SPEAKERS[classified.kind](classified)));
  return { body: String(index + 1), answer };
});
const CREATION_ASKS: readonly Ask[] = FIZZBUZZ_ASKS.map(({ body }) => ({ body, status: 202 }));

export interface FlowsResult {
  readonly report: string;
  readonly isValid: boolean;
  readonly aimsMet: boolean;
}

interface Bench {
  readonly options: FlowOptions;
  readonly journal: Journal;
  readonly generator: LoadGenerator;
  /** For files of what is started. */
  readonly folder: string;
}

type Tell = (line: string) => void;

export async function runFlows(
  options: FlowOptions,
  tell: Tell,
  jsonFile?: string,
): Promise<FlowsResult> {
  const journal = new Journal();
  const origin = provenance();
  journal.add({ type: "provenance", value: origin });
  journal.add({ type: "options", value: options });
  const generator = new LoadGenerator();
  const folder = await mkdtemp(join(tmpdir(), "isola-bench-"));
  try {
    const bench = { options, journal, generator, folder };
    await compare(bench, tell);
    await look(bench, tell);
  } catch (error) {
    // What was measured until then is kept.
    journal.add({ type: "note", value: String(error) });
    if (jsonFile !== undefined) journal.write(jsonFile);
    throw error;
  } finally {
    await generator.close();
    await rm(folder, { recursive: true, force: true });
  }
  const figures = flowFiguresOf(journal);
  const faults = flowFaultsOf(journal);
  for (const value of figures) journal.add({ type: "figure", value });
  journal.add({ type: "verdict", value: { valid: faults.length === 0, faults } });
  if (jsonFile !== undefined) journal.write(jsonFile);
  return {
    report: flowReportOf(journal, figures, faults, origin),
    isValid: faults.length === 0,
    aimsMet: figures.every((figure) => isMet(figure) !== false),
  };
}

/** Times, side by side. */
async function compare(bench: Bench, tell: Tell): Promise<void> {
  const { options, journal, generator, folder } = bench;
  const groups: FlowGroup[] = [];
  const place = async (name: string): Promise<string> => {
    const path = join(folder, name);
    await mkdir(path);
    return path;
  };
  try {
    groups.push(await startPrototype(await place("prototype")));
    groups.push(await startFlows(await place("isola")));
    const restate = restateVersion();
    if (restate === undefined) {
      journal.add({ type: "note", value: "npm has no Restate server for this platform" });
    } else {
      journal.add({ type: "note", value: `Restate ${restate}, as it starts by itself` });
      groups.push(await startRestate(await place("restate")));
    }
    groups.push(await startBundled(await place("bundled")));
    const targets = groups.flatMap((group) => group.targets);
    const loaded = targets.map((target) => loadedBy(target, target.urls.fizzbuzz, FIZZBUZZ_ASKS));
    tell("FizzBuzz: warming up");
    await warmUp(loaded, CREATORS, options.warmUpMs, generator);
    tell(`FizzBuzz: ${options.rounds} rounds of ${targets.map(({ name }) => name).join("; ")}`);
    const loads = options.clients.map((clients) => ({
      clients,
      durationMs: clients === 1 ? options.oneClientMs : options.manyClientsMs,
    }));
    const plan = { phase: "fizzbuzz", targets: loaded, rounds: options.rounds, loads } as const;
    await runRounds(plan, generator, journal);
    tell(`chains and fan-outs: ${options.shapeRounds} rounds`);
    await measureShapes(targets, options, journal);
    tell("creation of runs");
    await measureCreation(bench, targets);
  } finally {
    await Promise.all(groups.map((group) => group.stop()));
  }
}

function loadedBy({ name, processes }: FlowTarget, url: string, asks: readonly Ask[]) {
  return { name, url, asks, processes };
}

/** Runs that are begun and not waited for; each target ends its own before the next one's turn. */
async function measureCreation(
  { options, journal, generator }: Bench,
  targets: readonly FlowTarget[],
): Promise<void> {
  const loads = [{ clients: CREATORS, durationMs: options.creationMs }];
  for (let round = 0; round < options.shapeRounds; round++) {
    for (const target of round % 2 === 0 ? targets : targets.toReversed()) {
      if (target.startUrl === undefined) continue;
      const loaded = [loadedBy(target, target.startUrl, CREATION_ASKS)];
      const plan = { phase: "creation", targets: loaded, rounds: 1, loads, round } as const;
      await runRounds(plan, generator, journal);
      await untilIdle(target);
    }
  }
}

async function untilIdle(target: FlowTarget): Promise<void> {
  const usedMs = (): number => target.processes().reduce((sum, { pid }) => sum + cpuMsOf(pid), 0);
  const deadlineMs = performance.now() + IDLE_MAX_MS;
  for (let before = usedMs(); performance.now() < deadlineMs;) {
    await sleep(IDLE_LOOK_MS);
    const now = usedMs();
    if (now - before < IDLE_LOOK_MS * IDLE_SHARE) return;
    before = now;
  }
}

/** What runs leave and need, in a platform that has done nothing else. */
async function look({ options, journal, generator, folder }: Bench, tell: Tell): Promise<void> {
  const own = join(folder, "state");
  await mkdir(own);
  const platform = await startFlows(own);
  const state: State = { platform, folder: own, options, journal, generator };
  try {
    tell("octets on disk");
    await measureDisk(state, FIZZBUZZ_ASKS);
    tell(`recovery: ${options.recoveries} kills of the cell`);
    await measureRecovery(state);
    tell(`memory: ${options.waiting.join(", ")} waiting runs`);
    await measureWaiting(state);
  } finally {
    await platform.stop();
  }
}
