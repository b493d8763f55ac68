/**
 * Control: what gateway and host say to a cell (`cell-<slot>-control.sock`), what the host says to
 * the gateway (`gateway-control.sock`) and the gateway to the host (`host.sock`). Never reachable
 * by tenants: paths of sockets that only the platform's own user opens.
 */
import type { ErrorData } from "./errors.ts";
import type { FunctionForm } from "./routing.ts";

/** Slot number of the probation cell; shared and dedicated cells count from 0. */
export const PROBATION_SLOT = 99;

/** Cell control. JSON in, JSON or 204 out. */
export const CELL_CONTROL = {
  /**
   * GET → `CellStatus`; answers as soon as the event loop turns: the watchdog's heartbeat. The
   * first one waits until the cell's shards are open; 500 `ErrorData` if one is damaged.
   */
  ping: "/ping",
  /** POST `RoutingChange` → 204 when applied. */
  routing: "/routing",
  /** POST `ProbeRequest` → `ProbeReply`. */
  probe: "/probe",
  /**
   * POST `PressureReport` → `{evicted}`: idle isolates leave while the process is over its soft
   * limit.
   */
  pressure: "/pressure",
  /**
   * POST `{suspects, alone: SuspectKey[]}` → 204: sub-calls to suspects leave a shared cell; in the
   * probation cell those that are to be alone there call no other.
   */
  suspects: "/suspects",
  /** POST `DiskReport` → 204, every second, to cells with shards. */
  disk: "/disk",
  /** POST → 204 when no call is in flight, or after the drain bound. */
  drain: "/drain",
} as const;

/** What a process without a file system has to be told of it. */
export interface DiskReport {
  /** Free bytes of the volume that holds the data directory. */
  readonly freeBytes: number;
}

export interface CellStatus {
  readonly slot: number;
  readonly inFlight: number;
  readonly isolates: number;
  readonly loads: number;
  readonly evictions: number;
}

/** A version about to be registered is evaluated once, in the probation cell, without egress. */
export interface ProbeRequest {
  readonly namespace: string;
  readonly name: string;
  readonly bundleHash: string;
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
  /** Names only; the probe sees placeholder values. */
  readonly envNames: readonly string[];
}

export type ProbeReply =
  | {
      readonly ok: true;
      readonly form: FunctionForm;
      readonly entrypoints: readonly string[];
      /** The exported `config` without functions; validators reduced to true. */
      readonly config: unknown;
      readonly loadMs: number;
    }
  | { readonly ok: false; readonly error: ErrorData };

export interface PressureReport {
  readonly residentBytes: number;
  readonly softLimitBytes: number;
}

/** `namespace/function@version`. */
export type SuspectKey = string;

/** What cells must know: whose calls leave them, and who calls nobody from the probation cell. */
export interface SuspectNews {
  readonly suspects: readonly SuspectKey[];
  readonly alone: readonly SuspectKey[];
}

export function suspectKey(namespace: string, name: string, version: number): SuspectKey {
  return `${namespace}/${name}@${version}`;
}

/** Undefined for what is none. */
export function parseSuspectKey(
  key: SuspectKey,
): { readonly namespace: string; readonly name: string; readonly version: number } | undefined {
  const [, namespace, name, version] = /^([^/]+)\/([^@]+)@(\d+)$/.exec(key) ?? [];
  if (namespace === undefined || name === undefined) return undefined;
  return { namespace, name, version: Number(version) };
}

/** Host → gateway. */
export const GATEWAY_CONTROL = {
  /**
   * GET → 200 once the registry is read and routing is in memory; 500 `ErrorData` if damaged.
   */
  ready: "/ready",
  /** POST `CellsReport` → 204: which cells are up. */
  cells: "/cells",
  /** POST `Verdict` → 204. */
  verdict: "/verdict",
  /** POST `{clients: string[]}` "ip:port" whose side of the connection is closed → 204. */
  disconnects: "/disconnects",
  /** POST `TelemetryBatch` → 204: what a dead cell had said on stdout. */
  telemetry: "/telemetry",
  /** POST `HostMetrics` → 204, every few seconds. */
  metrics: "/metrics",
  /** POST → 204 when nothing is in flight and usage is on disk: new calls get `DRAINING`. */
  drain: "/drain",
} as const;

export type CellState = "starting" | "up" | "down" | "stopped";

export interface CellInfo {
  readonly slot: number;
  /** Namespace that owns it; absent for shared cells and probation. */
  readonly namespace?: string;
  readonly role: "shared" | "dedicated" | "probation";
  readonly state: CellState;
  readonly pid?: number;
  readonly restarts: number;
  readonly startedAtMs?: number;
  readonly residentBytes?: number;
  readonly cpuMs?: number;
}

export interface CellsReport {
  readonly cells: readonly CellInfo[];
}

/**
 * What the watchdog found when a cell died or was ended.
 *
 * In a shared cell the calls that were entered and not left are suspects; in the probation cell
 * the one call is convicted.
 */
export interface Verdict {
  readonly slot: number;
  readonly cause: "MAX_BLOCK" | "MEMORY_LIMIT" | "CELL_LOST";
  readonly suspects: readonly { key: SuspectKey; callIds: readonly string[] }[];
  /** Somebody killed the cell: nothing says that one of its calls did. */
  readonly outside?: true;
  /** No call was entered: the suspects are all that ran in this cell before. */
  readonly late?: true;
  /** Versions that ran in this cell and left: suspects if cells go on dying. */
  readonly lately?: readonly SuspectKey[];
  /** Set by the probation cell only. */
  readonly convicted?: SuspectKey;
  readonly atMs: number;
}

export interface HostMetrics {
  /** Free space of the disk that holds the data directory; absent where it is unknown. */
  readonly diskFreeBytes?: number;
  readonly processes: readonly {
    name: string;
    pid: number;
    residentBytes: number;
    cpuMs: number;
  }[];
}

/** Gateway → host. */
export const HOST_CONTROL = {
  /** GET → `CellsReport`. */
  cells: "/cells",
  /** POST `{slot}` → 204 once it answers again. */
  restart: "/cells/restart",
  /** POST `{namespace, cells}` → `CellsReport`: dedicated cells start (or, with 0, stop). */
  dedicate: "/cells/dedicate",
  /** POST `{hash}` → 204 once the bundle that was written survives a loss of power. */
  keep: "/bundles/keep",
} as const;

/**
 * Breadcrumbs: lines a cell writes to stdout, each beginning with `\u0001` and a mark.
 *
 * The cell itself, which no tenant code can touch, writes under its secret mark. `E <call id>
 * <suspect key> <max block ms>`: tenant code is entered; `L <call id> …`: these calls were left
 * (before an `E`); `I <suspect key>`: modules of a version are about to be evaluated; `J` done.
 *
 * The shim writes inside the tenant's isolate, where tenant code may find a way to write the same;
 * so its mark is another, and what it says counts little: `P <call id>`: the call begins, or gave
 * the thread back, after a silence (evidence of progress, a few times a call); `T`: a timer fired,
 * after a silence (evidence of a turn of the event loop); `W <call id>`:
 * promises of `waitUntil` are open, so the call stays entered until `X`; `O <call id> <level> <at
 * ms> <json text>`: a console line, kept by the host until the call is left.
 */
export const CRUMB_START = "\u0001";

/** The mark that isolates of tenants get: no way leads from it to the whole. */
export function isolateMark(mark: string): string {
  return mark.slice(0, mark.length / 2);
}
