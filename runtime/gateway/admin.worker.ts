/**
 * The admin API (INTERFACE §6): one table of routes, one way through them.
 *
 * A1 Who asks is settled before what is asked: without a valid token every path under `/v1`
 *    answers 401, and another's namespace answers as one that does not exist.
 *    Nothing is answered from a registry that was not checked.
 * A2 Whatever is thrown leaves as an error of the catalogue.
 */
import { Hono } from "hono";
import { IsolaError, roleAllows, toIsolaError } from "../contract/index.ts";
import { FUNCTION_ROUTES } from "./admin-functions.worker.ts";
import {
  NAMESPACE_ROUTES,
  PLATFORM_NAMESPACE_ROUTES,
  SECRET_ROUTES,
  TOKEN_ROUTES,
} from "./admin-namespaces.worker.ts";
import {
  PLATFORM_ROUTES,
  healthResponse,
  metricsResponse,
  readyResponse,
} from "./admin-platform.worker.ts";
import type { AdminRoute } from "./admin-route.worker.ts";
import { RUN_ROUTES } from "./admin-runs.worker.ts";
import { STORE_ROUTES } from "./admin-store.worker.ts";
import { TELEMETRY_ROUTES } from "./admin-telemetry.worker.ts";
import { type Principal, authorize, authorizeOperator } from "./authority.worker.ts";
import { errorResponse } from "./error-response.ts";
import { checkOrigin } from "./origin-check.ts";
import { reportBug } from "./report-bug.worker.ts";
import { discardBody } from "./request-body.ts";
import type { Background, GatewayState } from "./state.worker.ts";

interface Passed {
  readonly state: GatewayState;
  readonly principal: Principal;
  readonly background: Background;
}

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const;
const PLATFORM = "/v1";
const NAMESPACE = "/v1/namespaces/:namespace";

const router = new Hono<{ Bindings: Passed }>();
addRoutes(PLATFORM, [...PLATFORM_ROUTES, ...PLATFORM_NAMESPACE_ROUTES]);
addRoutes(NAMESPACE, [
  ...NAMESPACE_ROUTES,
  ...FUNCTION_ROUTES,
  ...SECRET_ROUTES,
  ...TOKEN_ROUTES,
  ...TELEMETRY_ROUTES,
  ...STORE_ROUTES,
  ...RUN_ROUTES,
]);
router.notFound((context) => {
  throw noRoute(context.req.method, context.req.path);
});
router.onError((thrown) => {
  throw thrown;
});

function addRoutes(base: string, routes: readonly AdminRoute[]): void {
  for (const route of routes) {
    router.on(route.method, base + route.path, async (context) => {
      const { state, principal, background } = context.env;
      const namespace = base === NAMESPACE ? (context.req.param("namespace") ?? "") : "";
      admit(principal, route, namespace);
      return route.handle({
        state,
        principal,
        background,
        namespace,
        request: context.req.raw,
        query: new URL(context.req.url).searchParams,
        param: (name) => context.req.param(name) ?? "",
      });
    });
  }
}

/** @throws IsolaError `NAMESPACE_NOT_FOUND`, `ROLE_TOO_LOW`. */
function admit(principal: Principal, route: AdminRoute, namespace: string): void {
  const { needs } = route;
  if (namespace !== "") authorize(principal, namespace, "read");
  if (needs === "any") return;
  if (needs === "operator") authorizeOperator(principal);
  else if (namespace !== "") authorize(principal, namespace, needs);
  else if (!roleAllows(principal.role, needs)) authorizeOperator(principal);
}

/** Answers a request of the admin listener. Never throws. */
export async function handleAdmin(
  request: Request,
  state: GatewayState,
  background: Background,
): Promise<Response> {
  try {
    state.housekeep(background);
    return await answer(request, state, background);
  } catch (thrown) {
    const error = toIsolaError(thrown, `answer ${request.method}`);
    if (error.code === "INTERNAL") reportBug(error);
    await discardBody(request);
    if (error.code !== "METHOD_NOT_ALLOWED") return errorResponse(error);
    const allow = methodsOf(new URL(request.url).pathname).join(", ");
    return errorResponse(error, { headers: new Headers({ allow }) });
  }
}

async function answer(
  request: Request,
  state: GatewayState,
  background: Background,
): Promise<Response> {
  checkOrigin(request.headers, state.bindings.settings.adminHosts ?? []);
  const { pathname } = new URL(request.url);
  if (request.method === "GET" || request.method === "HEAD") {
    if (pathname === "/healthz") return healthResponse();
    if (pathname === "/readyz") return readyResponse(state);
    if (pathname === "/metrics") return metricsResponse(state);
  }
  if (pathname !== "/v1" && !pathname.startsWith("/v1/")) throw noRoute(request.method, pathname);
  const principal = await state.authority.authenticate(request);
  await state.ready();
  return router.fetch(request, { state, principal, background });
}

function noRoute(method: string, path: string): IsolaError {
  const attempted = `answer ${method} ${path.slice(0, 200)}`;
  const methods = methodsOf(path);
  if (methods.length === 0) {
    return new IsolaError("ROUTE_NOT_FOUND", { attempted, found: "no such route" });
  }
  return new IsolaError("METHOD_NOT_ALLOWED", {
    attempted,
    found: `method ${method}`,
    required: methods.join(", "),
  });
}

function methodsOf(path: string): string[] {
  if (["/healthz", "/readyz", "/metrics"].includes(path)) return ["GET"];
  return METHODS.filter((method) => router.router.match(method, path)[0].length > 0);
}
