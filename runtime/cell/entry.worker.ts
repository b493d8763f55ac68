/** The cell Worker of the host form: calls on one socket, control on another. */
import { WorkerEntrypoint } from "cloudflare:workers";
import { type CellBindings, cellShards } from "./cell-bindings.worker.ts";
import { cellOf } from "./cell.worker.ts";
import { handleControl } from "./control.worker.ts";
import { handleHttpCall } from "./http-call.worker.ts";
import { handleStore, storeRequestOf } from "./shard/index.worker.ts";

export { Driver } from "./runs/driver.worker.ts";
export { Outbound } from "./outbound.worker.ts";
export { Scope } from "./scope.worker.ts";
export { Blocks, Shard } from "./shard/index.worker.ts";

interface Env {
  readonly LOADER: WorkerLoader;
  readonly SUPPLY: Fetcher;
  readonly EGRESS: Fetcher;
  readonly CELL: {
    readonly slot: number;
    readonly maxIsolates: number;
    /** Shards of the installation, and those of this cell. */
    readonly shards?: number;
    readonly ownShards?: readonly number[];
  };
  readonly SHARD?: DurableObjectNamespace;
  readonly MARK: string | null;
}

function bindings(env: Env): CellBindings {
  return {
    slot: env.CELL.slot,
    mark: env.MARK ?? "",
    maxIsolates: env.CELL.maxIsolates,
    loader: env.LOADER,
    supply: env.SUPPLY,
    egress: env.EGRESS,
    shards: cellShards(env.SHARD, env.CELL.shards ?? 0, env.CELL.ownShards ?? []),
  };
}

export class Control extends WorkerEntrypoint<Env> {
  override fetch(request: Request): Promise<Response> {
    return handleControl(
      cellOf(() => bindings(this.env)),
      request,
      this.ctx,
    );
  }
}

export default {
  fetch(request, env, ctx) {
    const cell = cellOf(() => bindings(env));
    // Read once: each look at it takes its text apart anew.
    const { cf } = request;
    const asked = storeRequestOf(cf);
    if (asked) return handleStore(cell, request, asked, ctx);
    return handleHttpCall(cell, request, cf, ctx);
  },
} satisfies ExportedHandler<Env>;
