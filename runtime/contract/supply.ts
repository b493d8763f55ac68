/**
 * Supply socket: what a cell asks of the gateway. One socket per cell slot; the gateway knows the
 * slot by the socket, never by what the cell says, and serves only the namespaces of its group.
 *
 * All bodies are JSON unless said otherwise; errors are `ErrorData` with the catalogue's status.
 */
import type { ResolvedConfig } from "./function-config.ts";
import type { SuspectNews } from "./control.ts";
import type { FunctionForm, RoutingSnapshot } from "./routing.ts";

export const SUPPLY = {
  /** GET → `SuppliedRouting` of the group. */
  snapshot: "/routing",
  /** GET ?ns=&fn=&v= → `SuppliedVersion`. */
  version: "/version",
  /**
   * GET ?ns=&fn= and, for one that may be live no more, &v= → its `RouteTarget`: what a run has to
   * know of a function whose routing its cell does not hold.
   */
  target: "/target",
  /** GET ?ns=&fn=&v=&g= → JSON object of the secrets that the version names. */
  secrets: "/secrets",
  /** GET ?hash= → the bundle: JSON of `Bundle`. */
  bundle: "/bundle",
  /** POST `TelemetryBatch` → 204. */
  telemetry: "/telemetry",
  /** ANY: a call between functions that must not run in this cell; same headers as a cell call. */
  call: "/call",
  /** POST: an attempt of a run (run-call.ts), placed like any call; answers its outcome. */
  attempt: "/attempt",
  /** POST ?shard=&ns=: an `InstanceAsk` with its value, for a shard in another cell. */
  instance: "/instance",
  /** POST `RunStartAsked`: a run that a function starts, in another cell's shard. */
  start: "/start",
  /** POST `CallbackAsked` → `CallbackText`: what a callback says, signed. */
  callback: "/callback",
  /** POST JSON of `CallbackTold` → 204. */
  calledBack: "/called-back",
} as const;

export type ModuleKind = "js" | "cjs" | "text" | "json" | "wasm" | "data";

/** One module of a bundle; `wasm` and `data` are base64. */
export interface BundleModule {
  readonly name: string;
  readonly kind: ModuleKind;
  readonly content: string;
}

/** A bundle as it is stored and hashed: SHA-256 over its JSON with modules sorted by name. */
export interface Bundle {
  /** Module that holds the default export. */
  readonly main: string;
  readonly modules: readonly BundleModule[];
}

/** What a cell needs to load a version, without secrets. */
export interface VersionSupply {
  readonly namespace: string;
  readonly name: string;
  readonly version: number;
  /** Hex SHA-256 of the bundle. */
  readonly bundleHash: string;
  readonly form: FunctionForm;
  /** Exported classes and objects besides the default, by name. */
  readonly entrypoints: readonly string[];
  readonly config: ResolvedConfig;
}

/** All that a first load needs, in one question. */
export interface SuppliedVersion {
  readonly supply: VersionSupply;
  readonly bundle: Bundle;
}

/** A cell knows whom it must not run before it goes on with runs that a death has ended. */
export type SuppliedRouting = RoutingSnapshot & SuspectNews;
