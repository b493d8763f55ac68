/** Interleaved rounds of load: every target in every round, the order turned round each time. */
import type { Target } from "../baselines.ts";
import type { Journal, LoadRecord } from "../journal.ts";
import { merged, percentileMs } from "../load/histogram.ts";
import type { LoadGenerator } from "../load/index.ts";
import { cpuMsOf } from "../processes.ts";

export interface Rounds {
  readonly phase: LoadRecord["phase"];
  readonly targets: readonly Target[];
  readonly rounds: number;
  readonly loads: readonly { readonly clients: number; readonly durationMs: number }[];
}

export async function runRounds(
  plan: Rounds,
  generator: LoadGenerator,
  journal: Journal,
): Promise<void> {
  for (let round = 0; round < plan.rounds; round++) {
    const order = round % 2 === 0 ? plan.targets : plan.targets.toReversed();
    for (const target of order) {
      for (const load of plan.loads) {
        const measured = await measure(target, load, generator);
        journal.add({ type: "load", phase: plan.phase, round, ...measured });
      }
    }
  }
}

/** Lets compilers and caches settle; not recorded. */
export async function warmUp(
  targets: readonly Target[],
  clients: number,
  durationMs: number,
  generator: LoadGenerator,
): Promise<void> {
  for (const { url } of targets) await generator.run({ kind: "closed", url, clients, durationMs });
}

async function measure(
  target: Target,
  { clients, durationMs }: Rounds["loads"][number],
  generator: LoadGenerator,
): Promise<Omit<LoadRecord, "type" | "phase" | "round">> {
  const cpuMs = (): number => target.pids().reduce((sum, pid) => sum + cpuMsOf(pid), 0);
  const cpuBeforeMs = cpuMs();
  const report = await generator.run({ kind: "closed", url: target.url, clients, durationMs });
  const histogram = merged([report.histogram]);
  return {
    target: target.name,
    clients,
    callsPerSecond: (report.ok * 1000) / report.elapsedMs,
    p50Ms: percentileMs(histogram, 50),
    p99Ms: percentileMs(histogram, 99),
    errors: report.errors,
    busy: report.busy,
    cores: (cpuMs() - cpuBeforeMs) / report.elapsedMs,
    histogram: report.histogram,
  };
}
