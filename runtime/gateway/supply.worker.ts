/**
 * Supply: what cells ask of the gateway. The slot comes from the socket, never from the cell, and
 * a cell gets what its group may see, nothing else (G6). The only place where secrets are opened.
 */
import {
  ERRORS,
  IsolaError,
  PROBATION_SLOT,
  STORE_ROUTE,
  SUPPLY,
  pickTarget,
  toIsolaError,
  type RouteTarget,
  type SuppliedRouting,
} from "../contract/index.ts";
import { importSealKey, namespaceNotFound, unsealSecret } from "../registry/index.ts";
import { callFromCell } from "./call-from-cell.worker.ts";
import { composeCallback, hearOfCallback } from "./callbacks.worker.ts";
import { instancesFromCell } from "./instances-from-cell.worker.ts";
import { gatewayOf } from "./gateway.worker.ts";
import { reportBug } from "./report-bug.worker.ts";
import { readBytes } from "./request-body.ts";
import { attemptFromCell } from "./run-attempt.worker.ts";
import { startFromCell } from "./start-from-cell.worker.ts";
import type { Background, GatewayState } from "./state.worker.ts";
import { storeFromCell } from "./store-from-cell.worker.ts";

/** A cell's batch: bounded, as everything that tenant code has a hand in. */
const BATCH_MAX_BYTES = 8 * 1024 * 1024;

interface SupplyRequest {
  readonly state: GatewayState;
  readonly slot: number;
  readonly request: Request;
  readonly query: URLSearchParams;
}

/** Answers a cell. Never throws; errors are `ErrorData`. */
export async function handleSupply(
  request: Request,
  slot: number,
  state: GatewayState,
  background: Background,
): Promise<Response> {
  try {
    state.housekeep(background);
    await state.ready();
    const url = new URL(request.url);
    if (url.pathname === SUPPLY.call || url.pathname.startsWith(`${SUPPLY.call}/`)) {
      return await callFromCell(request, slot, state);
    }
    if (url.pathname === SUPPLY.attempt) {
      return await attemptFromCell(request, slot, state, background);
    }
    if (url.pathname === SUPPLY.start) return await startFromCell(request, slot, state);
    if (url.pathname === SUPPLY.callback)
      return await composeCallback(request, slot, state, background);
    if (url.pathname === SUPPLY.calledBack) return await hearOfCallback(request, slot, state);
    if (url.pathname === SUPPLY.instance) return await instancesFromCell(request, slot, state);
    if (url.pathname === STORE_ROUTE) return await storeFromCell(request, slot, state);
    return await answer(url.pathname, { state, slot, request, query: url.searchParams });
  } catch (thrown) {
    const error = toIsolaError(thrown, "supply a cell");
    if (error.code === "INTERNAL") reportBug(error);
    return Response.json(error.toData(), { status: ERRORS[error.code].status });
  }
}

async function answer(path: string, asked: SupplyRequest): Promise<Response> {
  switch (path) {
    case SUPPLY.snapshot:
      return Response.json(beginFeed(asked));
    case SUPPLY.version:
      return versionWithBundle(asked);
    case SUPPLY.target:
      return Response.json(await targetFor(asked));
    case SUPPLY.secrets:
      return Response.json(await openSecrets(asked));
    case SUPPLY.bundle:
      return asJson(await asked.state.bundles.text(asked.query.get("hash") ?? ""));
    case SUPPLY.telemetry:
      await absorb(asked);
      return new Response(null, { status: 204 });
    default:
      throw new IsolaError("ROUTE_NOT_FOUND", {
        attempted: `answer ${path.slice(0, 100)}`,
        found: "no such route",
      });
  }
}

/** From this snapshot on the cell is owed every change: no await between the two. */
function beginFeed({ state, slot }: SupplyRequest): SuppliedRouting {
  if (slot !== PROBATION_SLOT && !state.cellInfo(slot)) {
    throw new IsolaError("CELL_RESTARTING", {
      attempted: `give cell ${slot} its routing`,
      found: "a cell that the host has not announced",
      retryAfterSeconds: 1,
    });
  }
  const all = state.table.snapshot();
  const revisions = new Map(all.namespaces.map((row) => [row.namespace, row.revision]));
  state.spreader.begin(slot, revisions);
  const { dispatcher } = gatewayOf(() => state.bindings);
  const snapshot = state.table.snapshot((row) => state.sees(slot, row.namespace));
  return { ...snapshot, ...dispatcher.suspects.current() };
}

/** @throws IsolaError `NAMESPACE_NOT_FOUND` for namespaces of another group. */
function versionKey(asked: SupplyRequest): { namespace: string; name: string; version: number } {
  const { query, state, slot } = asked;
  const namespace = query.get("ns") ?? "";
  const given = query.get("v") ?? "";
  if (!state.sees(slot, namespace)) throw namespaceNotFound(namespace);
  return {
    namespace,
    name: query.get("fn") ?? "",
    version: /^\d{1,9}$/.test(given) ? Number(given) : 0,
  };
}

/** Shards of shared cells keep the runs of all namespaces: what they may know is no code. */
async function targetFor({ query, state, slot }: SupplyRequest): Promise<RouteTarget> {
  const [namespace, name] = [query.get("ns") ?? "", query.get("fn") ?? ""];
  const given = query.get("v");
  const mayAsk = state.sees(slot, namespace) || slot < (state.bindings.settings.cells ?? 1);
  const route = mayAsk ? state.table.route(namespace, name) : undefined;
  if (!mayAsk || (given === null && !route)) throw functionNotFound(namespace, name);
  const live =
    given === null
      ? route && pickTarget(route, state.random.fraction())
      : route?.targets.find(({ version }) => String(version) === given);
  if (live) return live;
  const version = given !== null && /^\d{1,9}$/.test(given) ? Number(given) : 0;
  return state.registry.read("versionTarget", { namespace, name, version });
}

function functionNotFound(namespace: string, name: string): IsolaError {
  return new IsolaError("FUNCTION_NOT_FOUND", {
    attempted: `find ${name} for a run`,
    found: `no such function in namespace ${namespace}`,
  });
}

async function openSecrets(asked: SupplyRequest): Promise<Record<string, string>> {
  const { state } = asked;
  const place = versionKey(asked);
  const sealed = await state.registry.read("sealedSecrets", place);
  const key = await importSealKey(state.bindings.sealKey);
  const { namespace } = place;
  const opened = Object.entries(sealed).map(
    async ([name, text]) => [name, await unsealSecret(key, { namespace, name }, text)] as const,
  );
  return Object.fromEntries(await Promise.all(opened));
}

/** The bundle as it is stored: it is JSON, and nobody but the cell takes it apart. */
async function versionWithBundle(asked: SupplyRequest): Promise<Response> {
  const { registry, bundles } = asked.state;
  const supply = await registry.read("versionSupply", versionKey(asked));
  const bundle = await bundles.text(supply.bundleHash);
  return asJson(`{"supply":${JSON.stringify(supply)},"bundle":${bundle}}`);
}

/** A bundle's name is the hash of its content: who knows it, was told it by a version. */
function asJson(text: string): Response {
  return new Response(text, { headers: { "content-type": "application/json" } });
}

async function absorb({ state, slot, request }: SupplyRequest): Promise<void> {
  const attempted = "take in what a cell tells";
  const bytes = await readBytes(request, {
    maxBytes: BATCH_MAX_BYTES,
    attempted,
    code: "BODY_TOO_LARGE",
  });
  let batch: unknown;
  try {
    batch = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new IsolaError("INPUT_MALFORMED", { attempted, found: "a body that is no JSON" });
  }
  state.hub.absorb(batch, (namespace) => state.sees(slot, namespace));
}
