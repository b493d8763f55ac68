/**
 * Routing: names → versions and traffic, as gateway and cells hold it in memory.
 *
 * The registry numbers every change of a namespace (`revision`). Gateway and cells apply changes
 * in order and never ask an actor per request; a deploy answers when every live cell has
 * acknowledged its change.
 */
import type { AuthMode, BackendName, Egress, ResolvedConfig } from "./function-config.ts";

/**
 * How a module answers: a plain function, an object or class with fetch, a class with RPC methods
 * only; or it is a workflow: a DAG made by `flow`, or a class extending `WorkflowEntrypoint`.
 */
export type FunctionForm = "data" | "http" | "entrypoint" | "rpc" | "flow" | "workflow";

/** A call of it is a run. */
export function isWorkflow(form: FunctionForm): boolean {
  return form === "flow" || form === "workflow";
}

/** What routing knows of one live version. */
export interface RouteTarget {
  readonly version: number;
  /** Share of traffic in percent; the weights of a route add up to 100. */
  readonly weight: number;
  readonly backend: BackendName;
  readonly form: FunctionForm;
  readonly timeoutMs: number;
  readonly maxBlockMs: number;
  readonly maxInFlight: number;
  readonly memoryMb: number;
  readonly auth: AuthMode;
  readonly idempotent: boolean;
  /** Of asynchronous calls. */
  readonly retry: ResolvedConfig["retry"];
  /** Runs under way at once; 0 = no bound. */
  readonly concurrency: number;
  /** Of ended runs; 0 = as the platform keeps them. */
  readonly retention: ResolvedConfig["retention"];
  readonly reuse: "shared" | "call";
  readonly egress: Egress;
  /** Generation of the namespace's secrets that the version uses; 0 if it uses none. */
  readonly secretsGeneration: number;
  readonly quarantined: boolean;
}

export interface FunctionRoute {
  readonly namespace: string;
  readonly name: string;
  /** At least one; picked by weight. */
  readonly targets: readonly RouteTarget[];
}

/** Cells of a namespace: shared by all, or some of its own. */
export type CellPlacement = "shared" | "dedicated";

export interface NamespaceRoute {
  readonly namespace: string;
  /** Counts every routing change of this namespace, from 1. */
  readonly revision: number;
  readonly cells: CellPlacement;
  readonly callsPerSecondMax: number;
  readonly inFlightMax: number;
  readonly storeMaxBytes: number;
}

/** A change as the registry announces it. Missing fields did not change. */
export interface RoutingChange {
  readonly namespace: string;
  readonly revision: number;
  /** Changed or new routes. */
  readonly routes: readonly FunctionRoute[];
  /** Names that are no more. */
  readonly removed: readonly string[];
  /** The namespace's own row; null when the namespace itself is removed. */
  readonly row?: NamespaceRoute | null;
  /** Versions that nothing names any more: their isolates leave. */
  readonly collected: readonly { name: string; version: number }[];
}

/** Everything, for a gateway or a cell that starts. */
export interface RoutingSnapshot {
  readonly namespaces: readonly NamespaceRoute[];
  readonly routes: readonly FunctionRoute[];
  /** Namespaces removed lately: a change from before, on its way still, brings none back. */
  readonly removed?: readonly { readonly namespace: string; readonly revision: number }[];
}
