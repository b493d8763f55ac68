/**
 * Values of runs on their way: those who carry effects out get values, never references; what
 * comes of it is held by reference where it is large (run-store.ts).
 */
import { IsolaError, toIsolaError } from "../../contract/index.ts";
import type { Held, RunHome, RunReport, RunRequest } from "../../../workflow/index.ts";
import type { HookResult } from "../../../workflow/builder/index.ts";
import type { Attempter, EffectOf } from "./performers.ts";
import type { Remake, RunJobs } from "./run-store.ts";

type HookCalls = EffectOf<"hooks">["calls"];
type RunError = Extract<RunReport, { readonly type: "hooksFailed" }>["error"];

/** The attempter, between its step's values and what is held of them. */
export function withValues(
  jobs: RunJobs,
  attempt: Attempter,
  remakeFor: (run: RunHome, request: RunRequest) => Remake,
): Attempter {
  return async (run, request, effect, signal) => {
    const { step, token } = effect;
    let value: unknown;
    try {
      const { input } = effect;
      value =
        "value" in input ? input.value : await jobs.resolve(run, input, remakeFor(run, request));
    } catch (thrown) {
      const error = lossOf(thrown, `read the input of ${step}`);
      return { type: "settled", step, token, outcome: { ok: false, error } };
    }
    const report = await attempt(run, request, { ...effect, input: { value } }, signal);
    if (report.type !== "settled" || !report.outcome.ok) return report;
    const { output } = report.outcome;
    if (!("value" in output)) return report;
    return { ...report, outcome: await jobs.outcomeOf(run, effect, output.value) };
  };
}

/**
 * Hooks with what they are called with. Errors: `VALUE_LOST`, `COLD_UNAVAILABLE`.
 *
 * @param calls those that need what an earlier one makes keep its number.
 */
export function callsWithValues(
  jobs: RunJobs,
  run: RunHome,
  calls: HookCalls,
  remake: Remake,
): Promise<HookCalls> {
  return Promise.all(
    calls.map(async (call) => ({
      ...call,
      args: await Promise.all(call.args.map((arg) => argument(jobs, run, arg, remake))),
    })),
  );
}

async function argument(jobs: RunJobs, run: RunHome, arg: Held, remake: Remake): Promise<Held> {
  if ("slot" in arg || "value" in arg) return arg;
  if ("ref" in arg) return { value: await jobs.resolve(run, arg, remake) };
  const parts = arg.parts.map(async ([key, part]): Promise<[string, Held]> => [
    key,
    await argument(jobs, run, part, remake),
  ]);
  return { parts: await Promise.all(parts) };
}

/** What hooks answered, as the run goes on with it. The isolate names no references. */
export function heldResults(
  jobs: RunJobs,
  run: RunHome,
  results: readonly HookResult[],
): Promise<HookResult[]> {
  return Promise.all(results.map((result) => heldResult(jobs, run, result)));
}

async function heldResult(jobs: RunJobs, run: RunHome, result: HookResult): Promise<HookResult> {
  try {
    if ("value" in result) {
      const held = await jobs.hold(run, result.value);
      return "value" in held || "ref" in held ? held : result;
    }
    if (!("items" in result)) return "ref" in result ? { error: forged() } : result;
    const items = result.items.map(async ([key, item]): Promise<[string, Held]> => {
      if (!("value" in item)) throw new IsolaError("HOOK_INVALID", noItem(key));
      return [key, await jobs.hold(run, item.value)];
    });
    return { items: await Promise.all(items) };
  } catch (thrown) {
    return { error: lossOf(thrown, "keep what a hook made") };
  }
}

function forged(): RunError {
  const message = "a hook answered with a reference";
  return { name: "HookFault", message, code: "HOOK_INVALID", isFinal: true };
}

function noItem(key: string): { attempted: string; found: string } {
  return { attempted: "take an item of a for-each", found: `${key.slice(0, 100)} without a value` };
}

/** A failure of the platform as a run records it; what is lost is not there the next time. */
export function lossOf(thrown: unknown, attempted: string): RunError {
  const { code, parts, retryable } = toIsolaError(thrown, attempted);
  const message = `${parts.attempted}: ${parts.found}`;
  return { name: code, message, code, ...(!retryable && { isFinal: true as const }) };
}
