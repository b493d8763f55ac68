/** Operations of the store as data: asked for by a test, run by a function, compared one by one. */
import { expect } from "vitest";
import type { TestPlatform } from "./platform.ts";

/** Source of `runSteps(store, asked)`: answers each operation, or the code that it threw. */
export const STORE_STEPS = `
  const runSteps = async (store, asked) => {
    const answers = [];
    for (const [what, ...args] of asked) {
      if (what === "pause") {
        await new Promise((go) => setTimeout(go, args[0]));
        answers.push(null);
        continue;
      }
      const [, bucket, name] = /^(?:bucket:(.*)\\.)?(\\w+)$/.exec(what);
      try {
        const on = bucket === undefined ? store : store.bucket(bucket);
        answers.push((await on[name](...args)) ?? null);
      } catch (error) {
        answers.push({ code: error.code ?? error.name, message: error.message });
      }
    }
    return answers;
  };`;

/** An operation, `bucket:<name>.<operation>` in a bucket, and what its answer must match. */
export type Step = readonly [asked: readonly unknown[], expected: unknown];

export async function steps(
  platform: TestPlatform,
  name: string,
  asked: readonly Step[],
): Promise<void> {
  const answer = await platform.call(name, { json: asked.map(([one]) => one) });
  expect(answer.status, answer.text).toBe(200);
  const answers = answer.json as unknown[];
  for (const [at, [operation, expected]] of asked.entries()) {
    const text = `${name}: ${JSON.stringify(operation).slice(0, 100)}`;
    const found = answers[at];
    const isPart = typeof expected === "object" && expected !== null;
    if (isPart) expect(found, text).toMatchObject(expected);
    else expect(found, text).toEqual(expected);
  }
}
