/** Interleaved rounds of load: every target in every round, the order turned round each time. */
import type { Target } from "../baselines.ts";
import type { Journal, LoadRecord } from "../journal.ts";
import type { Ask, ClosedLoop } from "../load/plan.ts";
import { merged, percentileMs } from "../load/histogram.ts";
import type { LoadGenerator } from "../load/index.ts";
import { cpuMsOf } from "../processes.ts";

/** A target as it is loaded. */
export interface Loaded extends Pick<Target, "name" | "url" | "processes"> {
  /** @default GETs of the url */
  readonly asks?: readonly Ask[];
}

export interface Rounds {
  readonly phase: LoadRecord["phase"];
  readonly targets: readonly Loaded[];
  readonly rounds: number;
  /** Number of the first round. @default 0 */
  readonly round?: number;
  readonly loads: readonly { readonly clients: number; readonly durationMs: number }[];
}

export async function runRounds(
  plan: Rounds,
  generator: LoadGenerator,
  journal: Journal,
): Promise<void> {
  const first = plan.round ?? 0;
  for (let round = first; round < first + plan.rounds; round++) {
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
  targets: readonly Loaded[],
  clients: number,
  durationMs: number,
  generator: LoadGenerator,
): Promise<void> {
  for (const target of targets) await generator.run(planOf(target, { clients, durationMs }));
}

function planOf({ url, asks }: Loaded, load: Rounds["loads"][number]): ClosedLoop {
  return { kind: "closed", url, ...load, ...(asks && { asks }) };
}

async function measure(
  target: Loaded,
  load: Rounds["loads"][number],
  generator: LoadGenerator,
): Promise<Omit<LoadRecord, "type" | "phase" | "round">> {
  const before = cpuMsByProcess(target);
  const report = await generator.run(planOf(target, load));
  const histogram = merged([report.histogram]);
  return {
    target: target.name,
    clients: load.clients,
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

export function cpuMsByProcess(target: Pick<Target, "processes">): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const { name, pid } of target.processes()) {
    found.set(name, (found.get(name) ?? 0) + cpuMsOf(pid));
  }
  return found;
}
