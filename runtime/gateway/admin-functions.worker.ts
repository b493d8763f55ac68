/** Functions, versions and traffic. */
import { DEFAULT_NAMESPACE, checkFunctionName, type FunctionDetail } from "../contract/index.ts";
import {
  type AdminCall,
  type AdminRoute,
  items,
  json,
  noContent,
  readFields,
} from "./admin-route.worker.ts";
import { deployFunction } from "./deploy.worker.ts";
import { gatewayOf } from "./gateway.worker.ts";
import { integer, optional } from "./request-fields.ts";
import { usageReport } from "./usage-report.worker.ts";

const DAY_MS = 24 * 60 * 60 * 1_000;
/** Version numbers are counted, never chosen. */
const VERSION_MAX = 2 ** 31;

export const FUNCTION_ROUTES: readonly AdminRoute[] = [
  {
    method: "GET",
    path: "/functions",
    needs: "read",
    handle: async ({ state, namespace }) =>
      items(await state.registry.read("functions", { namespace })),
  },
  {
    method: "GET",
    path: "/functions/:name",
    needs: "read",
    handle: async (call) => json(await describe(call)),
  },
  {
    method: "PUT",
    path: "/functions/:name",
    needs: "deploy",
    handle: deployFunction,
  },
  {
    method: "DELETE",
    path: "/functions/:name",
    needs: "deploy",
    handle: async (call) => {
      const { state, namespace, background } = call;
      await state.change("removeFunction", { namespace, name: call.param("name") }, background);
      return noContent();
    },
  },
  {
    method: "GET",
    path: "/functions/:name/versions",
    needs: "read",
    handle: async (call) => items(await call.state.registry.read("versions", keyOf(call))),
  },
  {
    method: "PUT",
    path: "/functions/:name/traffic",
    needs: "deploy",
    handle: async (call) => {
      const attempted = `route calls of ${call.param("name")}`;
      const body = await readFields(
        call,
        { version: optional(integer(0, VERSION_MAX)), percent: optional(integer(0, 100)) },
        attempted,
      );
      const version = body.version === 0 ? undefined : body.version;
      const input = { ...keyOf(call), percent: body.percent ?? 100 };
      const full = version === undefined ? input : { ...input, version };
      await call.state.change("setTraffic", full, call.background);
      return json(await describe(call));
    },
  },
  {
    method: "GET",
    path: "/schedules",
    needs: "read",
    handle: async ({ state, namespace }) =>
      items(await state.registry.read("schedules", { namespace })),
  },
  {
    method: "POST",
    path: "/functions/:name/release",
    needs: "operate",
    handle: async (call) => {
      await call.state.change("release", keyOf(call), call.background);
      const { dispatcher } = gatewayOf(() => call.state.bindings);
      dispatcher.suspects.forgetFunction(call.namespace, call.param("name"));
      return json(await describe(call));
    },
  },
];

function keyOf(call: AdminCall): { namespace: string; name: string } {
  return { namespace: call.namespace, name: call.param("name") };
}

async function describe(call: AdminCall): Promise<FunctionDetail> {
  const { state, namespace } = call;
  const detail = await state.registry.read("functionDetail", keyOf(call));
  const name = checkFunctionName(detail.name);
  const report = await usageReport(state, namespace, state.clock.now() - DAY_MS);
  const suffix = namespace === DEFAULT_NAMESPACE ? "" : `.${namespace}`;
  const port = state.bindings.settings.publicPort;
  return {
    ...detail,
    addresses: [`/function/${name}${suffix}`, `http://${name}.${namespace}.localhost:${port}/`],
    usage: report.functions.find((row) => row.function === name) ?? null,
  };
}
