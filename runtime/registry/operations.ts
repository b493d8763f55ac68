/**
 * What the registry can be asked, by name. Reads answer a value; changes answer a `Changed`, whose
 * routing changes the gateway spreads. All input has been parsed; names are checked by the caller.
 */
import type {
  CellPlacement,
  ErrorData,
  FunctionDetail,
  HourlyUsage,
  FunctionForm,
  FunctionSummary,
  NamespaceSummary,
  Quotas,
  ResolvedConfig,
  Role,
  RouteTarget,
  RoutingChange,
  RoutingSnapshot,
  Schedule,
  ScheduleSummary,
  SecretSummary,
  StoreTierBytes,
  StoreUsage,
  TokenSummary,
  UsageRow,
  VersionSummary,
  VersionSupply,
} from "../contract/index.ts";
import type { Share } from "./traffic.ts";

export interface Key {
  readonly namespace: string;
  readonly name: string;
}

export interface VersionKey extends Key {
  readonly version: number;
}

export interface DeployInput extends Key {
  readonly bundleHash: string;
  readonly bundleBytes: number;
  readonly contentHash: string;
  readonly form: FunctionForm;
  readonly entrypoints: readonly string[];
  readonly config: ResolvedConfig;
  /** Percent of traffic; a function's first version gets all. */
  readonly percent: number;
  /** Checks everything and registers nothing. */
  readonly dryRun: boolean;
  /** When the namespace's oldest open run began; null: there is none; absent: nobody knows. */
  readonly oldestRunMs?: number | null;
}

export interface Deployed {
  readonly version: number;
  /** False if a version of the same content was there before, and for a dry run. */
  readonly created: boolean;
  readonly traffic: readonly Share[];
}

/** A tick of a schedule: named by the schedule and the time at which it was due. */
export interface Tick extends Key, Schedule {
  readonly atMs: number;
}

/** What came of it: a run, or why there is none. */
export interface EndedTick extends Tick {
  readonly run: string | null;
  readonly error: string | null;
}

/** Usage of the store over some hours. */
export interface StoreUsageSum {
  readonly byteSeconds: StoreTierBytes;
  readonly operations: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Most that was seen held at once. */
  readonly heldMaxBytes: number;
}

/** Counters of one shard, of one epoch. */
export interface ShardCounters {
  readonly shard: number;
  readonly epoch: number;
  readonly namespaces: Readonly<Record<string, StoreUsage>>;
}

export interface StoredToken extends TokenSummary {
  readonly namespace: string;
  readonly hash: string;
}

/**
 * Everything that routing has to learn since a number of changes: the changes in order or, where
 * the registry does not remember that far back, the whole.
 */
export interface RoutingUpdate {
  /** Number of changes that are known with it. */
  readonly sequence: number;
  readonly changes: readonly RoutingChange[];
  readonly snapshot: RoutingSnapshot | null;
}

/** What a change did. */
export interface Changed<T> {
  readonly value: T;
  readonly update: RoutingUpdate;
  /** Bundles that no version names any more. */
  readonly freedBundles: readonly string[];
}

export interface Reads {
  /** Identity of this registry, made at its first start. */
  installation(input: null): { installation: string; file: string };
  /** Sequence 0: everything. */
  routingSince(input: { sequence: number }): RoutingUpdate;
  namespaces(input: null): NamespaceSummary[];
  namespace(input: { namespace: string }): NamespaceSummary;
  functions(input: { namespace: string }): FunctionSummary[];
  /** Without addresses and usage, which the gateway knows. */
  functionDetail(input: Key): Omit<FunctionDetail, "addresses" | "usage">;
  versions(input: Key): VersionSummary[];
  versionSupply(input: VersionKey): VersionSupply;
  /** Live or not; its weight is 0. */
  versionTarget(input: VersionKey): RouteTarget;
  /** Sealed values of the secrets that the version names. */
  sealedSecrets(input: VersionKey): Record<string, string>;
  /** Null if there is none. */
  sealedSecret(input: Key): string | null;
  secrets(input: { namespace: string }): SecretSummary[];
  tokens(input: { namespace: string }): TokenSummary[];
  token(input: { id: string }): StoredToken | null;
  usage(input: { namespace: string; sinceMs: number }): UsageRow[];
  storeUsage(input: { namespace: string; sinceMs: number }): StoreUsageSum;
  schedules(input: { namespace: string }): ScheduleSummary[];
  /** Ticks whose time has come, oldest first. */
  dueTicks(input: { limit: number }): Tick[];
  /** When the next tick is due; null if none is. */
  nextTick(input: null): number | null;
  /** Those of `bundles` that no version names. */
  unnamedBundles(input: { bundles: readonly string[] }): string[];
}

export interface Changes {
  createNamespace(input: {
    namespace: string;
    cells: CellPlacement;
    quotas: Partial<Quotas>;
  }): NamespaceSummary;
  updateNamespace(input: {
    namespace: string;
    cells?: CellPlacement;
    quotas: Partial<Quotas>;
  }): NamespaceSummary;
  removeNamespace(input: { namespace: string; force: boolean }): null;
  deploy(input: DeployInput): Deployed;
  /** Without a version: back to the one before the present one. */
  setTraffic(input: Key & { version?: number; percent: number }): {
    version: number;
    traffic: readonly Share[];
  };
  removeFunction(input: Key): null;
  quarantine(input: VersionKey): null;
  release(input: Key): { released: readonly number[] };
  putSecret(input: Key & { sealed: string; bytes: number }): SecretSummary;
  removeSecret(input: Key): null;
  createToken(input: {
    namespace: string;
    id: string;
    hash: string;
    role: Role;
    label: string;
  }): TokenSummary;
  removeToken(input: { namespace: string; id: string }): null;
  addUsage(input: { entries: readonly HourlyUsage[] }): null;
  addStoreUsage(input: { reports: readonly ShardCounters[] }): null;
  endTicks(input: { ticks: readonly EndedTick[] }): null;
}

export type ReadName = keyof Reads;
export type ChangeName = keyof Changes;

/** How an answer crosses the actor's boundary: errors as data. */
export type Tagged<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: ErrorData };
