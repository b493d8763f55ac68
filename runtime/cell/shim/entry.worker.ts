/**
 * The shim: what the cell puts around a tenant's module, in the tenant's own isolate.
 *
 * It is evaluated before the tenant's code (the cell's main module imports it first), builds the
 * context, decodes input, encodes results, and reports errors and console lines on the answer.
 * Nothing computed here is trusted by the cell beyond this tenant's own answer and logs.
 */
import { WorkerEntrypoint, abortIsolate } from "cloudflare:workers";
import {
  type CallEnvelope,
  type CodeClosed,
  type CodeEvent,
  type EnvelopeCarrier,
  type ErrorData,
  type FunctionForm,
  IsolaError,
  LIMITS,
  type RunResult,
  SCOPE_BINDING,
  SHIM_HEADER,
  WORKFLOWS_BINDING,
  type ShimReport,
  type ThrownData,
  isWorkflow,
  unpackEnvelope,
} from "../../contract/index.ts";
import { CodeRun } from "./code-run.worker.ts";
import { adoptEarlyLines, installConsole } from "./console.worker.ts";
import { crumbAlive } from "./crumbs.worker.ts";
import {
  type EntrypointClass,
  type HttpHandler,
  type UserModule,
  configData,
  entrypointNames,
  formOf,
  methodNames,
  workflowClass,
} from "./form.worker.ts";
import { type FlowChecked, type FlowQuestion, answerFlow, checkFlow } from "./flow-calls.worker.ts";
import { type HttpShape, httpParts } from "./http-shape.ts";
import { isValueType, readInput } from "./input.worker.ts";
import { IsolateCall, type ScopeStub, currentCall, isNested } from "./isolate-call.worker.ts";
import { NativeRequest, NativeResponse, parse, stringify } from "./natives.worker.ts";
import { checkWhole, writeResult } from "./output.worker.ts";
import { withoutShim } from "./stack.worker.ts";
import { installTimers } from "./timers.worker.ts";
import { validate } from "./validate.worker.ts";

installConsole();
installTimers();

let user: UserModule = {};
let form: FunctionForm = "data";
let refusal: ErrorData | undefined;

/**
 * Takes the tenant's module; the first call wins, and it is the cell's main module that makes it.
 */
export function adopt(module: UserModule): void {
  user = module;
  try {
    form = formOf(module);
  } catch (thrown) {
    refusal = toErrorData(thrown);
  }
}

/** What `describe` answers to the cell. */
export type Description =
  | { ok: true; form: FunctionForm; entrypoints: string[]; config: unknown }
  | { ok: false; error: ErrorData };

/** The isolate's environment as the tenant sees it, and the stub that it does not. */
interface SplitEnv {
  readonly plain: Record<string, unknown>;
  readonly scope: ScopeStub;
  /** Names of workflows by binding. */
  readonly workflows: Readonly<Record<string, string>>;
}

/** The same for every call of the isolate. */
let known: SplitEnv | undefined;

function splitEnv({
  [SCOPE_BINDING]: scope,
  [WORKFLOWS_BINDING]: workflows = {},
  ...plain
}: Record<string, unknown>): SplitEnv {
  return { plain, scope: scope as ScopeStub, workflows: workflows as SplitEnv["workflows"] };
}

export class IsolaEntry extends WorkerEntrypoint<Record<string, unknown>> {
  /** Also tells the cell that the modules are evaluated. */
  describe(): Description {
    if (refusal) return { ok: false, error: refusal };
    try {
      return { ok: true, form, entrypoints: entrypointNames(user), config: configData(user) };
    } catch (thrown) {
      return { ok: false, error: configError(thrown) };
    }
  }

  /** Drops this isolate; the cell's way to evict. */
  abort(): void {
    abortIsolate("evicted");
  }

  /** A session of a workflow in code form, until it is over. */
  runCode(envelope: CallEnvelope, event: CodeEvent): Promise<CodeClosed> {
    return new Invocation(envelope, this.env, this.ctx).runCode(event);
  }

  /** A call between functions: a value in, a value out. */
  run(
    envelope: CallEnvelope,
    input: unknown,
    method: string | undefined,
    http?: HttpShape,
  ): Promise<RunResult> {
    return new Invocation(envelope, this.env, this.ctx).run(input, method, http);
  }

  /** The plan of a run, or its hooks: see `flow-calls`. */
  flow(envelope: CallEnvelope, question: FlowQuestion): Promise<RunResult> {
    return new Invocation(envelope, this.env, this.ctx).flow(question);
  }

  /** Evaluates a definition before it is registered. */
  checkFlow(): Promise<FlowChecked> {
    return checkFlow(user);
  }
}

/**
 * Where calls over HTTP enter. An object and not the class above: of a class the runtime makes an
 * instance and looks up every handler it might have, for each call, at about 9 µs.
 */
export const httpEntry = {
  fetch(request: Request, env: Record<string, unknown>, ctx: ExecutionContext): Promise<Response> {
    return new Invocation(
      unpackEnvelope(request.cf as unknown as EnvelopeCarrier),
      env,
      ctx,
    ).answer(request);
  },
};

/** One call in this isolate, from its envelope to its answer. */
class Invocation {
  readonly #call: IsolateCall;
  readonly #ctx: ExecutionContext;
  /** Whether a function made the call: the gateway or the cell placed it. */
  readonly #isFromFunction: boolean;

  constructor(envelope: CallEnvelope, env: Record<string, unknown>, ctx: ExecutionContext) {
    known ??= splitEnv(env);
    this.#call = new IsolateCall(envelope, known.plain, known.scope, ctx);
    this.#ctx = ctx;
    this.#isFromFunction = envelope.ch.length > 0;
    adoptEarlyLines(this.#call);
    crumbAlive(envelope.id);
  }

  async answer(request: Request): Promise<Response> {
    const call = this.#call;
    let response: Response;
    try {
      response = await currentCall.run(call, () => this.#answer(request));
      if (call.usesStore) await call.keepStore(form !== "data" && response.body !== null);
    } catch (thrown) {
      return refuse(thrown, call);
    }
    const lines = call.takeLines();
    if (lines.length === 0) return response;
    const header = stringify({ logs: lines } satisfies ShimReport);
    if (header.length > LIMITS.logReplyMaxBytes) {
      call.flushLines(lines);
      return response;
    }
    return withReport(response, header);
  }

  run(input: unknown, method: string | undefined, http: HttpShape | undefined): Promise<RunResult> {
    return this.#result(() => this.#runValue(input, method, http));
  }

  flow(question: FlowQuestion): Promise<RunResult> {
    return this.#result(() => answerFlow(user, question));
  }

  async #result(work: () => Promise<unknown>): Promise<RunResult> {
    const call = this.#call;
    try {
      const value = await currentCall.run(call, work);
      checkWhole(value);
      if (call.usesStore) await call.keepStore(false);
      return { ok: true, value, logs: call.takeLines() };
    } catch (thrown) {
      const { error, thrown: data } = explain(thrown);
      return { ok: false, error, ...(data ? { thrown: data } : {}), logs: call.takeLines() };
    }
  }

  async runCode(event: CodeEvent): Promise<CodeClosed> {
    const call = this.#call;
    const Class = workflowClass(user);
    if (!Class) throw notByCall();
    const session = new CodeRun(await call.openCode(), event, () => crumbAlive(call.callId));
    await currentCall.run(call, () => session.run(Class, this.#ownContext(), this.#env()));
    return { logs: call.takeLines() };
  }

  async #answer(request: Request): Promise<Response> {
    if (isWorkflow(form)) return this.#answerFlow(request);
    const isHttp = form === "http" || form === "entrypoint";
    if (isHttp && !this.#carriesValue(request)) return this.#answerHttp(request);
    if (isHttp || form === "rpc") {
      const method = new URL(request.url).pathname.slice(1);
      return writeResult(
        await this.#callMethod(method, [await this.#readInput(request)]),
        request,
        this.#isFromFunction,
        this.#call,
      );
    }
    const { pathname } = new URL(request.url);
    if (pathname !== "/") {
      throw new IsolaError("ROUTE_NOT_FOUND", {
        attempted: "call a data function",
        found: `the path ${pathname} behind its name`,
        required: "no path",
      });
    }
    return writeResult(
      await this.#runData(await this.#readInput(request)),
      request,
      this.#isFromFunction,
      this.#call,
    );
  }

  #readInput(request: Request): Promise<unknown> {
    return readInput(request, this.#isFromFunction, this.#call);
  }

  /** What a run asks of its workflow, where the gateway placed the question. */
  async #answerFlow(request: Request): Promise<Response> {
    if (!this.#carriesValue(request)) throw notByCall();
    const question = (await this.#readInput(request)) as FlowQuestion;
    return writeResult(await answerFlow(user, question), request, true, this.#call);
  }

  async #answerHttp(request: Request): Promise<Response> {
    const response =
      form === "entrypoint"
        ? await this.#instance().fetch?.(request)
        : await (user.default as { fetch: HttpHandler }).fetch(request, this.#env(), {
            waitUntil: (promise: Promise<unknown>) => this.#call.waitUntil(promise),
            passThroughOnException: () => undefined,
            props: {},
          });
    if (response instanceof NativeResponse) return response;
    throw new IsolaError("RESULT_INVALID", {
      attempted: "answer with what fetch returned",
      found: response === null ? "null" : typeof response,
      required: "a Response",
    });
  }

  async #runValue(
    input: unknown,
    method: string | undefined,
    http: HttpShape = {},
  ): Promise<unknown> {
    if (method !== undefined || form === "rpc") {
      return this.#callMethod(method ?? http.method ?? "", [input]);
    }
    if (form === "data") return this.#runData(input);
    if (isWorkflow(form)) throw notByCall();
    const { search, headers, method: verb, body } = httpParts(http, input, stringify);
    const request = new NativeRequest(`http://function/${search}`, { method: verb, body });
    for (const [name, value] of headers) request.headers.set(name, value);
    request.headers.set("traceparent", this.#call.trace.traceparent);
    return readResponse(await this.#answerHttp(request));
  }

  async #runData(input: unknown): Promise<unknown> {
    const config = (user.config ?? {}) as { input?: unknown; output?: unknown };
    const accepted =
      config.input === undefined
        ? input
        : await validate(config.input, input, "INPUT_INVALID", "input");
    const body = user.default as (input: unknown, ctx: unknown) => unknown;
    const result = await body(accepted, this.#call);
    return config.output === undefined
      ? result
      : validate(config.output, result, "RESULT_INVALID", "output");
  }

  async #callMethod(name: string, args: unknown[]): Promise<unknown> {
    const isClass = form === "rpc" || form === "entrypoint";
    const methods = isClass ? methodNames(user.default as EntrypointClass) : [];
    if (!methods.includes(name)) {
      throw new IsolaError("ROUTE_NOT_FOUND", {
        attempted: `call method ${JSON.stringify(name)}`,
        found: "no such method of the class",
        required: methods.join(", ") || "a class with methods",
      });
    }
    const instance = this.#instance();
    return (instance[name] as (...args: unknown[]) => unknown)(...args);
  }

  /** For a method or a plain function, in place of a request of its own. */
  #carriesValue(request: Request): boolean {
    return this.#isFromFunction && isValueType(request);
  }

  #instance(): InstanceType<EntrypointClass> {
    const Class = user.default as EntrypointClass;
    return new Class(this.#ownContext(), this.#env());
  }

  /** The runtime takes its own context alone, so the tenant's word is put on this one. */
  #ownContext(): ExecutionContext {
    Object.defineProperty(this.#ctx, "waitUntil", {
      value: (promise: Promise<unknown>) => this.#call.waitUntil(promise),
    });
    return this.#ctx;
  }

  #env(): Record<string, unknown> {
    const env: Record<string, unknown> = Object.assign({ ISOLA: this.#call }, this.#call.env);
    env["ISOLA"] = this.#call;
    for (const [binding, name] of Object.entries(known?.workflows ?? {})) {
      env[binding] = this.#call.workflow(name);
    }
    return env;
  }
}

/** The platform makes a run of a call; only what went around it comes here. */
function notByCall(): IsolaError {
  return new IsolaError("EXPORT_INVALID", {
    attempted: "call the function",
    found: "a workflow",
    required: "a run of it",
  });
}

/** Body of an HTTP function's answer as a value. Errors: `FUNCTION_ERROR` for 4xx and 5xx. */
async function readResponse(response: Response): Promise<unknown> {
  const body = await readBody(response);
  if (response.ok) return response.status === 204 ? undefined : body;
  throw new IsolaError("FUNCTION_ERROR", {
    attempted: "call an HTTP function for its value",
    found: `status ${response.status}: ${String(stringify(body)).slice(0, 500)}`,
    required: "a status below 400",
  });
}

async function readBody(response: Response): Promise<unknown> {
  const type = response.headers.get("content-type") ?? "";
  if (type.includes("json")) return parse((await response.text()) || "null");
  if (type.startsWith("text/") || type === "") return response.text();
  return new Uint8Array(await response.arrayBuffer());
}

function refuse(thrown: unknown, call: IsolateCall): Response {
  const { error, thrown: data } = explain(thrown);
  const report: ShimReport = { error, ...(data ? { thrown: data } : {}) };
  const logs = call.takeLines();
  const withLogs = headerText({ ...report, logs });
  if (withLogs.length <= 2 * LIMITS.logReplyMaxBytes) return answerReport(withLogs);
  call.flushLines(logs);
  return answerReport(headerText(report));
}

function answerReport(header: string): Response {
  return new NativeResponse(null, { status: 500, headers: { [SHIM_HEADER]: header } });
}

function withReport(response: Response, header: string): Response {
  const copy = new NativeResponse(response.body, response);
  copy.headers.set(SHIM_HEADER, escapeHeader(header));
  return copy;
}

function headerText(report: ShimReport): string {
  return escapeHeader(stringify(report));
}

/** Headers carry printable ASCII: everything else as a JSON escape. */
function escapeHeader(json: string): string {
  return json.replaceAll(
    /[^\x20-\x7e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A nested call's failure is the function's own, unless it is about the chain of calls itself. */
function isReported(error: IsolaError): boolean {
  return !isNested(error) || error.code === "CALL_LOOP" || error.code === "CALL_DEPTH";
}

/** An error of the platform as it is; anything else is what the function threw. */
function explain(thrown: unknown): { error: ErrorData; thrown?: ThrownData } {
  if (thrown instanceof IsolaError && isReported(thrown)) return { error: thrown.toData() };
  const data = thrownData(thrown);
  const error = new IsolaError("FUNCTION_ERROR", {
    attempted: "run the function",
    found: `it threw ${data.name}`,
  });
  return { error: error.toData(), thrown: data };
}

function thrownData(thrown: unknown): ThrownData {
  try {
    if (thrown instanceof Error) {
      return {
        name: String(thrown.name).slice(0, 200),
        message: String(thrown.message).slice(0, 2_000),
        stack: withoutShim(String(thrown.stack ?? "")).slice(0, 3_000),
      };
    }
    const text = typeof thrown === "string" ? thrown : stringify(thrown);
    return { name: `a ${typeof thrown}`, message: String(text).slice(0, 2_000), stack: "" };
  } catch {
    return { name: "something that cannot be shown", message: "", stack: "" };
  }
}

function configError(thrown: unknown): ErrorData {
  return new IsolaError("CONFIG_INVALID", {
    attempted: "read the exported config",
    found: thrown instanceof Error ? thrown.message : "a value that is no data",
    required: "plain data",
  }).toData();
}

function toErrorData(thrown: unknown): ErrorData {
  if (thrown instanceof IsolaError) return thrown.toData();
  return explain(thrown).error;
}
