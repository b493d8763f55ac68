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
  const before = cpuMsByProcess(target);
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
    cpuMicroseconds: Object.fromEntries(
      [...cpuMsByProcess(target)].map(([name, cpuMs]) => {
        const usedMs = cpuMs - (before.get(name) ?? 0);
        return [name, (usedMs * 1000) / Math.max(1, report.ok)];
      }),
    ),
    histogram: report.histogram,
  };
}

function cpuMsByProcess(target: Target): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const { name, pid } of target.processes()) {
    found.set(name, (found.get(name) ?? 0) + cpuMsOf(pid));
  }
  return found;
}
