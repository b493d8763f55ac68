/**
 * The collapsed form: gateway and one cell in one Worker, for `wrangler dev` and Cloudflare.
 * Sockets become entrypoints of this Worker (`ctx.exports`); the admin side answers on the host
 * name `admin.localhost` only. There is no host process: no watchdog, no probation cell, no
 * egress process.
 */
import { WorkerEntrypoint, exports } from "cloudflare:workers";
import {
  type CellBindings,
  Shard as CellShard,
  cellShards,
  cellOf,
  handleControl as handleCellControl,
  handleHttpCall,
  handleStore,
  storeRequestOf,
} from "../cell/index.worker.ts";
import {
  type GatewayBindings,
  beginTicks,
  gatewayOf,
  handleAdmin,
  handlePublic,
  handleSupply,
} from "../gateway/index.worker.ts";
import { type CollapsedEnv, isAdminHost, settingsOf } from "./settings.worker.ts";

export { Blocks, Driver, Outbound, Scope } from "../cell/index.worker.ts";
export { Registry } from "../gateway/index.worker.ts";
export { BlobStore } from "./blob-store.worker.ts";
export { OpenEgress } from "./open-egress.worker.ts";

/** The only slot of this form. */
const SLOT = 0;
/** More would share its one thread. Fixed for ever: job ids name their shard. */
const SHARDS = 1;

interface Loopback {
  readonly CellCalls: Fetcher;
  readonly CellControl: Fetcher;
  readonly CellSupply: Fetcher;
  readonly OpenEgress: Fetcher;
}

const loopback = exports as unknown as Loopback;

function gatewayBindings(env: CollapsedEnv): GatewayBindings {
  return {
    settings: settingsOf(env),
    registry: env.REGISTRY,
    cell: () => loopback.CellCalls,
    control: () => loopback.CellControl,
    host: undefined,
    blobs: blobsOf(env.BLOBS),
    otlp: undefined,
    sealKey: env.ISOLA_SEAL_KEY ?? "",
    adminToken: env.ISOLA_ADMIN_TOKEN ?? "",
  };
}

/** A stub belongs to the request that made it; the gateway's bindings outlive requests. */
function blobsOf(blobs: DurableObjectNamespace): Fetcher {
  const id = blobs.idFromName("blobs");
  const fetch: Fetcher["fetch"] = (input, init) => blobs.get(id).fetch(input, init);
  return { fetch } as Fetcher;
}

function cellBindings(env: CollapsedEnv): CellBindings {
  return {
    slot: SLOT,
    mark: "",
    maxIsolates: 500,
    loader: env.LOADER,
    supply: loopback.CellSupply,
    egress: loopback.OpenEgress,
    shards: cellShards(env.SHARD, SHARDS, [...Array(SHARDS).keys()]),
  };
}

function gateway(env: CollapsedEnv): ReturnType<typeof gatewayOf> {
  const parts = gatewayOf(() => gatewayBindings(env));
  if (parts.state.cells.infos().length === 0) {
    const cells = [{ slot: SLOT, role: "shared", state: "up", restarts: 0 }] as const;
    parts.state.cells.apply({ cells });
  }
  return parts;
}

/** Its alarm may be the first event of an isolate: both halves exist before it opens. */
export class Shard extends CellShard {
  constructor(ctx: DurableObjectState, env: CollapsedEnv) {
    cellOf(() => cellBindings(env));
    gateway(env);
    super(ctx, env as never);
  }
}

export class CellCalls extends WorkerEntrypoint<CollapsedEnv> {
  override fetch(request: Request): Promise<Response> {
    const cell = cellOf(() => cellBindings(this.env));
    const { cf } = request;
    const asked = storeRequestOf(cf);
    return asked
      ? handleStore(cell, request, asked, this.ctx)
      : handleHttpCall(cell, request, cf, this.ctx);
  }
}

export class CellControl extends WorkerEntrypoint<CollapsedEnv> {
  override fetch(request: Request): Promise<Response> {
    return handleCellControl(
      cellOf(() => cellBindings(this.env)),
      request,
      this.ctx,
    );
  }
}

export class CellSupply extends WorkerEntrypoint<CollapsedEnv> {
  override fetch(request: Request): Promise<Response> {
    return handleSupply(request, SLOT, gateway(this.env).state, this.ctx);
  }
}

export class Schedules extends WorkerEntrypoint<CollapsedEnv> {
  begin(ticks: Parameters<typeof beginTicks>[1]): ReturnType<typeof beginTicks> {
    cellOf(() => cellBindings(this.env));
    return beginTicks(gateway(this.env).state, ticks);
  }
}

export default {
  fetch(request, env, ctx) {
    // Entrypoints of this Worker share its isolate: both halves must exist before either asks.
    cellOf(() => cellBindings(env));
    const parts = gateway(env);
    if (isAdminHost(request, env)) return handleAdmin(request, parts.state, ctx);
    return handlePublic(parts.state, parts.dispatcher, request, ctx);
  },
} satisfies ExportedHandler<CollapsedEnv>;
