/**
 * One session of a workflow in code form, in the tenant's isolate: runs `run(event, step)` and
 * talks with the run in the cell (contract/code-run.ts).
 *
 * The isolate asks and never is asked: nothing outside holds a stub into its invocation, which
 * would keep it alive after its driver has ended it.
 *
 * U1 At most one exchange is open that has nothing to say; what the code does in one turn goes in
 *    one exchange.
 * U2 Answers are told one by one: before the next one the code has gone as far as it gets without
 *    waiting for something else than steps. So a replay decides races as they were decided.
 * U3 The session is idle when nothing came, went or ran for a while.
 */
import { NonRetryableError } from "cloudflare:workflows";
import type {
  CodeAnswer,
  CodeBridge,
  CodeEvent,
  CodeOrder,
  CodeOutcome,
  CodeReport,
} from "../../contract/index.ts";
import { namedError } from "./cloudflare-errors.ts";
import { CodeStepPlace, currentStep } from "./code-step-place.worker.ts";
import { CodeSteps, errorOf } from "./code-steps.ts";
import type { WorkflowClass } from "./form.worker.ts";
import { later, now } from "./natives.worker.ts";

type Attempt = Extract<CodeOrder, { readonly type: "attempt" | "rollback" }>;

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

export class CodeRun {
  readonly #bridge: CodeBridge;
  readonly #event: CodeEvent;
  /** Says that the thread was given back. */
  readonly #alive: () => void;
  readonly #closed = Promise.withResolvers<void>();
  readonly #steps: CodeSteps;
  readonly #waiting = new Map<string, Waiting>();
  /** Attempts that were ordered before the code called their step. */
  readonly #early = new Map<string, Attempt>();
  readonly #running = new Map<string, AbortController>();
  #answers: CodeAnswer[] = [];
  /** What the journal knows and the code has not come to. */
  #known: CodeAnswer[] = [];
  #isTelling = false;
  #reports: CodeReport[] = [];
  /** Counts exchanges: only the last one is followed by another. */
  #exchanges = 0;
  #isClosed = false;
  #movedAtMs = now();
  /** When it is idle next, in idle times. */
  #idles = 1;

  constructor(bridge: CodeBridge, event: CodeEvent, alive: () => void) {
    this.#bridge = bridge;
    this.#event = event;
    this.#alive = alive;
    this.#steps = new CodeSteps({
      call: (step, operation, input) => this.#call(step, operation, input),
      now,
      wait: (ms) => turn(ms),
      isFinal: isNonRetryable,
    });
  }

  /** Resolves when the session is over; rejects when the cell cannot be reached any more. */
  async run(Class: WorkflowClass, ctx: ExecutionContext, env: unknown): Promise<void> {
    const { payload, timestampMs, instanceId, workflowName, schedule } = this.#event;
    const event = {
      payload,
      timestamp: new Date(timestampMs),
      instanceId,
      workflowName,
      ...(schedule && {
        schedule: { cron: schedule.cron, scheduledTime: new Date(schedule.scheduledTimeMs) },
      }),
    };
    const { api } = this.#steps;
    const result = (async () => new Class(ctx, env).run(event, api))();
    void this.#steps.end(result).then((outcome) => this.#report({ type: "ended", outcome }));
    this.#watch();
    void this.#exchange();
    await this.#closed.promise;
  }

  #call(step: string, operation: unknown, input: unknown): Promise<unknown> {
    const answer = new Promise((resolve, reject) => {
      this.#waiting.set(step, { resolve, reject });
    });
    this.#report({ type: "called", step, operation, ...(input !== undefined && { input }) });
    this.#tellKnown();
    const early = this.#early.get(step);
    if (early) {
      this.#early.delete(step);
      void this.#attempt(early);
    }
    return answer;
  }

  #report(report: CodeReport): void {
    this.#move();
    this.#say(report);
  }

  #say(report: CodeReport): void {
    this.#reports.push(report);
    if (this.#reports.length === 1) void this.#soon();
  }

  /** After the microtasks that the code has waiting: what belongs together goes together. */
  async #soon(): Promise<void> {
    await Promise.resolve();
    await Promise.resolve();
    void this.#exchange();
  }

  async #exchange(): Promise<void> {
    if (this.#isClosed) return;
    const reports = this.#reports;
    this.#reports = [];
    this.#exchanges += 1;
    const exchange = this.#exchanges;
    try {
      const orders = await this.#bridge.exchange(reports);
      this.#alive();
      for (const order of orders) this.#take(order);
      if (orders.length > 0) await turn(0);
    } catch (thrown) {
      this.#isClosed = true;
      this.#closed.reject(thrown);
      return;
    }
    if (exchange === this.#exchanges && this.#reports.length === 0) void this.#exchange();
  }

  #take(order: CodeOrder): void {
    this.#move();
    switch (order.type) {
      case "attempt":
      case "rollback":
        void this.#attempt(order);
        return;
      case "answer":
        this.#answers.push(order);
        if (!this.#isTelling) void this.#tell();
        return;
      case "known":
        this.#known = order.answers.toReversed();
        this.#tellKnown();
        return;
      case "abort":
        this.#running.get(keyOf(order))?.abort(namedError("AbortError", "the attempt is to end"));
        return;
      case "close":
        this.#isClosed = true;
        this.#closed.resolve();
    }
  }

  /** Without a word to the cell: a replay costs no more than the code takes. */
  #tellKnown(): void {
    for (let next = this.#known.at(-1); next; next = this.#known.at(-1)) {
      if (!this.#waiting.has(next.step)) break;
      this.#answers.push(next);
      this.#known.pop();
    }
    if (this.#answers.length > 0 && !this.#isTelling) void this.#tell();
  }

  /** U2 */
  async #tell(): Promise<void> {
    this.#isTelling = true;
    for (let next = this.#answers.shift(); next; next = this.#answers.shift()) {
      const { step, outcome } = next;
      const waiting = this.#waiting.get(step);
      this.#waiting.delete(step);
      if (outcome.ok) waiting?.resolve(outcome.output);
      else waiting?.reject(errorOf(outcome.error));
      if (this.#answers.length > 0) await turn(0);
    }
    this.#isTelling = false;
  }

  async #attempt(order: Attempt): Promise<void> {
    const known = order.type === "attempt" ? order.step : order.of;
    if (!this.#steps.has(known)) {
      this.#early.set(known, order);
      return;
    }
    const { step, token, attempt } = order;
    const controller = new AbortController();
    this.#running.set(keyOf(order), controller);
    const { signal } = controller;
    const idempotencyKey = order.type === "attempt" ? order.idempotencyKey : order.step;
    const info = { attempt, idempotencyKey, signal };
    const place = new CodeStepPlace({ step, token, key: idempotencyKey });
    const outcome: CodeOutcome = await currentStep.run(place, () =>
      order.type === "attempt"
        ? this.#steps.attempt(step, info)
        : this.#steps.rollBack(order.of, info, order),
    );
    this.#running.delete(keyOf(order));
    this.#report({ type: "settled", step, token, outcome });
  }

  #move(): void {
    this.#movedAtMs = now();
    this.#idles = 1;
  }

  /** U3: of itself; then at twice the time, and so on, as long as nothing happens. */
  #watch(): void {
    const { idleMs } = this.#event;
    const look = (): void => {
      if (this.#isClosed) return;
      const quietMs = this.#running.size === 0 ? now() - this.#movedAtMs : 0;
      if (quietMs >= idleMs * this.#idles) {
        this.#idles *= 2;
        this.#say({ type: "idle", quietMs });
      }
      later(look, idleMs / 2);
    };
    later(look, idleMs);
  }
}

function keyOf({ step, token }: { readonly step: string; readonly token: number }): string {
  return `${step} ${String(token)}`;
}

function turn(ms: number): Promise<undefined> {
  return new Promise((resolve) => {
    later(() => resolve(undefined), ms);
  });
}

/** By class, or by name: bundles bring copies of it. */
function isNonRetryable(thrown: unknown): boolean {
  if (thrown instanceof NonRetryableError) return true;
  return thrown instanceof Error && thrown.name === "NonRetryableError";
}
