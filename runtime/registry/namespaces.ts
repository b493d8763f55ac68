/** Namespaces and their tokens and usage. */
import {
  DEFAULT_NAMESPACE,
  IsolaError,
  LIMITS,
  type CellPlacement,
  type NamespaceSummary,
  type Role,
  type TokenSummary,
  type UsageRow,
} from "../contract/index.ts";
import type { Changes, Reads, StoredToken } from "./operations.ts";
import { storedQuotas } from "./routes.ts";
import { type NamespaceRow, STATEMENTS, type TokenRow } from "./schema.ts";
import type { Scope } from "./scope.ts";
import type { Database } from "./sql.ts";

type Input<K extends keyof Changes> = Parameters<Changes[K]>[0];
type Query<K extends keyof Reads> = Parameters<Reads[K]>[0];

/** The namespace's row. Errors: `NAMESPACE_NOT_FOUND`. */
export function requireNamespace(db: Database, namespace: string): NamespaceRow {
  const row = db.first(STATEMENTS.namespaceGet, namespace);
  if (row) return row;
  throw namespaceNotFound(namespace);
}

/** The same error whether the namespace is absent or not the asker's to see. */
export function namespaceNotFound(namespace: string): IsolaError {
  return new IsolaError("NAMESPACE_NOT_FOUND", {
    attempted: "use a namespace",
    found: `no namespace ${JSON.stringify(namespace)} of yours`,
  });
}

export function listNamespaces(db: Database): NamespaceSummary[] {
  return db.all(STATEMENTS.namespaceList).map((row) => summarize(db, row));
}

export function getNamespace(db: Database, input: Query<"namespace">): NamespaceSummary {
  return summarize(db, requireNamespace(db, input.namespace));
}

export function createNamespace(scope: Scope, input: Input<"createNamespace">): NamespaceSummary {
  const { db } = scope;
  if (db.first(STATEMENTS.namespaceGet, input.namespace)) {
    throw new IsolaError("ALREADY_EXISTS", {
      attempted: `create namespace ${input.namespace}`,
      found: "a namespace of that name",
    });
  }
  const count = db.first(STATEMENTS.namespaceCount)?.count ?? 0;
  if (count >= LIMITS.namespacesMax) {
    throw new IsolaError("QUOTA_EXCEEDED", {
      attempted: `create namespace ${input.namespace}`,
      found: `${count} namespaces`,
      required: `at most ${LIMITS.namespacesMax}`,
    });
  }
  putNamespace(scope, input.namespace, input.cells, JSON.stringify(input.quotas), scope.nowMs);
  return getNamespace(db, input);
}

export function updateNamespace(scope: Scope, input: Input<"updateNamespace">): NamespaceSummary {
  const row = requireNamespace(scope.db, input.namespace);
  const quotas = JSON.stringify({ ...storedQuotas(row), ...input.quotas });
  const cells = input.cells ?? (row.cells as CellPlacement);
  if (cells !== row.cells) {
    // Cells that see the namespace from now on have to learn all of it.
    for (const { name } of scope.db.all(STATEMENTS.functionList, input.namespace)) {
      scope.touchRoute(input.namespace, name);
    }
  }
  putNamespace(scope, input.namespace, cells, quotas, row.createdAtMs);
  return getNamespace(scope.db, input);
}

export function removeNamespace(scope: Scope, input: Input<"removeNamespace">): null {
  const { db } = scope;
  const { namespace } = input;
  requireNamespace(db, namespace);
  if (namespace === DEFAULT_NAMESPACE) {
    throw new IsolaError("CONFLICT", {
      attempted: `remove namespace ${namespace}`,
      found: "the namespace that every platform has",
      required: "another namespace",
      fix: "remove its functions one by one",
    });
  }
  const count = db.first(STATEMENTS.functionCount, namespace)?.count ?? 0;
  if (count > 0 && !input.force) {
    throw new IsolaError("CONFLICT", {
      attempted: `remove namespace ${namespace}`,
      found: `${count} function${count === 1 ? "" : "s"} in it`,
      required: "an empty namespace",
      fix: "remove its functions first, or force the removal",
    });
  }
  for (const version of db.all(STATEMENTS.versionListOf, namespace)) {
    scope.collect(namespace, version.name, version.version, version.bundleHash);
  }
  db.all(STATEMENTS.versionDeleteAll, namespace);
  db.all(STATEMENTS.functionDeleteAll, namespace);
  db.all(STATEMENTS.secretDeleteAll, namespace);
  db.all(STATEMENTS.secretUseDeleteAll, namespace);
  db.all(STATEMENTS.tokenDeleteAll, namespace);
  db.all(STATEMENTS.usageDeleteAll, namespace);
  db.all(STATEMENTS.storeUsageDeleteAll, namespace);
  db.all(STATEMENTS.schedulesDeleteAll, namespace);
  db.all(STATEMENTS.namespaceDelete, namespace);
  scope.dropNamespace(namespace);
  return null;
}

function putNamespace(
  scope: Scope,
  namespace: string,
  cells: CellPlacement,
  quotas: string,
  createdAtMs: number,
): void {
  scope.db.all(STATEMENTS.namespacePut, namespace, cells, quotas, createdAtMs);
  scope.touchNamespace(namespace);
}

function summarize(db: Database, row: NamespaceRow): NamespaceSummary {
  return {
    namespace: row.namespace,
    cells: row.cells as CellPlacement,
    functions: db.first(STATEMENTS.functionCount, row.namespace)?.count ?? 0,
    quotas: storedQuotas(row),
    createdAtMs: row.createdAtMs,
  };
}

export function listTokens(db: Database, input: Query<"tokens">): TokenSummary[] {
  requireNamespace(db, input.namespace);
  return db.all(STATEMENTS.tokenList, input.namespace).map(tokenSummary);
}

/** Null if there is none: an unknown token is an answer, not a failure of the registry. */
export function findToken(db: Database, input: Query<"token">): StoredToken | null {
  const row = db.first(STATEMENTS.tokenGet, input.id);
  return row ? { ...tokenSummary(row), namespace: row.namespace, hash: row.hash } : null;
}

export function createToken(scope: Scope, input: Input<"createToken">): TokenSummary {
  const { db, nowMs } = scope;
  requireNamespace(db, input.namespace);
  const count = db.all(STATEMENTS.tokenList, input.namespace).length;
  if (count >= LIMITS.tokensPerNamespace) {
    throw new IsolaError("QUOTA_EXCEEDED", {
      attempted: `create a token in namespace ${input.namespace}`,
      found: `${count} tokens`,
      required: `at most ${LIMITS.tokensPerNamespace}`,
      fix: "revoke tokens that are not used",
    });
  }
  const { id, namespace, role, label, hash } = input;
  db.all(STATEMENTS.tokenInsert, id, namespace, role, label, hash, nowMs);
  return { id, role, label, createdAtMs: nowMs };
}

export function removeToken(scope: Scope, input: Input<"removeToken">): null {
  requireNamespace(scope.db, input.namespace);
  const row = scope.db.first(STATEMENTS.tokenGet, input.id);
  if (row?.namespace !== input.namespace) {
    throw new IsolaError("NOT_FOUND", {
      attempted: `revoke token ${JSON.stringify(input.id)}`,
      found: `no such token in namespace ${input.namespace}`,
      fix: "isola token list shows them",
    });
  }
  scope.db.all(STATEMENTS.tokenDelete, input.namespace, input.id);
  return null;
}

function tokenSummary(row: TokenRow): TokenSummary {
  return { id: row.id, role: row.role as Role, label: row.label, createdAtMs: row.createdAtMs };
}

/** Adds entries; those of namespaces that are no more are dropped with them. */
export function addUsage(scope: Scope, input: Input<"addUsage">): null {
  const { db } = scope;
  const known = new Set(db.all(STATEMENTS.namespaceList).map((row) => row.namespace));
  for (const entry of input.entries) {
    if (!known.has(entry.namespace)) continue;
    db.all(
      STATEMENTS.usageAdd,
      entry.namespace,
      entry.function,
      entry.hourStartMs,
      entry.calls,
      entry.errors,
      entry.coldStarts,
      entry.wallMs,
      entry.gbSeconds,
      entry.bytesIn,
      entry.bytesOut,
    );
  }
  return null;
}

export function readUsage(db: Database, input: Query<"usage">): UsageRow[] {
  requireNamespace(db, input.namespace);
  return db.all(STATEMENTS.usageSince, input.namespace, input.sinceMs).map((row) => ({ ...row }));
}
