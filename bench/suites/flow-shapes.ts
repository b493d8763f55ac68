/** Chains and fan-outs, one after the other: every target at every size in each round. */
import type { FlowTarget } from "../flow-targets.ts";
import type { FlowRecord, Journal } from "../journal.ts";
import { Connection } from "../load/connection.ts";
import { cpuMsOf } from "../processes.ts";
import { quantile } from "../statistics.ts";
import type { FlowOptions } from "./flow-options.ts";

type Shape = keyof FlowOptions["sizes"];

/** What a composition of that size answers: right only if each of its steps ran once. */
export const answerOf = (shape: Shape, size: number): number =>
  shape === "chain" ? 2 * size : (size * (size + 1)) / 2;

export async function measureShapes(
  targets: readonly FlowTarget[],
  options: FlowOptions,
  journal: Journal,
): Promise<void> {
  // The first round is for compilers and caches.
  for (let round = -1; round < options.shapeRounds; round++) {
    for (const target of round % 2 === 0 ? targets : targets.toReversed()) {
      for (const composition of ["chain", "fan"] as const) {
        for (const size of options.sizes[composition]) {
          const where = { composition, round, target: target.name, size } as const;
          const measured = await measure(target, where, options);
          if (round >= 0) journal.add({ type: "flow", ...where, ...measured });
        }
      }
    }
  }
}

async function measure(
  target: FlowTarget,
  { composition, size }: Pick<FlowRecord, "composition" | "size">,
  { shapeMs, shapeRepeats }: FlowOptions,
): Promise<Pick<FlowRecord, "elapsedMs" | "cpuMs" | "wrong">> {
  const connection = new Connection(target.urls[composition]);
  await connection.open();
  const wanted = String(answerOf(composition, size));
  const timesMs: number[] = [];
  let wrong = 0;
  const cpuBeforeMs = cpuMsOfAll(target);
  const beganMs = performance.now();
  while (timesMs.length < shapeRepeats) {
    const sentMs = performance.now();
    const { status, text } = await connection.ask(String(size));
    timesMs.push(performance.now() - sentMs);
    if (status !== 200 || text() !== wanted) wrong += 1;
    if (performance.now() - beganMs > shapeMs) break;
  }
  const cpuMs = (cpuMsOfAll(target) - cpuBeforeMs) / timesMs.length;
  connection.close();
  return { elapsedMs: quantile(timesMs, 0.5), cpuMs, wrong };
}

const cpuMsOfAll = (target: FlowTarget): number =>
  target.processes().reduce((sum, { pid }) => sum + cpuMsOf(pid), 0);
