/** The platform itself: status, cells, metrics, health. */
import {
  CELL_CONTROL,
  HOST_CONTROL,
  IsolaError,
  type CellInfo,
  type CellStatus,
  type PlatformStatus,
} from "../contract/index.ts";
import { askHost } from "./ask-host.worker.ts";
import { type AdminCall, type AdminRoute, items, json, noContent } from "./admin-route.worker.ts";
import { gatewayOf } from "./gateway.worker.ts";
import { countRuns } from "./run-meter.worker.ts";
import type { GatewayState } from "./state.worker.ts";

/** A cell that does not answer a scrape by then is shown without its own figures. */
const PING_MS = 500;

export const PLATFORM_ROUTES: readonly AdminRoute[] = [
  {
    method: "GET",
    path: "/status",
    needs: "operator",
    handle: async ({ state }) => {
      await state.ready();
      return json(platformStatus(state));
    },
  },
  {
    method: "GET",
    path: "/cells",
    needs: "operator",
    handle: async ({ state }) => items(state.cells.infos()),
  },
  {
    method: "POST",
    path: "/cells/:slot/restart",
    needs: "operator",
    handle: restartCell,
  },
];

function platformStatus(state: GatewayState): PlatformStatus {
  const { settings } = state.bindings;
  const { namespaces, routes } = state.table.snapshot();
  const { inFlight, queued } = state.load();
  return {
    version: settings.version,
    startedAtMs: settings.startedAtMs,
    form: settings.form,
    publicPort: settings.publicPort,
    cells: state.cells.infos(),
    namespaces: namespaces.length,
    functions: routes.length,
    inFlight,
    queued,
  };
}

async function restartCell(call: AdminCall): Promise<Response> {
  const { state } = call;
  const given = call.param("slot");
  const slot = /^\d{1,4}$/.test(given) ? Number(given) : -1;
  if (!state.cellInfo(slot)) {
    throw new IsolaError("NOT_FOUND", {
      attempted: "restart a cell",
      found: `no cell ${JSON.stringify(given.slice(0, 20))}`,
      fix: "isola cells lists them",
    });
  }
  await askHost(state, HOST_CONTROL.restart, { slot }, `restart cell ${slot}`);
  return noContent();
}

/** Prometheus text; needs no token, as the admin listener is the operator's own. */
export async function metricsResponse(state: GatewayState): Promise<Response> {
  const { settings } = state.bindings;
  const cells = await Promise.all(state.cells.infos().map((info) => withStatus(state, info)));
  const functions = state.table.snapshot().routes.map(({ namespace, name, targets }) => ({
    namespace,
    name,
    quarantined: targets.some((target) => target.quarantined),
  }));
  const { store } = gatewayOf(() => state.bindings);
  const [shards, runs] = await Promise.all([store.collect(), countRuns(state)]);
  const { inFlight, queued } = state.load();
  const text = state.hub.metricsText({
    version: settings.version,
    startedAtMs: settings.startedAtMs,
    inFlight,
    queued,
    cells,
    processes: state.hostMetrics.processes,
    functions,
    shards,
    runs,
    ...(state.exporter ? { spanExport: state.exporter.stats } : {}),
  });
  const headers = { "content-type": "text/plain; version=0.0.4; charset=utf-8" };
  return new Response(text, { headers });
}

async function withStatus(
  state: GatewayState,
  info: CellInfo,
): Promise<CellInfo & Partial<CellStatus>> {
  if (info.state !== "up") return info;
  try {
    const signal = AbortSignal.timeout(PING_MS);
    const url = `http://cell${CELL_CONTROL.ping}`;
    const response = await state.bindings.control(info.slot).fetch(url, { signal });
    if (!response.ok) return info;
    return { ...(await response.json<CellStatus>()), ...info };
  } catch {
    return info;
  }
}

/** Alive: this process answers. */
export function healthResponse(): Response {
  return new Response("ok\n", { headers: { "content-type": "text/plain" } });
}

/** Ready for calls: routing is in memory, a cell is up, nothing is shutting down. */
export async function readyResponse(state: GatewayState): Promise<Response> {
  await state.ready();
  const { isDraining } = state.load();
  const reason = isDraining ? "it is shutting down" : "no cell is up";
  if (!isDraining && state.cells.liveSlots().length > 0) return healthResponse();
  throw new IsolaError(isDraining ? "DRAINING" : "CELL_RESTARTING", {
    attempted: "be ready",
    found: reason,
    retryAfterSeconds: 1,
  });
}
