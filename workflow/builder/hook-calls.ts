/**
 * Hooks as they are called: several in one call into the workflow's isolate, each with values or
 * with what an earlier one of the same call made. A hook that throws fails those that need it;
 * the others run.
 */
import { WORKFLOW_LIMITS } from "../../runtime/contract/index.ts";
import type { Hook } from "./dag.ts";
import type { ApplyPlan, HookRole, RetryPlan } from "./plan.ts";
import { shown } from "./refusals.ts";

/**
 * A value on its way through a run: itself; a reference to where it is kept; an object of others;
 * or what the hook of that number in a call that is under way makes.
 */
export type Held =
  | { readonly value: unknown }
  | { readonly ref: string; readonly sizeBytes: number; readonly by?: Producer }
  | { readonly parts: readonly (readonly [key: string, part: Held])[] }
  | { readonly slot: number };

/** The pure step whose result memory alone holds: it runs again if that is lost (G5). */
export interface Producer {
  readonly step: string;
  readonly operation: ApplyPlan;
  readonly pin?: {
    readonly version: number;
    readonly retry: RetryPlan;
    readonly timeoutMs: number;
  };
  readonly input: Held;
  readonly idempotencyKey: string;
}

export interface HookCall {
  readonly hook: string;
  readonly role: HookRole;
  /** References are resolved before the call. */
  readonly args: readonly Held[];
}

/** An error as a run records it. */
export interface RunError {
  readonly name: string;
  readonly message: string;
  /** Code of the platform's catalogue, if it was the platform that failed. */
  readonly code?: string;
  /** The step that failed. */
  readonly step?: string;
  /** Retrying is no use. */
  readonly isFinal?: true;
}

/** By role: a value; branches; items by key; whether to go on; how long; or no result. */
export type HookResult =
  | { readonly value: unknown }
  | { readonly ref: string; readonly sizeBytes: number }
  | { readonly names: readonly string[] }
  | { readonly items: readonly (readonly [key: string, item: Held])[] }
  | { readonly again: boolean }
  | { readonly forMs: number }
  | { readonly untilMs: number }
  | { readonly error: RunError }
  | { readonly skipped: true };

class HookFault extends Error {
  override readonly name = "HookFault";
}

/** Runs the hooks of one call in order; never throws. */
export async function runHooks(
  hooks: ReadonlyMap<string, Hook>,
  calls: readonly HookCall[],
): Promise<HookResult[]> {
  const results: HookResult[] = [];
  for (const { hook, role, args } of calls)
    results.push(await runHook(hooks, hook, role, args, results));
  return results;
}

async function runHook(
  hooks: ReadonlyMap<string, Hook>,
  name: string,
  role: HookRole,
  args: readonly Held[],
  earlier: readonly HookResult[],
): Promise<HookResult> {
  const values: unknown[] = [];
  for (const arg of args) {
    const found = valueOf(arg, earlier);
    if (!found) return { skipped: true };
    values.push(found.value);
  }
  const hook = hooks.get(name);
  if (!hook) return { error: { name: "HookFault", message: `no hook ${name}`, isFinal: true } };
  try {
    return shaped(role, await hook(...values));
  } catch (thrown) {
    return { error: toRunError(thrown) };
  }
}

/** The value that an argument stands for; undefined if what it needs was not made. */
function valueOf(held: Held, earlier: readonly HookResult[]): { value: unknown } | undefined {
  if ("value" in held) return held;
  if ("slot" in held) {
    const made = earlier[held.slot];
    return made && "value" in made ? made : undefined;
  }
  if ("ref" in held) return undefined;
  const entries: [string, unknown][] = [];
  for (const [key, part] of held.parts) {
    const found = valueOf(part, earlier);
    if (!found) return undefined;
    entries.push([key, found.value]);
  }
  return { value: Object.fromEntries(entries) };
}

/** What a hook of that role may answer, in one shape; anything else is a fault of its author. */
function shaped(role: HookRole, answer: unknown): HookResult {
  switch (role) {
    case "condition":
      return { names: branchNames(answer) };
    case "split":
      return { items: items(answer) };
    case "while":
      if (typeof answer === "boolean") return { again: answer };
      throw new HookFault(`repeat answered ${shown(answer)}, required: true or false`);
    case "duration":
      return sleepLength(answer);
    default:
      return { value: answer };
  }
}

function branchNames(answer: unknown): readonly string[] {
  if (Array.isArray(answer) && answer.every((name) => typeof name === "string")) return answer;
  throw new HookFault(`the condition answered ${shown(answer)}, required: a list of its branches`);
}

function items(answer: unknown): [string, Held][] {
  if (typeof answer !== "object" || answer === null) {
    throw new HookFault(`for-each was given ${shown(answer)}, required: items by key, or a list`);
  }
  const max = WORKFLOW_LIMITS.forEachMaxItems;
  const keys = Object.keys(answer);
  if (keys.length > max) {
    const message = `for-each was given ${String(keys.length)} items, at most ${String(max)}`;
    throw Object.assign(new HookFault(message), { code: "FAN_OUT_TOO_WIDE" });
  }
  return Object.entries(answer).map(([key, value]) => [key, { value }]);
}

function sleepLength(answer: unknown): HookResult {
  if (answer instanceof Date && !Number.isNaN(answer.getTime())) {
    return { untilMs: answer.getTime() };
  }
  const max = WORKFLOW_LIMITS.waitMaxMs;
  if (typeof answer === "number" && answer >= 0 && answer <= max) return { forMs: answer };
  throw new HookFault(`sleep was given ${shown(answer)}, required: milliseconds, or a date`);
}

/** A thrown thing as data. */
function toRunError(thrown: unknown): RunError {
  if (thrown instanceof HookFault) {
    const { code = "HOOK_INVALID" } = thrown as { code?: string };
    return { name: thrown.name, message: thrown.message, code, isFinal: true };
  }
  if (thrown instanceof Error) return { name: thrown.name, message: thrown.message };
  return { name: "Error", message: shown(thrown) };
}
