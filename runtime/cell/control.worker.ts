/** What gateway and host say to a cell (contract/control.ts). */
import {
  CELL_CONTROL,
  type CellStatus,
  type DiskReport,
  LIMITS,
  type PressureReport,
  type ProbeRequest,
  type RoutingChange,
  type SuspectNews,
  toIsolaError,
} from "../contract/index.ts";
import { sweepStores } from "./call-store.worker.ts";
import type { Cell } from "./cell.worker.ts";
import { probe } from "./probe.worker.ts";
import { writeCrumb } from "./stdout.worker.ts";

/** Isolates dropped at once under memory pressure: enough to matter, few enough to stay quick. */
const SHED_SHARE = 0.25;
const SHED_MIN = 4;

export async function handleControl(
  cell: Cell,
  request: Request,
  ctx: ExecutionContext,
): Promise<Response> {
  const { pathname } = new URL(request.url);
  switch (pathname) {
    case CELL_CONTROL.ping:
      return ping(cell, ctx);
    case CELL_CONTROL.routing:
      await applyRouting(cell, await request.json<RoutingChange>());
      return noContent();
    case CELL_CONTROL.probe:
      return Response.json(await probe(cell, await request.json<ProbeRequest>()));
    case CELL_CONTROL.pressure:
      return Response.json({ evicted: await relieve(cell, await request.json<PressureReport>()) });
    case CELL_CONTROL.suspects: {
      cell.hear(await request.json<SuspectNews>());
      return noContent();
    }
    case CELL_CONTROL.disk:
      await tellShards(cell, await request.json<DiskReport>());
      return noContent();
    case CELL_CONTROL.drain:
      await drain(cell);
      return noContent();
    default:
      return new Response(null, { status: 404 });
  }
}

function noContent(): Response {
  return new Response(null, { status: 204 });
}

function status(cell: Cell): CellStatus {
  cell.live.sweep(cell.now());
  sweepStores();
  const left = cell.live.takeLeft();
  const { mark, slot } = cell.bindings;
  if (left.length > 0) writeCrumb(mark, `L ${left.join(" ")}`);
  return { slot, inFlight: cell.live.size, ...cell.isolates.stats };
}

/** Lets go of isolates that routing does not lead to any more. */
async function sweep(cell: Cell): Promise<void> {
  const table = await cell.routing().catch(() => undefined);
  await cell.isolates.sweep(({ supply, secretsGeneration }) => {
    const route = table?.route(supply.namespace, supply.name);
    const target = route?.targets.find(({ version }) => version === supply.version);
    return table === undefined || target?.secretsGeneration === secretsGeneration;
  });
}

async function applyRouting(cell: Cell, change: RoutingChange): Promise<void> {
  // Read first: a change on top of nothing would hide the namespaces that did not change.
  await cell.routing();
  cell.table.apply(change);
}

async function ping(cell: Cell, ctx: ExecutionContext): Promise<Response> {
  try {
    await cell.openShards();
  } catch (thrown) {
    return Response.json(toIsolaError(thrown, "open the shards").toData(), { status: 500 });
  }
  ctx.waitUntil(sweep(cell));
  return Response.json(status(cell));
}

async function tellShards(cell: Cell, report: DiskReport): Promise<void> {
  const { shards } = cell.bindings;
  await Promise.all(shards.own.map((shard) => shards.actor(shard).disk(report)));
}

function relieve(cell: Cell, report: PressureReport): Promise<number> {
  if (report.residentBytes <= report.softLimitBytes) return Promise.resolve(0);
  const { isolates } = cell.isolates.stats;
  return cell.isolates.shed(Math.max(SHED_MIN, Math.ceil(isolates * SHED_SHARE)));
}

/** Waits for the calls in flight; at the bound it ends them. */
async function drain(cell: Cell): Promise<void> {
  const untilMs = cell.now() + LIMITS.drainMs;
  while (cell.live.size > 0 && cell.now() < untilMs) await scheduler.wait(50);
  cell.live.endAll("shutdown");
  await cell.telemetry.flush();
}
