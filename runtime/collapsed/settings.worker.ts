/** What the collapsed form reads from `wrangler.toml` and `.dev.vars`. */
import type { GatewaySettings } from "../gateway/index.worker.ts";

export interface CollapsedEnv {
  readonly LOADER: WorkerLoader;
  readonly REGISTRY: DurableObjectNamespace;
  readonly BLOBS: DurableObjectNamespace;
  readonly SHARD: DurableObjectNamespace;
  /** Base64 of 32 bytes; without it secrets are refused. */
  readonly ISOLA_SEAL_KEY?: string;
  /** Without it the admin side refuses everybody. */
  readonly ISOLA_ADMIN_TOKEN?: string;
  /** A further name of the admin side: on Cloudflare nothing routes `admin.localhost`. */
  readonly ISOLA_ADMIN_HOST?: string;
  readonly ISOLA_DEV?: string;
}

const RELEASE = "0.1.0";

export function settingsOf(env: CollapsedEnv): GatewaySettings {
  return {
    form: "collapsed",
    dev: env.ISOLA_DEV === "1",
    publicPort: 0,
    version: RELEASE,
    startedAtMs: 0,
    otlpEndpoint: "",
    otlpHeaders: "",
    ...(env.ISOLA_ADMIN_HOST === undefined ? {} : { adminHosts: [env.ISOLA_ADMIN_HOST] }),
  };
}

const ADMIN_HOST = "admin.localhost";

export function isAdminHost(request: Request, env: CollapsedEnv): boolean {
  const { hostname } = new URL(request.url);
  const host = (request.headers.get("host") ?? hostname).split(":", 1)[0]?.toLowerCase();
  const isNamed = (name: string | undefined): boolean => hostname === name || host === name;
  return (
    isNamed(ADMIN_HOST) || (env.ISOLA_ADMIN_HOST !== undefined && isNamed(env.ISOLA_ADMIN_HOST))
  );
}
