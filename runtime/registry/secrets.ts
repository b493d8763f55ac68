/**
 * Secrets: write-only, sealed by the gateway before they get here.
 *
 * The namespace counts generations; each secret keeps the one at which it last changed. A version
 * routes with the newest generation among its secrets, so a change reloads exactly the isolates
 * that use it, without a deploy.
 */
import { IsolaError, LIMITS, type SecretSummary } from "../contract/index.ts";
import { requireNamespace } from "./namespaces.ts";
import type { Changes, Key } from "./operations.ts";
import { storedTraffic } from "./routes.ts";
import { type SecretRow, STATEMENTS } from "./schema.ts";
import type { Scope } from "./scope.ts";
import type { Database } from "./sql.ts";

export function listSecrets(db: Database, input: { namespace: string }): SecretSummary[] {
  requireNamespace(db, input.namespace);
  const uses = db.all(STATEMENTS.secretUsers, input.namespace);
  const users = liveUsers(db, input.namespace, uses);
  return db
    .all(STATEMENTS.secretList, input.namespace)
    .map((row) => summarize(row, users.get(row.name) ?? []));
}

export function putSecret(scope: Scope, input: Parameters<Changes["putSecret"]>[0]): SecretSummary {
  const { db, nowMs } = scope;
  const { namespace, name } = input;
  requireNamespace(db, namespace);
  const isNew = db.first(STATEMENTS.secretGet, namespace, name) === undefined;
  const count = db.all(STATEMENTS.secretList, namespace).length;
  if (isNew && count >= LIMITS.secretsPerNamespace) {
    throw new IsolaError("QUOTA_EXCEEDED", {
      attempted: `put secret ${name}`,
      found: `${count} secrets in namespace ${namespace}`,
      required: `at most ${LIMITS.secretsPerNamespace}`,
    });
  }
  const generation = scope.count("generation", namespace);
  db.all(STATEMENTS.secretPut, namespace, name, input.sealed, input.bytes, generation, nowMs);
  const users = usersOf(db, input);
  for (const user of users) scope.touchRoute(namespace, user);
  return { name, generation, updatedAtMs: nowMs, usedBy: users };
}

export function removeSecret(scope: Scope, input: Key): null {
  const { db } = scope;
  const { namespace, name } = input;
  requireNamespace(db, namespace);
  if (db.first(STATEMENTS.secretGet, namespace, name) === undefined) {
    throw new IsolaError("NOT_FOUND", {
      attempted: `remove secret ${JSON.stringify(name)}`,
      found: `no such secret in namespace ${namespace}`,
      fix: "isola secret list shows them",
    });
  }
  const users = usersOf(db, input);
  if (users.length > 0) {
    throw new IsolaError("CONFLICT", {
      attempted: `remove secret ${name}`,
      found: `it is used by ${users.join(", ")}`,
      required: "a secret that no live version names",
      fix: "deploy them without it first",
    });
  }
  db.all(STATEMENTS.secretDelete, namespace, name);
  return null;
}

/** Sealed values by name. A secret that is no more is left out: only idle versions can name one. */
export function sealedSecrets(
  db: Database,
  namespace: string,
  names: readonly string[],
): Record<string, string> {
  const found = names.flatMap((name) => {
    const row = db.first(STATEMENTS.secretSealed, namespace, name);
    return row ? [[name, row.sealed] as const] : [];
  });
  return Object.fromEntries(found);
}

interface SecretUse {
  readonly secret: string;
  readonly name: string;
  readonly version: number;
}

/** Functions by the secrets that their live versions name. */
function liveUsers(
  db: Database,
  namespace: string,
  uses: readonly SecretUse[],
): Map<string, string[]> {
  const users = new Map<string, string[]>();
  const live = new Map<string, ReadonlySet<number>>();
  for (const { secret, name, version } of uses) {
    let versions = live.get(name);
    if (versions === undefined) {
      const row = db.first(STATEMENTS.functionGet, namespace, name);
      versions = new Set(row ? storedTraffic(row).map((share) => share.version) : []);
      live.set(name, versions);
    }
    const names = users.get(secret) ?? [];
    if (versions.has(version) && names.at(-1) !== name) users.set(secret, [...names, name]);
  }
  return users;
}

function usersOf(db: Database, { namespace, name }: Key): readonly string[] {
  const uses = db.all(STATEMENTS.secretUsersOf, namespace, name);
  return liveUsers(db, namespace, uses).get(name) ?? [];
}

function summarize(row: SecretRow, usedBy: readonly string[]): SecretSummary {
  const { name, generation, updatedAtMs } = row;
  return { name, generation, updatedAtMs, usedBy };
}
