/**
 * One call inside of the isolate: its context, its console lines, its scope.
 *
 * The scope is opened on first use only; a call that needs nothing of the platform costs nothing.
 */
import {
  type CallEnvelope,
  type CallScope,
  type CodeBridge,
  type ErrorCode,
  type ErrorParts,
  type InstanceQuestion,
  type InstanceReply,
  IsolaError,
  LIMITS,
  type LogLevel,
  type PackForm,
  type ScopeCallOptions,
  type ScopeCallResult,
  type ScopeStartOptions,
  type ScopeStartResult,
  type ShimLine,
  type StoreTarget,
  type Unpacked,
  findUncloneable,
  parseTraceparent,
} from "../../contract/index.ts";
import type {
  CallOptions,
  Context,
  Log,
  StartOptions,
  StoreJob,
  TraceInfo,
} from "../../sdk/index.ts";
import { formatConsole } from "../../telemetry/index.ts";
import { currentStep } from "./code-step-place.worker.ts";
import { crumbAlive, crumbBackground, crumbLine } from "./crumbs.worker.ts";
import { withoutShim } from "./stack.worker.ts";
import { CallStorage, cancelLater, later, now } from "./natives.worker.ts";
import { WorkflowBinding } from "./workflow-binding.worker.ts";
import { StoreLinks } from "./store-link.worker.ts";
import { Job } from "./store.worker.ts";

export const currentCall = new CallStorage<IsolateCall>();

const nested = new WeakSet<object>();

function asNested(error: IsolaError): IsolaError {
  nested.add(error);
  return error;
}

/** True for what calls and the store threw: uncaught, it is the function's own failure. */
export function isNested(thrown: object): boolean {
  return nested.has(thrown);
}

/** Stub of the cell's `Scope` entrypoint. */
export interface ScopeStub {
  open(callId: string): Promise<CallScope> & CallScope;
  /** A job without a scope around it. */
  store(callId: string, jobId?: string): Promise<StoreTarget>;
  /** A call to another function. */
  call(
    callId: string,
    name: string,
    input: unknown,
    options: ScopeCallOptions,
  ): Promise<ScopeCallResult>;
  /** A run of another function, that nobody waits for. */
  callAsync(
    callId: string,
    name: string,
    input: unknown,
    options: ScopeStartOptions,
  ): Promise<ScopeStartResult>;
  /** MessagePack; needs no call in flight either. */
  pack(value: unknown, form: PackForm): Promise<Uint8Array>;
  unpack(octets: Uint8Array, form: PackForm): Promise<Unpacked>;
  /** An instance of a workflow; `value` is its parameters, or the payload of an event. */
  instance(callId: string, question: InstanceQuestion, value: unknown): Promise<InstanceReply>;
  /** Of a call that is a session of code. */
  code(callId: string): Promise<CodeBridge>;
  /** Of such a call: the call of one attempt in it. */
  openStep(callId: string, step: string, token: number): Promise<string>;
  storeOfStep(callId: string, step: string, token: number, jobId?: string): Promise<StoreTarget>;
  /** Console lines without a scope: they need no call in flight. */
  say(callId: string, lines: readonly ShimLine[]): Promise<void>;
}

/** workerd's word for a message beyond `callValueMaxBytes`. */
const TOO_LARGE = "limited to 32MiB";

/** Interval in which the lines of a running call are flushed. */
const FLUSH_MS = 300;
/** The same after its answer: the invocation is held for this long. */
const LATE_FLUSH_MS = 30;

export class IsolateCall implements Context {
  readonly callId: string;
  readonly attempt: number;
  runId?: string;
  readonly step?: string;
  readonly idempotencyKey: string;
  readonly deadline: Date | null;
  readonly env: Readonly<Record<string, unknown>>;
  readonly #envelope: CallEnvelope;
  readonly #stub: ScopeStub;
  /** The runtime's own `waitUntil` of this invocation. */
  readonly #keep: (promise: Promise<unknown>) => void;
  #scope: (Promise<CallScope> & CallScope) | undefined;
  #controller: AbortController | undefined;
  #lines: ShimLine[] = [];
  #dropped = 0;
  #flushTimer: number | undefined;
  #answered = false;
  #background = 0;
  #held = false;
  #store: StoreJob | undefined;
  #usesStore = false;
  /** It is a session of code. */
  #isCode = false;
  /** Whom it called may have used the store. */
  #hasCalled = false;

  constructor(
    envelope: CallEnvelope,
    env: Record<string, unknown>,
    stub: ScopeStub,
    ctx: ExecutionContext,
  ) {
    this.#envelope = envelope;
    this.#stub = stub;
    this.#keep = ctx.waitUntil.bind(ctx);
    this.callId = envelope.id;
    this.attempt = envelope.at;
    const { rs } = envelope;
    if (rs) {
      this.runId = rs.run;
      this.step = rs.step;
    }
    this.idempotencyKey = envelope.ik;
    this.deadline = envelope.dl === 0 ? null : new Date(envelope.dl);
    this.env = env;
  }

  get trace(): TraceInfo {
    const trace = parseTraceparent(this.#envelope.tp);
    return {
      traceId: trace?.traceId ?? "",
      spanId: trace?.spanId ?? "",
      traceparent: this.#envelope.tp,
    };
  }

  get log(): Log {
    const line =
      (level: LogLevel) =>
      (...data: unknown[]): void =>
        this.line(level, formatConsole(data));
    return { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
  }

  get store(): StoreJob {
    if (this.#isCode) return this.#storeOfStep();
    this.#store ??= this.#openStore((job) =>
      this.#scope ? this.#scope.store(job) : this.#stub.store(this.#envelope.id, job),
    );
    return this.#store;
  }

  /** Outside of steps nothing would say when what code puts counts. */
  #storeOfStep(): StoreJob {
    const place = currentStep.get();
    if (!place) throw asNested(IsolaError.fromData(notInStep().error));
    const { step, token } = place;
    place.store ??= this.#openStore((job) => this.#stub.storeOfStep(this.callId, step, token, job));
    return place.store;
  }

  #openStore(open: (job: string | undefined) => Promise<StoreTarget>): StoreJob {
    return new Job(
      new StoreLinks({
        enter: () => this.#enterStore(),
        open,
        createJob: (request) => this.#open().createJob(request),
        mark: (error) => asNested(error),
      }),
    );
  }

  #enterStore(): void {
    const inside = currentCall.get();
    if (inside !== undefined && inside !== this) {
      throw asNested(IsolaError.fromData(foreign("use the store").error));
    }
    this.#usesStore = true;
  }

  /** Whether `keepStore` has something to say. */
  get usesStore(): boolean {
    return this.#usesStore || (this.#hasCalled && this.#background > 0);
  }

  /** Says what of the call will still use its store after the answer; await it before that. */
  async keepStore(isStream: boolean): Promise<void> {
    if (isStream && this.#usesStore) await this.#open().streams();
    if (this.#background > 0) await this.#hold(true);
  }

  get signal(): AbortSignal {
    if (!this.#controller) this.#controller = this.#watchEnd();
    return this.#controller.signal;
  }

  async call<Result>(name: string, input?: unknown, options: CallOptions = {}): Promise<Result> {
    const result = await this.#send(String(name), input, {
      ...(options.version === undefined ? {} : { version: options.version }),
      ...(options.method === undefined ? {} : { method: options.method }),
    });
    if (result.ok) return result.value as Result;
    throw asNested(IsolaError.fromData(result.error));
  }

  async callAsync(name: string, input?: unknown, options: StartOptions = {}): Promise<string> {
    const { version } = options;
    const inStep = currentStep.get();
    const result = await this.#start(String(name), input, {
      ...(version === undefined ? {} : { version }),
      ...(inStep && { under: inStep.nextStart() }),
    });
    if (result.ok) return result.id;
    throw asNested(IsolaError.fromData(result.error));
  }

  async #start(
    name: string,
    input: unknown,
    options: ScopeStartOptions,
  ): Promise<ScopeStartResult> {
    const inside = currentCall.get();
    if (inside !== undefined && inside !== this) return foreign(`start ${name}`);
    const lost = findUncloneable(input);
    if (lost) return noValue(name, `${lost.kind} at ${lost.path}`);
    try {
      return await this.#stub.callAsync(this.callId, name, input, options);
    } catch (thrown) {
      if (String(thrown).includes(TOO_LARGE)) return tooLarge(name);
      throw thrown;
    }
  }

  async #send(name: string, input: unknown, options: ScopeCallOptions): Promise<ScopeCallResult> {
    const inside = currentCall.get();
    if (inside !== undefined && inside !== this) return foreign(`call ${name}`);
    const lost = findUncloneable(input);
    if (lost) return noValue(name, `${lost.kind} at ${lost.path}`);
    this.#hasCalled = true;
    try {
      return await this.#stub.call(await this.#callIdHere(), name, input, options);
    } catch (thrown) {
      if (String(thrown).includes(TOO_LARGE)) return tooLarge(name);
      throw thrown;
    }
  }

  /** In a step of code that of the step: whom it calls works for the same attempt. */
  #callIdHere(): string | Promise<string> {
    const place = this.#isCode ? currentStep.get() : undefined;
    if (!place) return this.callId;
    return place.callId((step, token) => this.#stub.openStep(this.callId, step, token));
  }

  /** Errors: `INPUT_MALFORMED`. */
  async unpack(octets: Uint8Array, form: PackForm): Promise<unknown> {
    const unpacked = await this.#stub.unpack(octets, form);
    if (unpacked.ok) return unpacked.value;
    throw new IsolaError("INPUT_MALFORMED", {
      attempted: "read the body as MessagePack",
      found: unpacked.found,
      required: "MessagePack, as its content type says",
    });
  }

  /** Errors: `BODY_TOO_LARGE`. */
  async pack(value: unknown, form: PackForm): Promise<Uint8Array<ArrayBuffer>> {
    try {
      return (await this.#stub.pack(value, form)) as Uint8Array<ArrayBuffer>;
    } catch (thrown) {
      if (!String(thrown).includes(TOO_LARGE)) throw thrown;
      throw new IsolaError("BODY_TOO_LARGE", {
        attempted: "answer in MessagePack",
        found: "a result that is larger",
        required: `at most ${LIMITS.callValueMaxBytes} bytes`,
      });
    }
  }

  workflow(name: string): WorkflowBinding {
    return new WorkflowBinding(name, async (call, value) => {
      const lost = findUncloneable(value);
      if (lost) return noValue(`${call.op} an instance of ${name}`, `${lost.kind} at ${lost.path}`);
      return this.#stub.instance(this.callId, { workflow: name, call }, value);
    });
  }

  /** The cell's end of the session of code that the call is. */
  openCode(): Promise<CodeBridge> {
    this.#isCode = true;
    this.runId = this.#envelope.ik;
    return this.#stub.code(this.callId);
  }

  waitUntil(promise: Promise<unknown>): void {
    if (this.#background++ === 0) crumbBackground(this.#envelope.id, true);
    const settled = Promise.resolve(promise)
      .catch((thrown: unknown) => this.line("error", formatConsole(["waitUntil:", thrown])))
      .then(() => {
        crumbAlive(this.#envelope.id);
        if (--this.#background > 0) return undefined;
        crumbBackground(this.#envelope.id, false);
        return this.#held ? this.#hold(false) : undefined;
      });
    this.#keep(settled);
  }

  /** Takes one console line; it rides on the answer, or is flushed while the call runs. */
  line(level: LogLevel, text: string): void {
    const atMs = now();
    if (this.#lines.length >= LIMITS.logLinesPerFlush) {
      this.#dropped += 1;
      return;
    }
    const own = withoutShim(text);
    const cut = own.length > LIMITS.logLineMaxBytes;
    const kept = cut ? `${own.slice(0, LIMITS.logLineMaxBytes)}… (cut)` : own;
    crumbLine(this.#envelope.id, level, atMs, kept);
    this.#lines.push({ atMs, level, text: kept });
    if (this.#flushTimer !== undefined) return;
    if (this.#answered) this.#keep(this.#flushLater());
    else this.#flushTimer = later(() => this.#flush(), FLUSH_MS);
  }

  /** Told only of work that outlives the answer: it is what keeps the isolate from eviction. */
  async #hold(isOpen: boolean): Promise<void> {
    this.#held = isOpen;
    await this.#open()
      .background(isOpen)
      .catch(() => undefined);
  }

  /** Lines not yet flushed; from here on each further line is flushed by itself. */
  takeLines(): ShimLine[] {
    crumbAlive(this.#envelope.id);
    this.#answered = true;
    if (this.#background > 0 && !this.#held) this.#keep(this.#hold(true));
    if (this.#flushTimer !== undefined) cancelLater(this.#flushTimer);
    this.#flushTimer = undefined;
    return this.#drainLines();
  }

  #drainLines(): ShimLine[] {
    const lines = this.#lines;
    this.#lines = [];
    if (this.#dropped > 0) {
      lines.push({ atMs: now(), level: "warn", text: `${this.#dropped} more lines dropped` });
      this.#dropped = 0;
    }
    return lines;
  }

  /** Sends lines through the scope; used when they are too many for the answer's header. */
  flushLines(lines: readonly ShimLine[]): void {
    this.#keep(this.#scope ? this.#scope.flush(lines) : this.#stub.say(this.callId, lines));
  }

  /** After the answer nothing else may keep the invocation alive until the lines have left. */
  async #flushLater(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#flushTimer = later(resolve, LATE_FLUSH_MS);
    });
    this.#flush();
  }

  #flush(): void {
    this.#flushTimer = undefined;
    const lines = this.#drainLines();
    if (lines.length > 0) this.flushLines(lines);
  }

  #open(): Promise<CallScope> & CallScope {
    this.#scope ??= this.#stub.open(this.#envelope.id);
    return this.#scope;
  }

  #watchEnd(): AbortController {
    const controller = new AbortController();
    const end = (reason: string): void => {
      const code = reason === "deadline" ? "TIMEOUT" : "CONFLICT";
      controller.abort(
        new IsolaError(code, { attempted: "finish the call", found: `its end: ${reason}` }),
      );
    };
    const { dl } = this.#envelope;
    if (dl > 0) later(() => end("deadline"), Math.max(0, dl - now()));
    void this.#open()
      .canceled()
      .then(end)
      .catch(() => undefined);
    return controller;
  }
}

type Refusal = ScopeCallResult & { readonly ok: false };

function refusal(code: ErrorCode, parts: ErrorParts): Refusal {
  return { ok: false, error: new IsolaError(code, parts).toData() };
}

function foreign(attempted: string): Refusal {
  return refusal("CONFLICT", {
    attempted,
    found: "the context of another call, which was kept",
    required: "the context of the call that is running",
  });
}

function notInStep(): Refusal {
  return refusal("CONFLICT", {
    attempted: "use the store in the code of a workflow",
    found: "no step around it",
    required: "a step, with whose result what it puts counts",
    fix: "Use it within step.do.",
  });
}

function noValue(name: string, found: string): Refusal {
  return refusal("INPUT_MALFORMED", {
    attempted: `call ${name}`,
    found,
    required: "data that can be cloned: no functions, symbols, streams or class instances",
  });
}

function tooLarge(name: string): Refusal {
  return refusal("BODY_TOO_LARGE", {
    attempted: `call ${name}`,
    found: "an input that is larger",
    required: `at most ${LIMITS.callValueMaxBytes} bytes`,
  });
}
