/** Random programs in code form, and what they compute by themselves. */
import type { StepApi } from "./workflow-code-world.ts";
import { digest } from "./workflow-specs.ts";

export type Program =
  | {
      readonly kind: "do";
      readonly name: string;
      readonly failures: number;
      readonly limit: number;
    }
  | { readonly kind: "sleep" | "event" | "invoke"; readonly name: string }
  | { readonly kind: "sequence" | "parallel" | "race"; readonly parts: readonly Program[] };

/** Programs from chance; names come again, so that counts matter. */
export function programOf(fraction: () => number, depth: number): Program {
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

export async function perform(program: Program, step: StepApi, input: unknown): Promise<unknown> {
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

export const hasRace = (program: Program): boolean =>
  "parts" in program && (program.kind === "race" || program.parts.some(hasRace));

/** The program with steps that simply do what they are asked. */
export async function compute(program: Program, input: unknown): Promise<unknown> {
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
