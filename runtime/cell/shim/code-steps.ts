/**
 * `step` of a workflow in code form: what Cloudflare's API takes, as calls of steps that a run
 * knows by kind, name and how often the name was used. Pure: timers and messages are given.
 */
import { type CodeError, type CodeOutcome, findUncloneable } from "../../contract/index.ts";
import { namedError } from "./cloudflare-errors.ts";
import { parseDoConfig, parseStepDuration, stepKey } from "../../../workflow/index.ts";

const DEFAULT_CONFIG = {
  retries: { limit: 5, delay: 10_000, backoff: "exponential" },
  timeout: "10 minutes",
} as const;
const EVENT_TIMEOUT = "24 hours";
const DELAY_BUDGET_MS = 5_000;
const MESSAGE_MAX_CHARACTERS = 2_000;

/** What the callback of a step gets. */
export interface StepContext {
  readonly step: { readonly name: string; readonly count: number };
  readonly attempt: number;
  readonly config: Readonly<Record<string, unknown>>;
  /** Ours: the same for every attempt of the step. */
  readonly idempotencyKey: string;
  /** Ours: aborts when the attempt is to end. */
  readonly signal: AbortSignal;
}

type Callback = (context: StepContext) => unknown;
type Delay = (given: { readonly ctx: StepContext; readonly error: unknown }) => unknown;
type Rollback = (given: {
  readonly ctx: StepContext;
  readonly error: unknown;
  readonly output: unknown;
  readonly stepName: string;
}) => unknown;

/** A step that the code has called, as long as its session lasts. */
interface DoStep {
  readonly name: string;
  readonly count: number;
  readonly config: Readonly<Record<string, unknown>>;
  readonly callback: Callback;
  /** Of retries. */
  readonly limit: number;
  readonly delay?: Delay;
  readonly rollback?: Rollback;
}

/** How one attempt is made. */
export interface AttemptInfo {
  readonly attempt: number;
  readonly idempotencyKey: string;
  readonly signal: AbortSignal;
}

export interface StepSeams {
  /** Tells the run of a call; settles when the run answers. */
  call(step: string, operation: unknown, input?: unknown): Promise<unknown>;
  now(): number;
  /** Resolves with undefined when the time is over. */
  wait(ms: number): Promise<undefined>;
  isFinal(thrown: unknown): boolean;
}

/** Part of the result of a step that was a stream of bytes. */
const STREAM = "isola.stream";

export class CodeSteps {
  readonly #seams: StepSeams;
  readonly #counts = new Map<string, number>();
  readonly #steps = new Map<string, DoStep>();

  constructor(seams: StepSeams) {
    this.#seams = seams;
  }

  /** The object that the code gets. */
  get api(): WorkflowSteps {
    return {
      do: async (...given) => this.#do(given),
      sleep: async (name, duration) => {
        const step = this.#key("sleep", name);
        return this.#sleep(step, durationOf(duration));
      },
      sleepUntil: async (name, date) => {
        const step = this.#key("sleep", name);
        const untilMs = date instanceof Date ? date.getTime() : Number(date);
        if (Number.isNaN(untilMs)) throw fatal("sleepUntil needs a Date or milliseconds");
        return this.#sleep(step, untilMs - this.#seams.now());
      },
      waitForEvent: async (name, options) => this.#waitForEvent(name, options),
      invoke: async (workflow, params) => {
        const step = this.#key("invoke", workflow);
        return this.#seams.call(step, { op: "invoke", workflow }, params);
      },
    };
  }

  /** Whether the code has called the step: only then it can be attempted. */
  has(step: string): boolean {
    return this.#steps.has(step);
  }

  /** Never rejects. */
  async attempt(id: string, info: AttemptInfo): Promise<CodeOutcome> {
    const step = this.#steps.get(id);
    if (!step) return failed(fatal(`there is no step ${id}`));
    const context = contextOf(step, info);
    try {
      return { ok: true, output: await storable(step.name, await step.callback(context)) };
    } catch (thrown) {
      const outcome = this.#failed(thrown);
      const isLast = info.attempt > step.limit || outcome.error.isFinal === true;
      if (!step.delay || isLast) return outcome;
      return this.#delayed(step, step.delay, { context, thrown, outcome });
    }
  }

  /** Never rejects. */
  async rollBack(
    id: string,
    info: AttemptInfo,
    given: { readonly output?: unknown; readonly error?: CodeError },
  ): Promise<CodeOutcome> {
    const step = this.#steps.get(id);
    if (!step?.rollback) {
      const message = "Rollback function not available in registry";
      const code = "ROLLBACK_MISSING";
      return { ok: false, error: { name: "RollbackMissing", message, code, isFinal: true } };
    }
    const { name, count } = step;
    const error = given.error
      ? errorOf(given.error)
      : namedError("Terminated", "Instance terminated during rollback");
    try {
      await step.rollback({
        ctx: contextOf(step, info),
        error,
        output: revived(given.output),
        stepName: `${name}-${String(count)}`,
      });
      return { ok: true, output: undefined };
    } catch (thrown) {
      return this.#failed(thrown);
    }
  }

  /** What code that has ended leaves. Never rejects. */
  async end(result: Promise<unknown>): Promise<CodeOutcome> {
    try {
      const output = await result;
      const lost = findUncloneable(output);
      if (lost) throw fatal(`run() returned ${lost.kind} at ${lost.path}, which is no value`);
      return { ok: true, output };
    } catch (thrown) {
      return this.#failed(thrown);
    }
  }

  async #do(given: readonly unknown[]): Promise<unknown> {
    const [name, config, callback, rollback] =
      typeof given[1] === "function" ? [given[0], undefined, given[1], given[2]] : given;
    if (typeof callback !== "function") {
      throw fatal(`Step "${String(name)}" requires a callback function`);
    }
    const undo = rollbackOf(rollback);
    const parsed = parseDoConfig(config ?? {}, undo && (undo.rollbackConfig ?? {}));
    if (!parsed.ok) {
      throw fatal(`Step config for "${String(name)}" is in a invalid format: ${parsed.message}`);
    }
    const id = this.#key("do", name);
    const { plan, hasDelayFunction } = parsed.value;
    const { retries, ...rest } = (config ?? {}) as {
      readonly retries?: { readonly delay?: Delay };
    };
    const shown = { ...DEFAULT_CONFIG.retries, ...retries } as Record<string, unknown>;
    if (hasDelayFunction) delete shown["delay"];
    this.#steps.set(id, {
      name: String(name),
      count: this.#counts.get(`do:${String(name)}`) ?? 1,
      config: { ...DEFAULT_CONFIG, ...rest, retries: shown },
      callback: callback as Callback,
      limit: plan.retry.limit,
      ...(hasDelayFunction && retries?.delay && { delay: retries.delay }),
      ...(undo && { rollback: undo.rollback }),
    });
    return revived(await this.#seams.call(id, plan));
  }

  /** A time in the past is refused by the run, and only when it did not sleep until it before. */
  async #sleep(step: string, forMs: number): Promise<void> {
    await this.#seams.call(step, { op: "sleep", forMs });
  }

  async #waitForEvent(name: unknown, options: unknown): Promise<unknown> {
    const { type, timeout = EVENT_TIMEOUT } = (options ?? {}) as {
      readonly type?: unknown;
      readonly timeout?: unknown;
    };
    const step = this.#key("event", name);
    const timeoutMs = durationOf(timeout);
    const event = await this.#seams.call(step, { op: "event", type, timeoutMs });
    const { payload, atMs } = event as { readonly payload: unknown; readonly atMs: number };
    return { type, payload, timestamp: new Date(atMs) };
  }

  #key(kind: "do" | "sleep" | "event" | "invoke", name: unknown): string {
    const count = (this.#counts.get(`${kind}:${String(name)}`) ?? 0) + 1;
    const key = stepKey(kind, name, count);
    if (!key.ok) {
      const shown = String(name).slice(0, 300);
      throw fatal(
        `Step name "${shown}" exceeds max length (256 chars) or invalid characters found`,
      );
    }
    this.#counts.set(`${kind}:${String(name)}`, count);
    return key.value;
  }

  #failed(thrown: unknown): CodeOutcome & { readonly ok: false } {
    const error = dataOf(thrown);
    const isFinal = isFatal(thrown) || this.#seams.isFinal(thrown);
    return { ok: false, error: isFinal ? { ...error, isFinal: true } : error };
  }

  async #delayed(
    step: DoStep,
    delay: Delay,
    {
      context,
      thrown,
      outcome,
    }: {
      readonly context: StepContext;
      readonly thrown: unknown;
      readonly outcome: CodeOutcome & { readonly ok: false };
    },
  ): Promise<CodeOutcome> {
    const called = `The delay function for step "${step.name}-${String(step.count)}"`;
    let answer: unknown;
    try {
      const late = this.#seams.wait(DELAY_BUDGET_MS).then(() => LATE);
      answer = await Promise.race([delay({ ctx: context, error: thrown }), late]);
    } catch (fault) {
      return undelayed(`${called} threw an error: ${dataOf(fault).message}`);
    }
    if (answer === LATE) return undelayed(`${called} did not return within 5 seconds`);
    const parsed = parseStepDuration(answer);
    if (parsed.ok) return { ...outcome, retryAfterMs: parsed.value };
    return undelayed(
      `${called} returned an invalid delay value (expected a number of ms or a duration string ` +
        `like "30 seconds")`,
    );
  }
}

/** Cloudflare's `WorkflowStep`, and `invoke`. */
export interface WorkflowSteps {
  do(...given: unknown[]): Promise<unknown>;
  sleep(name: unknown, duration: unknown): Promise<void>;
  sleepUntil(name: unknown, date: unknown): Promise<void>;
  waitForEvent(name: unknown, options: unknown): Promise<unknown>;
  /** Starts another workflow and waits for what it returns. */
  invoke(workflow: unknown, params?: unknown): Promise<unknown>;
}

const LATE = Symbol("late");

/** An error as code gets it back from the run. */
export function errorOf({ name, message, code }: CodeError): Error {
  return Object.assign(namedError(name, message), code !== undefined && { code });
}

function rollbackOf(
  given: unknown,
): { readonly rollback: Rollback; readonly rollbackConfig?: unknown } | undefined {
  if (given === undefined) return undefined;
  const { rollback, rollbackConfig } = (given ?? {}) as Partial<Record<string, unknown>>;
  if (typeof rollback !== "function") throw fatal("a rollback is { rollback, rollbackConfig? }");
  return { rollback: rollback as Rollback, rollbackConfig };
}

function contextOf({ name, count, config }: DoStep, info: AttemptInfo): StepContext {
  return { step: { name, count }, config, ...info };
}

/** A result as the run keeps it. */
async function storable(name: string, value: unknown): Promise<unknown> {
  if (value instanceof ReadableStream) return { [STREAM]: await bytesOf(value) };
  const lost = findUncloneable(value);
  if (!lost) return value;
  throw fatal(
    "The execution of the Workflow instance was terminated, as the step " +
      `"${name}" returned a value which is not serialisable: ${lost.kind} at ${lost.path}`,
  );
}

async function bytesOf(stream: ReadableStream): Promise<Uint8Array> {
  try {
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch (thrown) {
    throw namedError("InvalidStepReadableStreamError", dataOf(thrown).message);
  }
}

/** A result as the code gets it. */
function revived(value: unknown): unknown {
  const octets = (value as Record<string, unknown> | null | undefined)?.[STREAM];
  return octets instanceof Uint8Array ? new Response(octets.slice()).body : value;
}

function undelayed(message: string): CodeOutcome {
  return { ok: false, error: { name: "NonRetryableDelayError", message, isFinal: true } };
}

function failed(thrown: unknown): CodeOutcome {
  return { ok: false, error: { ...dataOf(thrown), isFinal: true } };
}

function dataOf(thrown: unknown): CodeError {
  try {
    if (thrown instanceof Error) {
      const { code } = thrown as { code?: unknown };
      return {
        name: String(thrown.name).slice(0, 200),
        message: String(thrown.message).slice(0, MESSAGE_MAX_CHARACTERS),
        ...(typeof code === "string" && { code }),
      };
    }
    return { name: "Error", message: String(thrown).slice(0, MESSAGE_MAX_CHARACTERS) };
  } catch {
    return { name: "Error", message: "something that cannot be shown" };
  }
}

const FATAL = new WeakSet<object>();

/** Whether the error is one of the step API itself, which trying again does not change. */
function isFatal(thrown: unknown): boolean {
  return typeof thrown === "object" && thrown !== null && FATAL.has(thrown);
}

function fatal(message: string): Error {
  const error = namedError("WorkflowFatalError", message);
  FATAL.add(error);
  return error;
}

function durationOf(given: unknown): number {
  const parsed = parseStepDuration(given);
  if (parsed.ok) return parsed.value;
  throw new TypeError(`Invalid duration "${String(given)}"`);
}
