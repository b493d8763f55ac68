/**
 * The world of one run in code form: its code runs as it would in an isolate, calls steps, and is
 * run from its beginning whenever the run asks for it.
 */
import type { RetryPlan } from "../../workflow/builder/index.ts";
import type { Effect } from "../../workflow/index.ts";
import { type AttemptInfo, WorkflowWorld, type WorldOptions, valueOf } from "./workflow-world.ts";

interface DoConfig {
  readonly retry?: RetryPlan;
  readonly timeoutMs?: number;
  readonly rollback?: (given: unknown) => unknown;
}

/** What code has to call: `step` of Cloudflare's API in the form that reaches the run. */
export interface StepApi {
  do(name: string, callback: (info: AttemptInfo) => unknown, config?: DoConfig): Promise<unknown>;
  sleep(name: string, forMs: number): Promise<unknown>;
  waitForEvent(name: string, type: string, timeoutMs?: number): Promise<unknown>;
  invoke(name: string, workflow: string, params: unknown): Promise<unknown>;
}

export type Code = (step: StepApi, input: unknown) => Promise<unknown>;

type StepCalled = Parameters<WorkflowWorld["report"]>[0] & { readonly type: "stepCalled" };

const RETRY: RetryPlan = { limit: 5, delayMs: 10, backoff: "exponential" };

/** One run of the code; nothing of it goes on when it is over. */
export class CodeSession implements StepApi {
  isOver = false;
  hasBegun = false;
  readonly id: number;
  readonly callbacks = new Map<string, (info: AttemptInfo) => unknown>();
  readonly rollbacks = new Map<string, (given: unknown) => unknown>();
  readonly waiting = new Map<
    string,
    { resolve: (value: unknown) => void; reject: (e: Error) => void }
  >();
  readonly #counts = new Map<string, number>();
  readonly #report: (call: StepCalled) => void;

  constructor(id: number, report: (call: StepCalled) => void) {
    this.id = id;
    this.#report = report;
  }

  async do(name: string, callback: (info: AttemptInfo) => unknown, config: DoConfig = {}) {
    const { retry = RETRY, timeoutMs, rollback } = config;
    const step = this.#key("do", name);
    this.callbacks.set(step, callback);
    if (rollback) this.rollbacks.set(step, rollback);
    return this.#call(step, {
      op: "do",
      retry,
      ...(timeoutMs !== undefined && { timeoutMs }),
      ...(rollback && { rollback: { retry } }),
    });
  }

  async sleep(name: string, forMs: number) {
    return this.#call(this.#key("sleep", name), { op: "sleep", forMs });
  }

  async waitForEvent(name: string, type: string, timeoutMs = 60_000) {
    const event = await this.#call(this.#key("event", name), { op: "event", type, timeoutMs });
    return (event as { readonly payload: unknown }).payload;
  }

  async invoke(name: string, workflow: string, params: unknown) {
    return this.#call(this.#key("invoke", name), { op: "invoke", workflow }, params);
  }

  #key(kind: string, name: string): string {
    const count = (this.#counts.get(`${kind}:${name}`) ?? 0) + 1;
    this.#counts.set(`${kind}:${name}`, count);
    return `${kind}:${name}-${String(count)}`;
  }

  async #call(step: string, operation: StepCalled["operation"], params?: unknown) {
    if (this.isOver) return new Promise(() => {});
    const answer = new Promise((resolve, reject) => {
      this.waiting.set(step, { resolve, reject });
    });
    const input = { value: params };
    this.#report({ type: "stepCalled", session: this.id, step, operation, input });
    return answer;
  }
}

export class WorkflowCodeWorld extends WorkflowWorld {
  /** Replaced for the sessions that follow: a deploy. */
  code: Code;
  #session: CodeSession | undefined;
  /** Told one by one: what the code makes of one comes before the next, as it was at first. */
  #answers: (() => void)[] = [];

  constructor(code: Code, options: WorldOptions = {}) {
    super(options);
    this.code = code;
  }

  override crash(): void {
    if (this.#session) this.#session.isOver = true;
    this.#answers = [];
    super.crash();
  }

  /** Acts, and lets the code go as far as it gets; sometimes it is found idle then. */
  override async act(): Promise<boolean> {
    const isActive = await super.act();
    await this.settle();
    const { code } = this.run.state;
    const isQuiet = this.#session?.id === code?.session && this.#session?.hasBegun === true;
    if (isQuiet && code?.isLive === true && this.fraction() < 0.3)
      this.report({ type: "codeIdle", session: code.session });
    await this.settle();
    return isActive;
  }

  /** Commits until the code says nothing more. */
  async settle(): Promise<void> {
    do {
      this.commit();
      this.#answers.shift()?.();
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    } while (this.hasPending || this.#answers.length > 0);
  }

  protected override perform(effect: Effect): void {
    switch (effect.do) {
      case "runCode":
        this.#start(effect.session);
        return;
      case "answerStep":
        this.#answer(effect);
        return;
      case "parkCode":
        if (this.#session) this.#session.isOver = true;
        return;
      default:
        super.perform(effect);
    }
  }

  protected override dispatch(effect: Effect & { readonly do: "dispatch" }): void {
    const { step, token, operation, attempt, idempotencyKey: key } = effect;
    const session = this.#session;
    const info = { step, attempt, key };
    const work = (): unknown => {
      if (operation.op !== "rollback") return session?.callbacks.get(step)?.(info);
      const rollback = session?.rollbacks.get(operation.step);
      if (rollback) return rollback(valueOf(effect.input));
      const missing = new Error(`no rollback of ${operation.step}`);
      throw Object.assign(missing, { code: "ROLLBACK_MISSING", isFinal: true });
    };
    this.attempt(step, token, key, false, work);
  }

  #start(id: number): void {
    if (this.#session) this.#session.isOver = true;
    const session = new CodeSession(id, (call) => {
      if (!session.isOver) this.report(call);
    });
    this.#session = session;
    this.later(() => {
      void this.#run(session);
    });
  }

  async #run(session: CodeSession): Promise<void> {
    session.hasBegun = true;
    const outcome = await this.code(session, this.options.input).then(
      (value) => ({ ok: true as const, output: { value } }),
      (thrown: unknown) => ({ ok: false as const, error: toError(thrown) }),
    );
    if (!session.isOver) this.report({ type: "codeEnded", session: session.id, outcome });
  }

  #answer({ session, step, outcome }: Effect & { readonly do: "answerStep" }): void {
    const waiting = this.#session?.id === session ? this.#session.waiting.get(step) : undefined;
    if (!waiting) return;
    this.#session?.waiting.delete(step);
    this.#answers.push(() => {
      if (outcome.ok) waiting.resolve(valueOf(outcome.output));
      else waiting.reject(Object.assign(new Error(outcome.error.message), outcome.error));
    });
  }
}

function toError(thrown: unknown): { name: string; message: string; code?: string } {
  const { name, message, code } = thrown as Error & { code?: string };
  return { name, message, ...(code !== undefined && { code }) };
}
