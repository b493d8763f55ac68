/**
 * Functions and their versions.
 *
 * F1 A version never changes once registered; only its quarantine flag does. Its number is never
 *    given twice, not even after the function was removed: caches may key on it.
 * F2 Deploying content that a version has already makes that version live again.
 * F3 Every version with traffic is kept; of the idle ones the newest `idleVersionsKept`.
 * F4 A run is pinned to versions that had traffic when it began, or since. What has been idle since
 *    before the oldest open run began is pinned by none; nothing else leaves, nor anything while a
 *    shard cannot say.
 */
import {
  IsolaError,
  LIMITS,
  functionKey,
  type BackendName,
  type FunctionDetail,
  type FunctionForm,
  type FunctionSummary,
  type RouteTarget,
  type VersionSummary,
  type VersionSupply,
} from "../contract/index.ts";
import { parseStored } from "./damage.ts";
import { requireNamespace } from "./namespaces.ts";
import type { Changes, DeployInput, Deployed, Key, VersionKey } from "./operations.ts";
import { storedArrivals, storedConfig, storedQuotas, storedTraffic, toTarget } from "./routes.ts";
import { type FunctionRow, STATEMENTS, type VersionRow } from "./schema.ts";
import { putSchedules, schedulesOf } from "./schedules.ts";
import type { Scope } from "./scope.ts";
import { sealedSecrets } from "./secrets.ts";
import type { Database } from "./sql.ts";
import {
  type Share,
  previousVersion,
  primaryVersion,
  recordArrival,
  recordReturn,
  shiftTraffic,
} from "./traffic.ts";

export function listFunctions(db: Database, input: { namespace: string }): FunctionSummary[] {
  requireNamespace(db, input.namespace);
  return db.all(STATEMENTS.functionList, input.namespace).map((row) => summarize(db, row));
}

export function functionDetail(
  db: Database,
  input: Key,
): Omit<FunctionDetail, "addresses" | "usage"> {
  const row = requireFunction(db, input);
  const version = requireVersion(db, { ...input, version: primaryVersion(storedTraffic(row)) });
  return {
    ...summarize(db, row),
    config: storedConfig(version),
    bundleHash: version.bundleHash,
    bundleBytes: version.bundleBytes,
    entrypoints: parseStored(version.entrypoints, "versions.entrypoints") as string[],
    schedules: schedulesOf(db, input),
  };
}

export function listVersions(db: Database, input: Key): VersionSummary[] {
  const shares = storedTraffic(requireFunction(db, input));
  return db.all(STATEMENTS.versionList, input.namespace, input.name).map((row) => ({
    version: row.version,
    bundleHash: row.bundleHash,
    bundleBytes: row.bundleBytes,
    form: row.form as FunctionForm,
    percent: shares.find((share) => share.version === row.version)?.percent ?? 0,
    quarantined: row.quarantined === 1,
    createdAtMs: row.createdAtMs,
  }));
}

export function versionSupply(db: Database, input: VersionKey): VersionSupply {
  const row = requireVersion(db, input);
  return {
    namespace: row.namespace,
    name: row.name,
    version: row.version,
    bundleHash: row.bundleHash,
    form: row.form as FunctionForm,
    entrypoints: parseStored(row.entrypoints, "versions.entrypoints") as string[],
    config: storedConfig(row),
  };
}

export function versionTarget(db: Database, input: VersionKey): RouteTarget {
  return toTarget(requireVersion(db, input), 0, db.all(STATEMENTS.secretList, input.namespace));
}

export function secretsOfVersion(db: Database, input: VersionKey): Record<string, string> {
  const { secrets } = storedConfig(requireVersion(db, input));
  return sealedSecrets(db, input.namespace, secrets);
}

export function deploy(scope: Scope, input: DeployInput): Deployed {
  const { db } = scope;
  const { namespace, name } = input;
  const row = db.first(STATEMENTS.functionGet, namespace, name);
  checkQuotas(db, input, row === undefined);
  checkSecrets(db, input);
  const known = db.first(STATEMENTS.versionByContent, namespace, name, input.contentHash);
  if (known?.quarantined === 1) throw stillQuarantined(known);
  const counted = db.first(STATEMENTS.counterGet, "version", functionKey(namespace, name));
  const version = known?.version ?? (counted?.value ?? 0) + 1;
  const shares = row ? storedTraffic(row) : [];
  const traffic = shiftTraffic(shares, version, input.percent) ?? [{ version, percent: 100 }];
  if (input.dryRun) return { version, created: false, traffic };
  if (!known) insertVersion(scope, input);
  const percent = traffic.find((share) => share.version === version)?.percent ?? 0;
  const arrivals = recordArrival(row ? storedArrivals(row) : [], version, percent);
  putFunction(scope, input, traffic, arrivals, scope.nowMs);
  // Before it is noted who is idle by this change.
  collectIdle(scope, input, traffic);
  noteIdle(scope, input, traffic);
  return { version, created: !known, traffic };
}

export function setTraffic(
  scope: Scope,
  input: Parameters<Changes["setTraffic"]>[0],
): { version: number; traffic: readonly Share[] } {
  const { db } = scope;
  const row = requireFunction(db, input);
  const arrivals = storedArrivals(row);
  const version = input.version ?? requirePrevious(db, row, arrivals);
  const target = requireVersion(db, { ...input, version });
  if (target.quarantined === 1 && input.percent > 0) throw stillQuarantined(target);
  const traffic = shiftTraffic(storedTraffic(row), version, input.percent);
  if (traffic === undefined) {
    throw new IsolaError("REQUEST_INVALID", {
      attempted: `give version ${version} of ${input.name} ${input.percent} percent`,
      found: "no other version with traffic that could carry the rest",
      required: "100 percent for the only live version",
    });
  }
  const goesBack = input.version === undefined && input.percent === 100;
  const after = goesBack
    ? recordReturn(arrivals, version)
    : recordArrival(arrivals, version, input.percent);
  putFunction(scope, input, traffic, after, row.deployedAtMs);
  noteIdle(scope, input, traffic);
  return { version, traffic };
}

export function removeFunction(scope: Scope, input: Key): null {
  const { db } = scope;
  const { namespace, name } = input;
  requireFunction(db, input);
  for (const row of db.all(STATEMENTS.versionList, namespace, name)) deleteVersion(scope, row);
  db.all(STATEMENTS.functionDelete, namespace, name);
  putSchedules(scope, input);
  scope.touchRoute(namespace, name);
  return null;
}

/** Convictions may come late: a version that is no more is no failure. */
export function quarantine(scope: Scope, input: VersionKey): null {
  const { namespace, name, version } = input;
  const row = scope.db.first(STATEMENTS.versionGet, namespace, name, version);
  if (!row || row.quarantined === 1) return null;
  scope.db.all(STATEMENTS.versionQuarantine, 1, namespace, name, version);
  scope.touchRoute(namespace, name);
  return null;
}

export function release(scope: Scope, input: Key): { released: readonly number[] } {
  const { db } = scope;
  requireFunction(db, input);
  const released = db
    .all(STATEMENTS.versionList, input.namespace, input.name)
    .filter((row) => row.quarantined === 1)
    .map((row) => row.version);
  for (const version of released) {
    db.all(STATEMENTS.versionQuarantine, 0, input.namespace, input.name, version);
  }
  if (released.length > 0) scope.touchRoute(input.namespace, input.name);
  return { released };
}

function requireFunction(db: Database, key: Key): FunctionRow {
  requireNamespace(db, key.namespace);
  const row = db.first(STATEMENTS.functionGet, key.namespace, key.name);
  if (row) return row;
  throw new IsolaError("FUNCTION_NOT_FOUND", {
    attempted: `use function ${JSON.stringify(key.name)}`,
    found: `no such function in namespace ${key.namespace}`,
  });
}

function requireVersion(db: Database, key: VersionKey): VersionRow {
  const row = db.first(STATEMENTS.versionGet, key.namespace, key.name, key.version);
  if (row) return row;
  throw new IsolaError("VERSION_NOT_FOUND", {
    attempted: `use version ${key.version} of ${key.name}`,
    found: "no such version, or it was collected",
  });
}

function requirePrevious(db: Database, row: FunctionRow, arrivals: readonly number[]): number {
  const version = previousVersion(arrivals, (candidate) => {
    const found = db.first(STATEMENTS.versionGet, row.namespace, row.name, candidate);
    return found?.quarantined === 0;
  });
  if (version !== undefined) return version;
  throw new IsolaError("VERSION_NOT_FOUND", {
    attempted: `go back to the version of ${row.name} before the present one`,
    found: "no earlier version that had traffic and is not quarantined",
    fix: "name a version; isola versions <function> lists them",
  });
}

function stillQuarantined(row: VersionRow): IsolaError {
  return new IsolaError("CONFLICT", {
    attempted: `give traffic to version ${row.version} of ${row.name}`,
    found: "a version with this content in quarantine",
    required: "another version, or its release",
    fix: "deploy a corrected version, or isola release <function>",
  });
}

function checkQuotas(db: Database, input: DeployInput, isNew: boolean): void {
  const quotas = storedQuotas(requireNamespace(db, input.namespace));
  const attempted = `deploy ${input.name}`;
  const functions = db.first(STATEMENTS.functionCount, input.namespace)?.count ?? 0;
  if (isNew && functions >= quotas.functionsMax) {
    throw new IsolaError("QUOTA_EXCEEDED", {
      attempted,
      found: `${functions} functions in namespace ${input.namespace}`,
      required: `at most ${quotas.functionsMax} (functionsMax)`,
    });
  }
  const isKnown = db.first(STATEMENTS.bundleOf, input.namespace, input.bundleHash) !== undefined;
  const bytes = db.first(STATEMENTS.bundleBytes, input.namespace)?.bytes ?? 0;
  if (!isKnown && bytes + input.bundleBytes > quotas.bundleTotalMaxBytes) {
    throw new IsolaError("QUOTA_EXCEEDED", {
      attempted,
      found: `${bytes} bytes of bundles and ${input.bundleBytes} more`,
      required: `at most ${quotas.bundleTotalMaxBytes} bytes (bundleTotalMaxBytes)`,
    });
  }
}

function checkSecrets(db: Database, input: DeployInput): void {
  const { secrets, env } = input.config;
  let bytes = JSON.stringify(env).length;
  for (const name of secrets) {
    const row = db.first(STATEMENTS.secretGet, input.namespace, name);
    if (!row) refuseSecret(input, `no secret ${JSON.stringify(name)} in this namespace`);
    if (Object.hasOwn(env, name)) refuseSecret(input, `${name} both in env and in secrets`);
    bytes += row.bytes;
  }
  if (bytes > LIMITS.envMaxBytes) {
    refuseSecret(input, `${bytes} bytes of environment and secrets`);
  }
}

function refuseSecret(input: DeployInput, found: string): never {
  throw new IsolaError("CONFIG_INVALID", {
    attempted: `deploy ${input.name}`,
    found,
    required: `secrets that exist, of other names than env, together ${LIMITS.envMaxBytes} bytes`,
    fix: "isola secret put NAME, or correct the configuration",
  });
}

function insertVersion(scope: Scope, input: DeployInput): void {
  const { namespace, name } = input;
  const version = scope.count("version", functionKey(namespace, name));
  for (const secret of input.config.secrets) {
    scope.db.all(STATEMENTS.secretUseInsert, namespace, secret, name, version);
  }
  scope.db.all(
    STATEMENTS.versionInsert,
    namespace,
    name,
    version,
    input.contentHash,
    input.bundleHash,
    input.bundleBytes,
    input.form,
    JSON.stringify(input.entrypoints),
    JSON.stringify(input.config),
    scope.nowMs,
  );
}

function putFunction(
  scope: Scope,
  key: Key,
  traffic: readonly Share[],
  arrivals: readonly number[],
  deployedAtMs: number,
): void {
  const { namespace, name } = key;
  const rows = [JSON.stringify(traffic), JSON.stringify(arrivals)] as const;
  scope.db.all(STATEMENTS.functionPut, namespace, name, ...rows, deployedAtMs);
  putSchedules(scope, key);
  scope.touchRoute(namespace, name);
}

/**
 * Idle versions beyond those kept leave, oldest first (F3), unless a run may be pinned to them
 * (F4).
 */
function collectIdle(scope: Scope, input: DeployInput, traffic: readonly Share[]): void {
  const live = new Set(traffic.map((share) => share.version));
  const rows = scope.db.all(STATEMENTS.versionList, input.namespace, input.name);
  // The one just deployed stays, with or without traffic.
  const idle = rows.filter(({ version, contentHash }) => {
    return !live.has(version) && contentHash !== input.contentHash;
  });
  for (const row of idle.slice(LIMITS.idleVersionsKept)) {
    if (isFree(row, input.oldestRunMs)) deleteVersion(scope, row);
  }
}

function isFree({ idleSinceMs }: VersionRow, oldestRunMs: number | null | undefined): boolean {
  // It lost its traffic by this very change: cells do not know yet.
  if (idleSinceMs === null || oldestRunMs === undefined) return false;
  return oldestRunMs === null || idleSinceMs + LIMITS.routingSpreadMaxMs < oldestRunMs;
}

/** Notes since when versions have no traffic: before the next change all cells know it. */
function noteIdle(scope: Scope, { namespace, name }: Key, traffic: readonly Share[]): void {
  const live = new Set(traffic.map((share) => share.version));
  for (const { version, idleSinceMs } of scope.db.all(STATEMENTS.versionList, namespace, name)) {
    const isIdle = !live.has(version);
    if (isIdle === (idleSinceMs !== null)) continue;
    scope.db.all(STATEMENTS.versionIdle, isIdle ? scope.nowMs : null, namespace, name, version);
  }
}

function deleteVersion(scope: Scope, row: VersionRow): void {
  scope.db.all(STATEMENTS.versionDelete, row.namespace, row.name, row.version);
  scope.db.all(STATEMENTS.secretUseDelete, row.namespace, row.name, row.version);
  scope.collect(row.namespace, row.name, row.version, row.bundleHash);
}

function summarize(db: Database, row: FunctionRow): FunctionSummary {
  const traffic = storedTraffic(row);
  const version = primaryVersion(traffic);
  const primary = requireVersion(db, { namespace: row.namespace, name: row.name, version });
  const config = storedConfig(primary);
  return {
    namespace: row.namespace,
    name: row.name,
    version,
    backend: config.backend satisfies BackendName,
    form: primary.form as FunctionForm,
    auth: config.auth,
    traffic,
    quarantined: primary.quarantined === 1,
    deployedAtMs: row.deployedAtMs,
  };
}
