/** Rows of the registry as routes: what gateway and cells keep in memory. */
import {
  DEFAULT_QUOTAS,
  type BackendName,
  type CellPlacement,
  type FunctionForm,
  type FunctionRoute,
  type NamespaceRoute,
  type Quotas,
  type ResolvedConfig,
  type RouteTarget,
  type RoutingSnapshot,
  resolveConfig,
} from "../contract/index.ts";
import { parseStored } from "./damage.ts";
import {
  type FunctionRow,
  type NamespaceRow,
  type SecretRow,
  STATEMENTS,
  type VersionRow,
} from "./schema.ts";
import type { Database } from "./sql.ts";
import type { Share } from "./traffic.ts";

export function storedQuotas(row: NamespaceRow): Quotas {
  return {
    ...DEFAULT_QUOTAS,
    ...(parseStored(row.quotas, "namespaces.quotas") as Partial<Quotas>),
  };
}

/** Versions of an older release have no options that came later. */
const DEFAULT_CONFIG = resolveConfig();

export function storedConfig(row: VersionRow): ResolvedConfig {
  const stored = parseStored(row.config, "versions.config") as Partial<ResolvedConfig>;
  return { ...DEFAULT_CONFIG, ...stored };
}

export function storedTraffic(row: FunctionRow): Share[] {
  return parseStored(row.traffic, "functions.traffic") as Share[];
}

export function storedArrivals(row: FunctionRow): number[] {
  return parseStored(row.arrivals, "functions.arrivals") as number[];
}

/** Undefined if there is no such function. */
export function readRoute(
  db: Database,
  namespace: string,
  name: string,
): FunctionRoute | undefined {
  const row = db.first(STATEMENTS.functionGet, namespace, name);
  if (!row) return undefined;
  const versions = storedTraffic(row).flatMap(
    ({ version }) => db.first(STATEMENTS.versionGet, namespace, name, version) ?? [],
  );
  return toRoute(row, versions, db.all(STATEMENTS.secretList, namespace));
}

export function readNamespaceRoute(
  db: Database,
  namespace: string,
  revision: number,
): NamespaceRoute | undefined {
  const row = db.first(STATEMENTS.namespaceGet, namespace);
  return row && toNamespaceRoute(row, revision);
}

export function readSnapshot(db: Database): RoutingSnapshot {
  const versions = Map.groupBy(db.all(STATEMENTS.versionListAll), keyOf);
  const secrets = Map.groupBy(db.all(STATEMENTS.secretListAll), ({ namespace }) => namespace);
  return {
    namespaces: db
      .all(STATEMENTS.namespaceList)
      .map((row) => toNamespaceRoute(row, revisionOf(db, row.namespace))),
    routes: db
      .all(STATEMENTS.functionListAll)
      .map((row) => toRoute(row, versions.get(keyOf(row)) ?? [], secrets.get(row.namespace) ?? [])),
  };
}

/** The generation that isolates of a version depend on: the newest among the secrets it names. */
export function secretsGeneration(names: readonly string[], secrets: readonly SecretRow[]): number {
  return secrets
    .filter((secret) => names.includes(secret.name))
    .reduce((newest, secret) => Math.max(newest, secret.generation), 0);
}

function keyOf(row: { namespace: string; name: string }): string {
  return `${row.namespace}/${row.name}`;
}

function revisionOf(db: Database, namespace: string): number {
  return db.first(STATEMENTS.counterGet, "revision", namespace)?.value ?? 0;
}

function toNamespaceRoute(row: NamespaceRow, revision: number): NamespaceRoute {
  const { callsPerSecondMax, inFlightMax, storeMaxBytes } = storedQuotas(row);
  const cells = row.cells as CellPlacement;
  return {
    namespace: row.namespace,
    revision,
    cells,
    callsPerSecondMax,
    inFlightMax,
    storeMaxBytes,
  };
}

function toRoute(
  row: FunctionRow,
  versions: readonly VersionRow[],
  secrets: readonly SecretRow[],
): FunctionRoute {
  const targets = storedTraffic(row).flatMap(({ version, percent }) => {
    const found = versions.find((candidate) => candidate.version === version);
    return found ? [toTarget(found, percent, secrets)] : [];
  });
  return { namespace: row.namespace, name: row.name, targets };
}

export function toTarget(
  row: VersionRow,
  weight: number,
  secrets: readonly SecretRow[],
): RouteTarget {
  const config = storedConfig(row);
  return {
    version: row.version,
    weight,
    backend: config.backend satisfies BackendName,
    form: row.form as FunctionForm,
    timeoutMs: config.timeoutMs,
    maxBlockMs: config.maxBlockMs,
    maxInFlight: config.maxInFlight,
    memoryMb: config.memoryMb,
    auth: config.auth,
    idempotent: config.idempotent,
    retry: config.retry,
    concurrency: config.concurrency.limit,
    retention: config.retention,
    reuse: config.reuse,
    egress: config.egress,
    secretsGeneration: secretsGeneration(config.secrets, secrets),
    quarantined: row.quarantined === 1,
  };
}
