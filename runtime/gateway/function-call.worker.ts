/**
 * One call of a function from outside: from its request to its answer, with its record.
 * The hot path of the gateway: one route lookup, one header copy each way, one dispatch.
 *
 * E1 Every call that was given an id is recorded exactly once, however it ends.
 * E2 Nothing under `x-isola-` passes, in either direction; the platform's token never does.
 */
import {
  type CallEnvelope,
  type CallOutcome,
  type CallReply,
  type FunctionRoute,
  IsolaError,
  LIMITS,
  type NamespaceRoute,
  PRIVATE_PREFIX,
  PUBLIC_HEADERS,
  REPLY_HEADER,
  type RouteTarget,
  type RunAttempt,
  type TraceContext,
  blockBoundMs,
  childTrace,
  formatTraceparent,
  functionKey,
  isErrorCode,
  newCallId,
  newTrace,
  parseErrorData,
  parseTraceparent,
  toIsolaError,
} from "../contract/index.ts";
import { countedStream } from "./body-stream.worker.ts";
import { Departure, type Dispatched, type Dispatcher } from "./dispatcher.worker.ts";
import { errorResponse } from "./error-response.ts";
import { discardRefused } from "./request-body.ts";
import type { Background, GatewayState } from "./state.worker.ts";

export interface FunctionCall {
  readonly route: FunctionRoute;
  readonly target: RouteTarget;
  readonly row: NamespaceRoute | undefined;
  /** URL as the function sees it. */
  readonly url: string;
  readonly prefix: string;
  /** The caller may see what the function threw. */
  readonly showsThrown: boolean;
  /** The Authorization header is the platform's own and stays here. */
  readonly hidesToken: boolean;
  /** It is an attempt of a run. */
  readonly attempt?: {
    readonly number: number;
    readonly idempotencyKey: string;
    readonly step?: NonNullable<RunAttempt["step"]>;
    /** Slot of the cell that asks for another one. */
    readonly avoid?: number;
  };
}

interface Running {
  readonly state: GatewayState;
  readonly request: Request;
  readonly ctx: Background;
  readonly call: FunctionCall;
  readonly envelope: CallEnvelope;
  readonly trace: TraceContext;
  readonly parentSpanId: string | undefined;
  readonly startedAtMs: number;
  readonly bytesIn: number;
}

/** What is known of the call's end. */
interface Ending {
  readonly outcome: CallOutcome;
  readonly status: number;
  readonly bytesOut: number;
  readonly queueMs: number;
  readonly reply: CallReply;
}

const WARM_REPLY: CallReply = { cold: 0, loadMs: 0, runMs: 0 };

export async function callFunction(
  state: GatewayState,
  dispatcher: Dispatcher,
  request: Request,
  ctx: Background,
  call: FunctionCall,
): Promise<Response> {
  const running = begin(state, request, ctx, call);
  const { namespace, name } = call.route;
  state.hub.callStarted(namespace, name);
  let isRecorded = false;
  const end = (ending: Ending): void => {
    if (isRecorded) return;
    isRecorded = true;
    record(running, ending);
  };
  const departure = new Departure();
  request.signal.addEventListener("abort", () => {
    departure.leave();
    end(canceled());
  });
  try {
    checkLength(running);
    const dispatched = await dispatcher.dispatch({
      envelope: running.envelope,
      target: call.target,
      route: call.route,
      row: call.row,
      url: call.url,
      method: request.method,
      headers: forwardHeaders(request, call, running.trace),
      body: request.body as ReadableStream<Uint8Array> | null,
      bodyBytes: lengthOf(request.headers),
      client: clientOf(request),
      departure,
      ...(call.attempt?.avoid !== undefined && { avoid: call.attempt.avoid }),
    });
    return await answer(running, dispatched, end, ctx);
  } catch (thrown) {
    const error = toIsolaError(thrown, `call ${name}`);
    // Nobody reads the answer then; that the client went is what ended the call.
    if (departure.isGone) end(canceled());
    else state.hub.refused(error.code);
    end({ ...canceled(), outcome: outcomeOf(error), status: error.status });
    await discardRefused(request);
    return errorResponse(error, {
      callId: running.envelope.id,
      headers: publicHeaders(new Headers(), running, WARM_REPLY, 0),
    });
  }
}

/** A data function holds its input whole: what is announced as too large is not sent to it. */
function checkLength({ call, bytesIn }: Running): void {
  if (bytesIn <= LIMITS.dataBodyMaxBytes) return;
  const { form } = call.target;
  if (form === "http" || form === "entrypoint") return;
  throw new IsolaError("BODY_TOO_LARGE", {
    attempted: `call ${call.route.name}`,
    found: `a body of ${bytesIn} bytes`,
    required: `at most ${LIMITS.dataBodyMaxBytes} bytes`,
  });
}

function begin(
  state: GatewayState,
  request: Request,
  ctx: Background,
  call: FunctionCall,
): Running {
  const { clock, random } = state;
  const startedAtMs = clock.now();
  const parent = parseTraceparent(request.headers.get("traceparent"));
  const trace = parent ? childTrace(parent, random) : newTrace(random);
  const id = newCallId(random);
  const { target, route } = call;
  const envelope: CallEnvelope = {
    id,
    ns: route.namespace,
    fn: route.name,
    v: target.version,
    dl: target.timeoutMs === 0 ? 0 : startedAtMs + target.timeoutMs,
    tp: formatTraceparent(trace),
    at: call.attempt?.number ?? 1,
    ik: call.attempt?.idempotencyKey ?? request.headers.get("idempotency-key") ?? id,
    ch: [],
    sg: target.secretsGeneration,
    fr: target.reuse === "call" ? 1 : 0,
    mb: blockBoundMs(call.row, target),
    ...stepOf(call),
  };
  return {
    state,
    request,
    ctx,
    call,
    envelope,
    trace,
    parentSpanId: parent?.spanId,
    startedAtMs,
    bytesIn: lengthOf(request.headers) ?? 0,
  };
}

/** What a step of a workflow has in its envelope in place of what a call from outside has. */
function stepOf({ route, attempt }: FunctionCall): Partial<CallEnvelope> {
  if (!attempt?.step) return {};
  const { chain, deadlineMs, ...rs } = attempt.step;
  const ch = chain.map((name) => functionKey(route.namespace, name));
  return { ch, rs, ...(deadlineMs > 0 && { dl: deadlineMs }) };
}

/** The cell's answer as the client gets it; the lease goes back when its body has left. */
async function answer(
  running: Running,
  dispatched: Dispatched,
  end: (ending: Ending) => void,
  ctx: Background,
): Promise<Response> {
  const { response: received, queueMs } = dispatched;
  const { body, status } = received;
  // One copy, and its headers changed in place: every object of the runtime that is made here, to
  // look at or to copy from, costs the collector some microseconds.
  const response = new Response(body, received);
  const { headers } = response;
  const header = headers.get(REPLY_HEADER);
  const reply =
    header === null ? { ...WARM_REPLY, runMs: runMsOf(running, queueMs) } : parseReply(header);
  if (reply.error !== undefined) return faultAnswer(running, response, dispatched, reply, end);
  const length = lengthOf(headers);
  publicHeaders(headers, running, reply, queueMs);
  if (body === null || length !== undefined || isBodiless(running.request, status)) {
    dispatched.release(true);
    end({ outcome: "ok", status, bytesOut: length ?? 0, queueMs, reply });
    return response;
  }
  dispatched.markStreaming();
  const counted = countedStream(body);
  ctx.waitUntil(
    counted.ended.then(({ bytes, isComplete }) => {
      dispatched.release(isComplete);
      end({ outcome: isComplete ? "ok" : "canceled", status, bytesOut: bytes, queueMs, reply });
    }),
  );
  return new Response(counted.stream, { status, statusText: received.statusText, headers });
}

/** An answer in which the platform speaks for the function. */
async function faultAnswer(
  running: Running,
  response: Response,
  dispatched: Dispatched,
  reply: CallReply,
  end: (ending: Ending) => void,
): Promise<Response> {
  const body = (await response.json().catch(() => undefined)) as
    | { error?: unknown; thrown?: unknown }
    | undefined;
  const data = parseErrorData(body?.error);
  const error = data ? IsolaError.fromData(data) : unreadable(running, reply);
  dispatched.release(true);
  const { queueMs } = dispatched;
  end({ outcome: outcomeOf(error), status: error.status, bytesOut: 0, queueMs, reply });
  return errorResponse(namedError(error, running), {
    callId: running.envelope.id,
    headers: publicHeaders(new Headers(), running, reply, queueMs),
    ...(body?.thrown !== undefined && running.call.showsThrown ? { detail: body.thrown } : {}),
  });
}

/** The head says which error it is, if the body was cut off. */
function unreadable({ call }: Running, { error = "INTERNAL" }: CallReply): IsolaError {
  const attempted = `call ${call.route.name}`;
  return new IsolaError(error, { attempted, found: "an answer of the cell that was cut off" });
}

/** A function's own failure is shown by name and call id only; the rest is in its logs. */
function namedError(error: IsolaError, running: Running): IsolaError {
  if (error.code !== "FUNCTION_ERROR") return error;
  const { fn, id } = running.envelope;
  const found = running.call.showsThrown ? error.parts.found : "an error inside of it";
  return new IsolaError("FUNCTION_ERROR", { attempted: `run ${fn} (call ${id})`, found });
}

/** Request headers as the function gets them (E2). */
function forwardHeaders(request: Request, call: FunctionCall, trace: TraceContext): Headers {
  const headers = new Headers(request.headers);
  dropPrivate(headers);
  if (call.hidesToken) headers.delete("authorization");
  headers.set("traceparent", formatTraceparent(trace));
  if (call.prefix !== "") headers.set("x-forwarded-prefix", call.prefix);
  return headers;
}

function publicHeaders(
  headers: Headers,
  running: Running,
  reply: CallReply,
  queueMs: number,
): Headers {
  const { envelope, call } = running;
  dropPrivate(headers);
  headers.set(PUBLIC_HEADERS.callId, envelope.id);
  headers.set(PUBLIC_HEADERS.version, String(envelope.v));
  headers.set(PUBLIC_HEADERS.backend, call.target.backend);
  headers.set(PUBLIC_HEADERS.cold, String(reply.cold));
  headers.set(PUBLIC_HEADERS.traceparent, envelope.tp);
  const timing = `queue;dur=${queueMs}, load;dur=${reply.loadMs}, run;dur=${reply.runMs}`;
  headers.append(PUBLIC_HEADERS.timing, timing);
  return headers;
}

function dropPrivate(headers: Headers): void {
  // Collected first, most often nothing; an iterator costs more than the look itself.
  let found: string[] | undefined;
  headers.forEach((_value, name) => {
    if (name.startsWith(PRIVATE_PREFIX)) (found ??= []).push(name);
  });
  for (const name of found ?? []) headers.delete(name);
}

function record(running: Running, ending: Ending): void {
  const { state, call, envelope, startedAtMs, trace, parentSpanId } = running;
  state.hub.recordCall(
    {
      callId: envelope.id,
      namespace: envelope.ns,
      function: envelope.fn,
      version: envelope.v,
      backend: call.target.backend,
      outcome: ending.outcome,
      status: ending.status,
      cold: ending.reply.cold === 1,
      startedAtMs,
      wallMs: state.clock.now() - startedAtMs,
      queueMs: ending.queueMs,
      loadMs: ending.reply.loadMs,
      runMs: ending.reply.runMs,
      bytesIn: running.bytesIn,
      bytesOut: ending.bytesOut,
      memoryMb: call.target.memoryMb,
    },
    trace,
    parentSpanId,
  );
}

function canceled(): Ending {
  return { outcome: "canceled", status: 499, bytesOut: 0, queueMs: 0, reply: WARM_REPLY };
}

function outcomeOf(error: IsolaError): CallOutcome {
  if (error.code === "TIMEOUT") return "timeout";
  return error.code === "FUNCTION_ERROR" || error.code === "RESULT_INVALID"
    ? "function_error"
    : "platform_error";
}

function runMsOf(running: Running, queueMs: number): number {
  return Math.max(0, running.state.clock.now() - running.startedAtMs - queueMs);
}

/** The cell wrote it; a tenant's header of that name never leaves the cell (cell D3). */
function parseReply(header: string): CallReply {
  const reply = JSON.parse(header) as CallReply;
  return reply.error === undefined || isErrorCode(reply.error)
    ? reply
    : { ...reply, error: "INTERNAL" };
}

function lengthOf(headers: Headers): number | undefined {
  const text = headers.get("content-length");
  return text === null ? undefined : Number(text);
}

function isBodiless(request: Request, status: number): boolean {
  return request.method === "HEAD" || status === 204 || status === 304 || status === 101;
}

function clientOf(request: Request): string | undefined {
  const cf = request.cf as { clientIp?: unknown } | undefined;
  return typeof cf?.clientIp === "string" ? cf.clientIp : undefined;
}
