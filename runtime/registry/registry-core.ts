/**
 * The registry over any SQLite: what the actor does, without the actor.
 *
 * R1 A change is one transaction: it is stored whole with its routing changes' numbers, or not.
 * R2 A damaged file is found when it is opened and refused with its name; nothing is repaired,
 *    and nothing is answered from it.
 * R3 Every change answers all routing changes that its asker does not know yet, so that whoever
 *    applies answers as they come misses none, in whatever order they come and if some never do.
 */
import {
  DEFAULT_NAMESPACE,
  LIMITS,
  IsolaError,
  toHex,
  type Clock,
  type Random,
  type RoutingChange,
} from "../contract/index.ts";
import { damagedFile, storageError } from "./damage.ts";
import * as functions from "./functions.ts";
import * as namespaces from "./namespaces.ts";
import type { ChangeName, Changed, Changes, ReadName, Reads, RoutingUpdate } from "./operations.ts";
import { readSnapshot } from "./routes.ts";
import { MIGRATIONS, STATEMENTS, TABLES, migrationStatement } from "./schema.ts";
import { Scope } from "./scope.ts";
import * as schedules from "./schedules.ts";
import * as secrets from "./secrets.ts";
import { Database, type Sql } from "./sql.ts";
import * as storeUsage from "./store-usage.ts";

type Handler<F extends (input: never) => unknown, Over> = (
  over: Over,
  input: Parameters<F>[0],
) => ReturnType<F>;

const CHANGES: { readonly [K in ChangeName]: Handler<Changes[K], Scope> } = {
  createNamespace: namespaces.createNamespace,
  updateNamespace: namespaces.updateNamespace,
  removeNamespace: namespaces.removeNamespace,
  deploy: functions.deploy,
  setTraffic: functions.setTraffic,
  removeFunction: functions.removeFunction,
  quarantine: functions.quarantine,
  release: functions.release,
  putSecret: secrets.putSecret,
  removeSecret: secrets.removeSecret,
  createToken: namespaces.createToken,
  removeToken: namespaces.removeToken,
  addUsage: namespaces.addUsage,
  addStoreUsage: storeUsage.addStoreUsage,
  endTicks: schedules.endTicks,
};

/** Changes remembered in memory; who is further behind gets the whole. */
const RECENT_CHANGES = 256;

export interface RegistryOptions {
  readonly sql: Sql;
  readonly clock: Clock;
  readonly random: Random;
  /** Name of the file in messages. */
  readonly file: string;
}

export class RegistryCore {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #file: string;
  readonly #recent: { sequence: number; changes: readonly RoutingChange[] }[] = [];
  #isFirstStart = false;

  readonly #reads: { readonly [K in ReadName]: Handler<Reads[K], Database> } = {
    installation: () => ({ installation: this.#setting(), file: this.#file }),
    routingSince: (_db, { sequence }) => this.#routingSince(sequence),
    namespaces: namespaces.listNamespaces,
    namespace: namespaces.getNamespace,
    functions: functions.listFunctions,
    functionDetail: functions.functionDetail,
    versions: functions.listVersions,
    versionSupply: functions.versionSupply,
    versionTarget: functions.versionTarget,
    sealedSecrets: functions.secretsOfVersion,
    sealedSecret: (db, { namespace, name }) =>
      secrets.sealedSecrets(db, namespace, [name])[name] ?? null,
    secrets: secrets.listSecrets,
    tokens: namespaces.listTokens,
    token: namespaces.findToken,
    usage: namespaces.readUsage,
    storeUsage: storeUsage.readStoreUsage,
    schedules: schedules.listSchedules,
    dueTicks: (db, { limit }) => schedules.dueTicks(db, this.#clock.now(), limit),
    nextTick: schedules.nextTick,
    unnamedBundles: (db, { bundles }) =>
      bundles.filter((hash) => db.first(STATEMENTS.bundleNamed, hash) === undefined),
  };

  /** @throws IsolaError `DATA_CORRUPT` naming the file (R2), `DISK_FULL`. */
  constructor(options: RegistryOptions) {
    this.#db = new Database(options.sql);
    this.#clock = options.clock;
    this.#random = options.random;
    this.#file = options.file;
    this.#guard("open the registry", () => this.#open());
  }

  read<K extends ReadName>(name: K, input: Parameters<Reads[K]>[0]): ReturnType<Reads[K]> {
    return this.#guard(`read ${name}`, () => this.#reads[name](this.#db, input));
  }

  /**
   * Does a change in one transaction (R1). What it answers must not leave before it is on disk.
   *
   * @param since number of changes that the asker knows of (R3).
   */
  change<K extends ChangeName>(
    name: K,
    input: Parameters<Changes[K]>[0],
    since: number,
  ): Changed<ReturnType<Changes[K]>> {
    return this.#guard(`store ${name}`, () => {
      const { value, sequence, changes, freedBundles } = this.#db.transaction(() => {
        const scope = new Scope(this.#db, this.#clock.now());
        const result = CHANGES[name](scope, input);
        return { value: result, ...scope.finish() };
      });
      if (changes.length > 0) this.#remember({ sequence, changes });
      return { value, update: this.#routingSince(since), freedBundles };
    });
  }

  #remember(entry: { sequence: number; changes: readonly RoutingChange[] }): void {
    this.#recent.push(entry);
    if (this.#recent.length > RECENT_CHANGES) this.#recent.shift();
  }

  #routingSince(since: number): RoutingUpdate {
    const sequence = sequenceOf(this.#db);
    const missed = this.#recent.filter((entry) => entry.sequence > since);
    if (sequence - since === missed.length) {
      return { sequence, changes: missed.flatMap((entry) => entry.changes), snapshot: null };
    }
    return { sequence, changes: [], snapshot: readSnapshot(this.#db) };
  }

  #open(): void {
    const found = this.#db.all(STATEMENTS.check)[0]?.quick_check;
    if (found !== "ok") throw damagedFile(this.#file, String(found));
    const tables = this.#tables();
    this.#isFirstStart = !tables.has("settings") && !tables.has("namespaces");
    this.#db.transaction(() => this.#migrate(tables));
    const present = this.#tables();
    const missing = TABLES.filter((table) => !present.has(table));
    if (missing.length > 0) throw damagedFile(this.#file, `no table ${missing.join(", ")}`);
    const expiredMs = this.#clock.now() - LIMITS.usageKeptMs;
    this.#db.all(STATEMENTS.usageExpire, expiredMs);
    this.#db.all(STATEMENTS.storeUsageExpire, expiredMs);
  }

  #tables(): Set<string> {
    return new Set(this.#db.all(STATEMENTS.tables).map((row) => row.name));
  }

  #migrate(tables: Set<string>): void {
    const setting = tables.has("settings")
      ? this.#db.first(STATEMENTS.settingGet, "schema")?.value
      : "0";
    const done = Number(this.#isFirstStart ? "0" : setting);
    if (!Number.isInteger(done) || (!this.#isFirstStart && done < 1)) {
      throw damagedFile(this.#file, "no schema number");
    }
    if (done > MIGRATIONS.length) {
      throw new IsolaError("DATA_VERSION", {
        attempted: "open the registry",
        found: `schema ${done} in ${this.#file}`,
        required: `schema ${MIGRATIONS.length} or older`,
      });
    }
    for (const queries of MIGRATIONS.slice(done)) {
      for (const query of queries) this.#db.all(migrationStatement(query));
    }
    this.#db.all(STATEMENTS.settingPut, "schema", String(MIGRATIONS.length));
    if (this.#isFirstStart) this.#begin();
  }

  #begin(): void {
    this.#db.all(STATEMENTS.settingPut, "installation", toHex(this.#random.bytes(16)));
    const scope = new Scope(this.#db, this.#clock.now());
    const input = { namespace: DEFAULT_NAMESPACE, cells: "shared", quotas: {} } as const;
    namespaces.createNamespace(scope, input);
    scope.finish();
  }

  #setting(): string {
    const row = this.#db.first(STATEMENTS.settingGet, "installation");
    if (!row) throw damagedFile(this.#file, "no installation");
    return row.value;
  }

  /** Failures of storage as errors of the catalogue that name the file. */
  #guard<T>(attempted: string, body: () => T): T {
    try {
      return body();
    } catch (thrown) {
      const error = storageError(thrown, attempted, this.#file);
      if (error.code !== "DATA_CORRUPT" || error.parts.found.includes(this.#file)) throw error;
      throw damagedFile(this.#file, error.parts.found, attempted);
    }
  }
}

function sequenceOf(db: Database): number {
  return db.first(STATEMENTS.counterGet, "sequence", "")?.value ?? 0;
}
