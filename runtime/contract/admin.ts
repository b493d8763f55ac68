/** Shapes of the admin API (INTERFACE §6), for the gateway, the client and the command line. */
import type { CellInfo } from "./control.ts";
import type { RunsReplayed } from "./replay.ts";
import type { ErrorCode } from "./errors.ts";
import type { FunctionConfig, ResolvedConfig } from "./function-config.ts";
import type { Quotas } from "./limits.ts";
import type { CellPlacement, FunctionForm } from "./routing.ts";
import type { StoreJobInfo, StoreTierBytes } from "./store-api.ts";

/** Each role includes those before it. */
export const ROLES = ["read", "operate", "deploy", "admin"] as const;
export type Role = (typeof ROLES)[number];

export function roleAllows(held: Role, needed: Role): boolean {
  return ROLES.indexOf(held) >= ROLES.indexOf(needed);
}

/**
 * Part `metadata` of `PUT functions/<name>`; the other parts are the modules, named by file name.
 */
export interface DeployMetadata {
  /** Name of the part that holds the default export. */
  readonly main: string;
  /** Overrides from flags and `isola.toml`; stronger than the module's exported config. */
  readonly config?: FunctionConfig;
  /** Percent of traffic the new version gets; the rest stays where it is. @default 100 */
  readonly traffic?: number;
}

export interface DeployResult {
  readonly namespace: string;
  readonly name: string;
  readonly version: number;
  readonly bundleHash: string;
  readonly bundleBytes: number;
  readonly form: FunctionForm;
  /** False for a dry run, and where the same bundle and configuration were deployed before. */
  readonly created: boolean;
  readonly dryRun: boolean;
  readonly traffic: readonly { version: number; percent: number }[];
  readonly config: ResolvedConfig;
  /**
   * Of a workflow in code form with open runs: what would become of these with the new code. They
   * stay with their version. `missing`: shards that did not say.
   */
  readonly replay?: RunsReplayed & { readonly missing: number };
  /**
   * Milliseconds: storing the bundle, evaluating it, registering, and until every live cell knew.
   */
  readonly timing: { storeMs: number; probeMs: number; registerMs: number; spreadMs: number };
}

export interface FunctionSummary {
  readonly namespace: string;
  readonly name: string;
  /** Version with the largest share of traffic. */
  readonly version: number;
  readonly backend: string;
  readonly form: FunctionForm;
  readonly auth: string;
  readonly traffic: readonly { version: number; percent: number }[];
  readonly quarantined: boolean;
  readonly deployedAtMs: number;
}

export interface FunctionDetail extends FunctionSummary {
  readonly config: ResolvedConfig;
  readonly bundleHash: string;
  readonly bundleBytes: number;
  readonly entrypoints: readonly string[];
  /** Address paths: `/function/…` and the host form. */
  readonly addresses: readonly string[];
  readonly usage: UsageRow | null;
  readonly schedules: readonly ScheduleSummary[];
}

/** A schedule of a function. Times are null where there is none. */
export interface ScheduleSummary {
  readonly function: string;
  /** Cron expression. */
  readonly schedule: string;
  readonly timeZone: string;
  readonly nextAtMs: number | null;
  readonly lastAtMs: number | null;
  /** The run of the last tick. */
  readonly lastRun: string | null;
  /** Why the last tick began none. */
  readonly lastError: string | null;
}

export interface VersionSummary {
  readonly version: number;
  readonly bundleHash: string;
  readonly bundleBytes: number;
  readonly form: FunctionForm;
  readonly percent: number;
  readonly quarantined: boolean;
  readonly createdAtMs: number;
}

/** `PUT functions/<name>/traffic`. */
export interface TrafficRequest {
  /** Version that gets `percent`; 0 or absent: the one before the present one (rollback). */
  readonly version?: number;
  /** @default 100 */
  readonly percent?: number;
}

export interface NamespaceSummary {
  readonly namespace: string;
  readonly cells: CellPlacement;
  readonly functions: number;
  readonly quotas: Quotas;
  readonly createdAtMs: number;
}

/** `POST /v1/namespaces`. */
export interface NamespaceRequest {
  readonly namespace: string;
  readonly cells?: CellPlacement;
  readonly quotas?: Partial<Quotas>;
}

export interface SecretSummary {
  readonly name: string;
  readonly generation: number;
  readonly updatedAtMs: number;
  readonly usedBy: readonly string[];
}

export interface TokenSummary {
  readonly id: string;
  readonly role: Role;
  readonly label: string;
  readonly createdAtMs: number;
}

/** Answer of `POST tokens`, the only time the token itself is shown. */
export interface TokenCreated extends TokenSummary {
  readonly token: string;
}

export interface UsageRow {
  readonly function: string;
  readonly calls: number;
  readonly errors: number;
  readonly coldStarts: number;
  readonly wallMs: number;
  /** Gigabyte-seconds: memoryMb / 1024 × wall seconds. */
  readonly gbSeconds: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** Usage of a function's calls that ended within one hour. */
export interface HourlyUsage extends UsageRow {
  readonly namespace: string;
  readonly hourStartMs: number;
}

export interface UsageReport {
  readonly namespace: string;
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly store: StoreUsageReport;
  readonly total: UsageRow;
  readonly functions: readonly UsageRow[];
}

/** What a namespace has in the store, and had since `sinceMs`. */
export interface StoreUsageReport {
  /** Now, by tier. */
  readonly bytes: StoreTierBytes;
  /** Now, each value once: what the quota is about. */
  readonly heldBytes: number;
  /** 0 = no bound. */
  readonly quotaBytes: number;
  /** Sum of the shards' own marks, each since its cell started. */
  readonly highWaterBytes: StoreTierBytes;
  /** Most that was seen held at once since `sinceMs`. */
  readonly heldMaxBytes: number;
  readonly byteSeconds: StoreTierBytes;
  readonly operations: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** `GET /v1/status`. */
export interface PlatformStatus {
  readonly version: string;
  readonly startedAtMs: number;
  readonly form: "host" | "collapsed";
  /** Port of the public listener. */
  readonly publicPort?: number;
  readonly cells: readonly CellInfo[];
  readonly namespaces: number;
  readonly functions: number;
  readonly inFlight: number;
  readonly queued: number;
}

/** `GET store/jobs`: jobs of all shards, and those shards that could not be asked. */
export interface StoreJobList extends List<StoreJobInfo> {
  readonly missing: readonly {
    readonly shard: number;
    /** Slot of the cell that holds it. */
    readonly cell: number;
    readonly code: ErrorCode;
    readonly message: string;
  }[];
}

/** Lists answer `{items}`. */
export interface List<T> {
  readonly items: readonly T[];
}
