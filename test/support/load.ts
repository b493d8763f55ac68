/** Clients that call without a pause, and remember every answer, and every call that got none. */
import type { Answer, CallInit } from "./http-calls.ts";
import type { TestPlatform } from "./platform.ts";

export interface LoadAnswer {
  readonly status: number;
  readonly code: string | undefined;
  readonly text: string;
  /** On the test's own clock. */
  readonly sentAtMs: number;
  readonly answeredAtMs: number;
}

export interface LoadReport {
  readonly answers: readonly LoadAnswer[];
  /** Calls whose connection broke, or that were not answered in time. */
  readonly unanswered: readonly string[];
}

export interface Load {
  readonly answers: readonly LoadAnswer[];
  stop(): Promise<LoadReport>;
}

/** Keeps `clients` calls in flight until it is stopped. */
export function keepCalling(
  { http }: Pick<TestPlatform, "http">,
  path: string,
  clients: number,
  init: CallInit = {},
): Load {
  const answers: LoadAnswer[] = [];
  const unanswered: string[] = [];
  let isRunning = true;
  const client = async (): Promise<void> => {
    while (isRunning) {
      const sentAtMs = performance.now();
      try {
        answers.push(timed(await http.call(path, init), sentAtMs));
      } catch (error) {
        unanswered.push(String(error));
      }
    }
  };
  const all = Promise.all(Array.from({ length: clients }, client));
  return {
    answers,
    stop: async () => {
      isRunning = false;
      await all;
      return { answers, unanswered };
    },
  };
}

function timed(answer: Answer, sentAtMs: number): LoadAnswer {
  const { status, code, text } = answer;
  return { status, code, text, sentAtMs, answeredAtMs: performance.now() };
}

/** How often each outcome came: a code, or the status where there is none. */
export function countOutcomes(answers: readonly LoadAnswer[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status, code } of answers) {
    const outcome = code ?? String(status);
    counts[outcome] = (counts[outcome] ?? 0) + 1;
  }
  return counts;
}

/** The value below which a share of the times lies. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
