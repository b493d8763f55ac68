/**
 * An attempt of a run, as the shard that keeps the run asks for it: a call like one from outside,
 * with its admission, its record and its bounds. Only cells that hold shards may ask.
 */
import {
  type ErrorCode,
  type ErrorData,
  type FunctionRoute,
  IsolaError,
  LIMITS,
  PUBLIC_HEADERS,
  type RouteTarget,
  type RunAttempt,
  type RunAttempted,
  type ThrownData,
  frame,
  parseErrorData,
  pickTarget,
  toIsolaError,
  unframe,
} from "../contract/index.ts";
import { SHARED_GROUP } from "./cell-pool.ts";
import { callFunction } from "./function-call.worker.ts";
import { gatewayOf } from "./gateway.worker.ts";
import { readBytes } from "./request-body.ts";
import type { Background, GatewayState } from "./state.worker.ts";

/** Head and body of an attempt: what came as headers is bounded by the listener that took it. */
const FRAME_MAX_BYTES = LIMITS.callValueMaxBytes + 1024 * 1024;
/** Said of a version that the probation cell died of. */
const CONVICTED: ReadonlySet<ErrorCode> = new Set(["MAX_BLOCK", "MEMORY_LIMIT"]);

/** @param slot of the asking cell; from its socket. Never throws. */
export async function attemptFromCell(
  request: Request,
  slot: number,
  state: GatewayState,
  background: Background,
): Promise<Response> {
  let others: number | undefined;
  try {
    const attempted = "attempt a step of a run";
    const limit = { maxBytes: FRAME_MAX_BYTES, attempted, code: "BODY_TOO_LARGE" } as const;
    const asked = unframe(await readBytes(request, limit));
    const head = asked.head as RunAttempt;
    if (head.isAway) others = othersOf(state, slot);
    if (others === 0) throw nobodyElse(head);
    const response = await place(request, slot, state, background, { head, body: asked.body });
    const code = response.headers.get(PUBLIC_HEADERS.error);
    const bytes = await readBytes(response, limit, brokeOff);
    if (code !== null) throw refusal(head, bytes);
    const headers = [...response.headers].filter(([name]) => !isOurs(name));
    const output = { status: response.status, headers };
    return answer({ ok: true, output, ...(others !== undefined && { others }) }, bytes);
  } catch (thrown) {
    const error = toIsolaError(thrown, "attempt a step of a run");
    const where = CONVICTED.has(error.code) ? ("probation" as const) : undefined;
    const detail = thrown instanceof Refusal ? thrown.thrown : undefined;
    const refused = {
      ok: false as const,
      error: error.toData(),
      ...(detail && { thrown: detail }),
      ...(where && { where }),
      ...(others !== undefined && { others }),
    };
    return answer(refused, new Uint8Array(0));
  }
}

async function place(
  asked: Request,
  slot: number,
  state: GatewayState,
  background: Background,
  { head, body }: { readonly head: RunAttempt; readonly body: Uint8Array },
): Promise<Response> {
  const { namespace, function: name, request } = head;
  // Shards of shared cells keep the runs of all namespaces, of those with cells of their own, too.
  const holdsShards = slot < (state.bindings.settings.cells ?? 1);
  const route = holdsShards ? state.table.route(namespace, name) : undefined;
  // Mostly the version of when the run began is the live one.
  const live = route?.targets.find(({ version }) => version === head.version);
  const target = live ?? (route && (await otherTarget(state, route, head)));
  if (!route || !target) throw notFound(name);
  if (target.quarantined) throw quarantined(name, target.version);
  const { dispatcher } = gatewayOf(() => state.bindings);
  const hasBody = request.method !== "GET" && request.method !== "HEAD";
  const call = new Request(request.url, {
    method: request.method,
    headers: request.headers.map(([key, value]) => [key, value]),
    signal: asked.signal,
    ...(hasBody && body.byteLength > 0 ? { body: body as Uint8Array<ArrayBuffer> } : {}),
  });
  return callFunction(state, dispatcher, call, background, {
    route,
    target,
    row: state.table.namespace(namespace),
    url: request.url,
    prefix: request.prefix,
    showsThrown: true,
    hidesToken: false,
    attempt: {
      number: head.attempt,
      idempotencyKey: head.idempotencyKey,
      ...(head.step && { step: head.step }),
      ...(head.isAway && { avoid: slot }),
    },
  });
}

/** Cells that could take what keeps this one's thread busy. */
function othersOf({ cells }: GatewayState, slot: number): number {
  return cells.upSlots(SHARED_GROUP).filter((one) => one !== slot).length;
}

function nobodyElse({ function: name }: RunAttempt): IsolaError {
  return new IsolaError("CAPACITY", {
    attempted: `run ${name} in another cell`,
    found: "no other cell",
  });
}

/** A version without traffic; of an asynchronous call the live one, if that is no more. */
async function otherTarget(
  state: GatewayState,
  route: FunctionRoute,
  { step, version }: RunAttempt,
): Promise<RouteTarget | undefined> {
  const { namespace, name } = route;
  try {
    return await state.registry.read("versionTarget", { namespace, name, version });
  } catch (thrown) {
    const isGone = thrown instanceof IsolaError && thrown.code === "VERSION_NOT_FOUND";
    const isCall = !step || step.chain.length === 0;
    if (isGone && isCall) return pickTarget(route, state.random.fraction());
    throw thrown;
  }
}

/** With what the function threw: for the owner of the run. */
class Refusal extends IsolaError {
  readonly thrown: ThrownData | undefined;

  constructor({ code, parts }: ErrorData, thrown: ThrownData | undefined) {
    super(code, parts);
    this.thrown = thrown;
  }
}

/** What each call has anew. */
function isOurs(name: string): boolean {
  return (
    name.startsWith("x-isola-") ||
    name === PUBLIC_HEADERS.callId ||
    name === PUBLIC_HEADERS.timing ||
    name === PUBLIC_HEADERS.traceparent ||
    name === "content-length" ||
    name === "transfer-encoding"
  );
}

function answer(head: RunAttempted, body: Uint8Array): Response {
  return new Response(frame(head, body));
}

/** The gateway's own words, with their parts. */
function refusal({ function: name }: RunAttempt, bytes: Uint8Array): IsolaError {
  const { error } = JSON.parse(new TextDecoder().decode(bytes)) as { error: object };
  const { attempted, found, required, fix } = error as Record<string, string | undefined>;
  const parts = {
    attempted: attempted ?? `run ${name}`,
    found: found ?? "no reason",
    ...(required === undefined ? {} : { required }),
    ...(fix === undefined ? {} : { fix }),
  };
  const data = parseErrorData({ ...error, parts });
  const { detail } = error as { readonly detail?: ThrownData };
  return data
    ? new Refusal(data, detail)
    : new IsolaError("INTERNAL", { attempted: `run ${name}`, found: "an answer without a code" });
}

function brokeOff(): IsolaError {
  return new IsolaError("CELL_LOST", {
    attempted: "read a function's answer",
    found: "one that broke off",
  });
}

function notFound(name: string): IsolaError {
  return new IsolaError("FUNCTION_NOT_FOUND", {
    attempted: `run ${name}`,
    found: "no such function any more",
  });
}

function quarantined(name: string, version: number): IsolaError {
  return new IsolaError("FUNCTION_QUARANTINED", {
    attempted: `run ${name}`,
    found: `version ${String(version)} in quarantine`,
    retryAfterSeconds: 60,
  });
}
