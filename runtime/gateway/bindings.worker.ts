/**
 * The seam between the gateway's code and the form it runs in. In the host form bindings are unix
 * sockets named in workerd's configuration; in the collapsed form they are entrypoints of the same
 * Worker. Everything else in this room is the same code in both.
 */

/** Settings that the host writes into the configuration, or `wrangler.toml` into `vars`. */
export interface GatewaySettings {
  /** `host`: processes; `collapsed`: one Worker. */
  readonly form: "host" | "collapsed";
  /** Shows messages and stacks of function errors without a token. */
  readonly dev: boolean;
  readonly publicPort: number;
  /** Shared cells, over which the shards are spread. @default 1 */
  readonly cells?: number;
  /** Shards of runs and store jobs, fixed at first start. @default 1 */
  readonly shards?: number;
  /** CIDRs that the operator lets functions call besides public addresses. @default none */
  readonly allowPrivate?: readonly string[];
  /** Names besides addresses and localhost under which the admin listener is reached. */
  readonly adminHosts?: readonly string[];
  readonly version: string;
  readonly startedAtMs: number;
  /** OTLP/HTTP endpoint without the `/v1/traces` path; empty = no export. */
  readonly otlpEndpoint: string;
  /** `name=value` pairs, comma-separated, as in OTEL_EXPORTER_OTLP_HEADERS. */
  readonly otlpHeaders: string;
}

export interface GatewayBindings {
  readonly settings: GatewaySettings;
  /** The registry actor; one object named "registry". */
  readonly registry: DurableObjectNamespace;
  /** Calls into the cell of a slot. */
  cell(slot: number): Fetcher;
  /** Control of the cell of a slot. */
  control(slot: number): Fetcher;
  /** The host process; undefined in the collapsed form. */
  readonly host: Fetcher | undefined;
  /** Bundles by hash: PUT and GET `http://blobs/<hash>`. */
  readonly blobs: Fetcher;
  /** The network of the trace exporter. */
  readonly otlp: Fetcher | undefined;
  /** Base64 of 32 bytes that seal secrets. */
  readonly sealKey: string;
  /** The operator's token, in clear; compared in constant time. */
  readonly adminToken: string;
}
