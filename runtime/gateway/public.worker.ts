/**
 * The public listener: `/function/…`, `/async-function/…`, `/runs/…`, host routing, `/healthz` and
 * `/readyz` (INTERFACE §2, §5).
 */
import {
  IsolaError,
  type RouteTarget,
  functionKey,
  isWorkflow,
  pickTarget,
  toIsolaError,
} from "../contract/index.ts";
import { authorize } from "./authority.worker.ts";
import type { Dispatcher } from "./dispatcher.worker.ts";
import { errorResponse } from "./error-response.ts";
import { type FunctionCall, callFunction } from "./function-call.worker.ts";
import { type ResolvedPath, hostTarget, pathOf, resolvePath } from "./resolve-call.ts";
import { discardRefused } from "./request-body.ts";
import { answerRun } from "./run-answer.worker.ts";
import { findRun, startRun } from "./runs.worker.ts";
import type { GatewayState } from "./state.worker.ts";
import { callWorkflow } from "./workflow-call.worker.ts";

const ASYNC = "/async-function/";
const RUNS = "/runs/";

/** Prefix of every token that the platform makes; such a token never reaches a function. */
const TOKEN_PREFIX = "bearer isola_";

export async function handlePublic(
  state: GatewayState,
  dispatcher: Dispatcher,
  request: Request,
  ctx: ExecutionContext,
): Promise<Response> {
  try {
    const path = pathOf(request.url);
    const host = request.headers.get("host") ?? "";
    if (path === "/healthz") return new Response("ok\n");
    if (path === "/readyz") return readiness(dispatcher, state);
    // At a function's own host every path is its own.
    const isOurs = hostTarget(host) === undefined;
    if (isOurs && path.startsWith(RUNS)) {
      return await readRun(state, request, path.slice(RUNS.length));
    }
    const isAsync = isOurs && path.startsWith(ASYNC);
    const resolved = isAsync ? resolveAsync(path) : resolvePath(host, path);
    if (!state.isLoaded) await state.ready();
    const call = await prepare(state, request, resolved, host);
    state.housekeep(ctx);
    if (isAsync) return await startRun(state, request, call);
    if (isWorkflow(call.target.form)) return await callWorkflow(state, request, call);
    return await callFunction(state, dispatcher, request, ctx, call);
  } catch (thrown) {
    await discardRefused(request);
    return errorResponse(toIsolaError(thrown, "answer a request"));
  }
}

function resolveAsync(path: string): ResolvedPath {
  const resolved = resolvePath("", `/function/${path.slice(ASYNC.length)}`);
  return { ...resolved, prefix: resolved.prefix.replace("/function/", ASYNC) };
}

/** Under the auth of the run's function, for whoever holds the id. */
async function readRun(state: GatewayState, request: Request, rest: string): Promise<Response> {
  const [id = ""] = rest.split("?", 1);
  if (request.method !== "GET" && request.method !== "HEAD") {
    throw new IsolaError("METHOD_NOT_ALLOWED", {
      attempted: "read a run",
      found: request.method,
      required: "GET, HEAD",
    });
  }
  if (!state.isLoaded) await state.ready();
  const { found, body } = await findRun(state, id, request.headers.get("accept") ?? "");
  const route = state.table.route(found.namespace, found.function);
  const target = route && pickTarget(route, state.random.fraction());
  if (!target) throw notFound(found.namespace, found.function);
  await authorizeCall(state, request, target, found.namespace, found.function);
  return answerRun(found, body);
}

async function prepare(
  state: GatewayState,
  request: Request,
  resolved: ResolvedPath,
  host: string,
): Promise<FunctionCall> {
  const { namespace, name } = resolved.target;
  const route = state.table.route(namespace, name);
  const target = route && pickTarget(route, state.random.fraction());
  if (!route || !target) throw notFound(namespace, name);
  const isTrusted = await authorizeCall(state, request, target, namespace, name);
  const authorization = request.headers.get("authorization")?.toLowerCase();
  if (target.quarantined) throw quarantined(name, target);
  return {
    route,
    target,
    row: state.table.namespace(namespace),
    url: `http://${host}${resolved.path}`,
    prefix: resolved.prefix,
    showsThrown: state.bindings.settings.dev || isTrusted,
    hidesToken: isTrusted || (authorization?.startsWith(TOKEN_PREFIX) ?? false),
  };
}

/** True if the caller holds a platform token that may operate the namespace. */
async function authorizeCall(
  state: GatewayState,
  request: Request,
  target: RouteTarget,
  namespace: string,
  name: string,
): Promise<boolean> {
  if (target.auth === "internal") {
    throw new IsolaError("INTERNAL_ONLY", {
      attempted: `call ${name} from outside`,
      found: "a function with auth internal",
      required: "a call from a function of its namespace",
    });
  }
  const isPublic = target.auth === "public";
  if (isPublic && !request.headers.has("authorization")) return false;
  try {
    authorize(await state.authority.authenticate(request), namespace, "operate");
    return true;
  } catch (thrown) {
    // A public function may have a use of its own for the header.
    if (isPublic) return false;
    throw asCallRefusal(toIsolaError(thrown, `call ${name}`), name);
  }
}

/** A token of another namespace is no token here. */
function asCallRefusal(error: IsolaError, name: string): IsolaError {
  if (error.code !== "NAMESPACE_NOT_FOUND") return error;
  return new IsolaError("TOKEN_INVALID", {
    attempted: `call ${name}`,
    found: "a token that its namespace does not know",
    required: "a token of its namespace with role operate",
  });
}

function readiness(dispatcher: Dispatcher, state: GatewayState): Response {
  const isReady = !dispatcher.isDraining && state.isLoaded && state.cells.liveSlots().length > 0;
  return new Response(isReady ? "ready\n" : "not ready\n", { status: isReady ? 200 : 503 });
}

function notFound(namespace: string, name: string): IsolaError {
  return new IsolaError("FUNCTION_NOT_FOUND", {
    attempted: `call ${functionKey(namespace, name)}`,
    found: "no such function",
  });
}

function quarantined(name: string, target: RouteTarget): IsolaError {
  return new IsolaError("FUNCTION_QUARANTINED", {
    attempted: `call ${name}`,
    found: `version ${target.version} in quarantine`,
    required: "a version that neither blocks nor kills its cell",
    retryAfterSeconds: 60,
  });
}
