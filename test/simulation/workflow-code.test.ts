/**
 * Random programs in code form under random latencies, crashes, repeated reports and pauses: every
 * run ends (G1) with what the program computes by itself; no step completes twice (G2); a replay
 * of its journal goes the same way and runs nothing.
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Run } from "../../workflow/index.ts";
import { type Code, type StepApi, WorkflowCodeWorld } from "../support/workflow-code-world.ts";
import { digest } from "../support/workflow-specs.ts";
import { type Accidents, seededRandom } from "../support/workflow-world.ts";

const RUNS = Number(process.env["ISOLA_RUNS"] ?? 200);
const TIMEOUT_MS = Math.max(60_000, 100 * RUNS);

type Program =
  | {
      readonly kind: "do";
      readonly name: string;
      readonly failures: number;
      readonly limit: number;
    }
  | { readonly kind: "sleep" | "event" | "invoke"; readonly name: string }
  | { readonly kind: "sequence" | "parallel" | "race"; readonly parts: readonly Program[] };

/** Programs from chance; names come again, so that counts matter. */
function programOf(fraction: () => number, depth: number): Program {
  const below = (bound: number): number => Math.floor(fraction() * bound);
  const name = `n${String(below(4))}`;
  const kind = depth > 2 ? 3 + below(6) : below(9);
  if (kind < 3) {
    const kinds = ["sequence", "parallel", "race"] as const;
    const parts = Array.from({ length: 1 + below(4) }, () => programOf(fraction, depth + 1));
    return { kind: kinds[kind] ?? "sequence", parts };
  }
  const waits = ["sleep", "event", "invoke"] as const;
  if (kind < 6) return { kind: waits[kind - 3] ?? "sleep", name };
  const failures = below(3);
  return { kind: "do", name, failures, limit: fraction() < 0.1 ? 0 : failures };
}

async function perform(program: Program, step: StepApi, input: unknown): Promise<unknown> {
  switch (program.kind) {
    case "do":
      return performDo(program, step, input);
    case "sleep":
      await step.sleep(program.name, digest(program.name, input) % 100);
      return input;
    case "event":
      return step.waitForEvent(program.name, "never", 40).catch((error: unknown) => {
        return digest((error as Error).name, input);
      });
    case "invoke":
      return step.invoke(program.name, "child", input);
    case "sequence": {
      let value = input;
      for (const part of program.parts) value = await perform(part, step, value);
      return value;
    }
    case "parallel":
      return Promise.all(program.parts.map(async (part) => perform(part, step, input)));
    case "race":
      return Promise.race(program.parts.map(async (part) => perform(part, step, input)));
  }
}

async function performDo(
  { name, failures, limit }: Program & { kind: "do" },
  step: StepApi,
  input: unknown,
): Promise<unknown> {
  const retry = { limit, delayMs: 10, backoff: "linear" } as const;
  const work = ({ attempt }: { attempt: number }): number => {
    if (attempt <= failures) throw new Error(`attempt ${String(attempt)}`);
    return digest(name, input);
  };
  try {
    return await step.do(name, work, { retry });
  } catch (error) {
    return digest((error as Error).message, input);
  }
}

const hasRace = (program: Program): boolean =>
  "parts" in program && (program.kind === "race" || program.parts.some(hasRace));

/** The program with steps that simply do what they are asked. */
async function compute(program: Program, input: unknown): Promise<unknown> {
  const step: StepApi = {
    do: async (_name, callback, { retry } = {}) => {
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await callback({ step: "", attempt, key: "" });
        } catch (error) {
          if (attempt > (retry?.limit ?? 0)) throw error;
        }
      }
    },
    sleep: async () => Promise.resolve(undefined),
    waitForEvent: async () => {
      throw Object.assign(new Error("nobody"), { name: "WorkflowTimeoutError" });
    },
    invoke: async (_name, _workflow, params) => Promise.resolve(digest("child", params)),
  };
  return perform(program, step, input);
}

async function play(world: WorkflowCodeWorld, isDisturbed: boolean): Promise<void> {
  for (let quiet = 0; !world.run.state.ended && quiet < 5;) {
    quiet = (await world.act()) ? 0 : quiet + 1;
    const { pausedAtMs, ending, ended } = world.run.state;
    if (pausedAtMs !== undefined && (quiet > 0 || world.fraction() < 0.1)) {
      world.report({ type: "resume" });
    } else if (isDisturbed && !ending && !ended && world.fraction() < 0.03) {
      if (pausedAtMs === undefined) world.report({ type: "pause" });
    }
    await world.settle();
  }
}

/** Runs the code once more over the journal as it was before its end. */
async function replay(world: WorkflowCodeWorld, code: Code): Promise<unknown> {
  const at = world.journal.findLastIndex(({ type }) => type === "codeEnded");
  const again = new WorkflowCodeWorld(code, { ...world.options, accidents: {} });
  const open = world.journal.slice(0, at);
  again.journal.push(...open);
  again.crash();
  await again.finish();
  // What lost a race may still be tried; what is done, or was never asked for, is not.
  const known = [...Run.fold(open).state.steps.values()];
  const mayRun = new Set(known.filter(({ phase }) => phase !== "done").map(({ id }) => id));
  const ran = again.left("dispatch").map(({ step }) => step);
  expect(ran.filter((step) => !mayRun.has(step))).toStrictEqual([]);
  return again.output;
}

describe("code and its journal agree", () => {
  it.each<[string, Accidents, boolean]>([
    ["when nothing dies", { repeat: 0.1 }, false],
    ["when processes die", { crash: 0.1, repeat: 0.3 }, false],
    ["when processes die and people pause", { crash: 0.05, repeat: 0.3 }, true],
  ])(
    "%s",
    async (_title, accidents, isDisturbed) => {
      const agrees = fc.asyncProperty(fc.nat(2 ** 30), async (seed) => {
        const program = programOf(seededRandom(seed), 0);
        const code: Code = async (step, input) => perform(program, step, input);
        const functions = { child: (value: unknown) => digest("child", value) };
        const world = new WorkflowCodeWorld(code, { seed, input: seed, accidents, functions });
        await play(world, isDisturbed);
        const { output } = world;
        const computed = hasRace(program) ? output : await compute(program, seed);
        expect(output).toStrictEqual(computed);
        const completed = world.history("stepCompleted");
        expect(new Set(completed).size).toBe(completed.length);
        expect(Run.fold(world.journal).state).toStrictEqual(world.run.state);
        expect(await replay(world, code)).toStrictEqual(output);
      });
      await expect(fc.assert(agrees, { numRuns: RUNS })).resolves.toBeUndefined();
    },
    TIMEOUT_MS,
  );
});
