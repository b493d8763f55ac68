/** The gateway Worker of the host form: one entrypoint per listener. */
import { WorkerEntrypoint } from "cloudflare:workers";
import { handleAdmin } from "./admin.worker.ts";
import type { GatewayBindings, GatewaySettings } from "./bindings.worker.ts";
import { handleControl } from "./control.worker.ts";
import { gatewayOf } from "./gateway.worker.ts";
import { handlePublic } from "./public.worker.ts";
import { beginTicks } from "./schedules.worker.ts";
import { handleSupply } from "./supply.worker.ts";

export { Registry } from "../registry/index.worker.ts";

type Ticks = Parameters<typeof beginTicks>[1];

/** Bindings by the names that the host writes (runtime/host/config.ts). */
interface Env extends Readonly<Record<`CELL_${number}` | `CELLCTL_${number}`, Fetcher>> {
  readonly SETTINGS: GatewaySettings;
  readonly REGISTRY: DurableObjectNamespace;
  readonly BLOBS: Fetcher;
  readonly HOST: Fetcher;
  readonly OTLP?: Fetcher;
  readonly SEAL_KEY: string;
  readonly ADMIN_TOKEN: string;
}

function bindings(env: Env): GatewayBindings {
  return {
    settings: env.SETTINGS,
    registry: env.REGISTRY,
    cell: (slot) => env[`CELL_${slot}`] as Fetcher,
    control: (slot) => env[`CELLCTL_${slot}`] as Fetcher,
    host: env.HOST,
    blobs: env.BLOBS,
    otlp: env.OTLP,
    sealKey: env.SEAL_KEY,
    adminToken: env.ADMIN_TOKEN,
  };
}

export class Admin extends WorkerEntrypoint<Env> {
  override fetch(request: Request): Promise<Response> {
    const { state } = gatewayOf(() => bindings(this.env));
    return handleAdmin(request, state, this.ctx);
  }
}

export class Control extends WorkerEntrypoint<Env> {
  override fetch(request: Request): Promise<Response> {
    return handleControl(
      gatewayOf(() => bindings(this.env)),
      request,
      this.ctx,
    );
  }
}

export class Supply extends WorkerEntrypoint<Env, { readonly slot: number }> {
  override fetch(request: Request): Promise<Response> {
    const { state } = gatewayOf(() => bindings(this.env));
    return handleSupply(request, this.ctx.props.slot, state, this.ctx);
  }
}

/** Asked by the registry's alarm. */
export class Schedules extends WorkerEntrypoint<Env> {
  begin(ticks: Ticks): ReturnType<typeof beginTicks> {
    return beginTicks(gatewayOf(() => bindings(this.env)).state, ticks);
  }
}

export default {
  fetch(request, env, ctx) {
    const { state, dispatcher } = gatewayOf(() => bindings(env));
    return handlePublic(state, dispatcher, request, ctx);
  },
} satisfies ExportedHandler<Env>;
