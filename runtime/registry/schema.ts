/**
 * All SQL of the registry: migrations, numbered by position and only ever appended, and one table
 * of statements with the types of their parameters and rows.
 */
import { type SqlValue, type Statement } from "./sql.ts";

export const MIGRATIONS: readonly (readonly string[])[] = [
  [
    `CREATE TABLE settings (
      name TEXT PRIMARY KEY,
      value TEXT NOT NULL
    ) WITHOUT ROWID`,
    // Numbers that never go back, also when what they count is removed and comes again: versions
    // of a function, revisions of a namespace.
    `CREATE TABLE counters (
      kind TEXT NOT NULL,
      owner TEXT NOT NULL,
      value INTEGER NOT NULL,
      PRIMARY KEY (kind, owner)
    ) WITHOUT ROWID`,
    `CREATE TABLE namespaces (
      namespace TEXT PRIMARY KEY,
      cells TEXT NOT NULL,
      quotas TEXT NOT NULL,
      createdAtMs INTEGER NOT NULL
    ) WITHOUT ROWID`,
    // traffic: JSON of shares; arrivals: JSON of versions in the order in which they got traffic.
    `CREATE TABLE functions (
      namespace TEXT NOT NULL,
      name TEXT NOT NULL,
      traffic TEXT NOT NULL,
      arrivals TEXT NOT NULL,
      deployedAtMs INTEGER NOT NULL,
      PRIMARY KEY (namespace, name)
    ) WITHOUT ROWID`,
    `CREATE TABLE versions (
      namespace TEXT NOT NULL,
      name TEXT NOT NULL,
      version INTEGER NOT NULL,
      contentHash TEXT NOT NULL,
      bundleHash TEXT NOT NULL,
      bundleBytes INTEGER NOT NULL,
      form TEXT NOT NULL,
      entrypoints TEXT NOT NULL,
      config TEXT NOT NULL,
      quarantined INTEGER NOT NULL,
      createdAtMs INTEGER NOT NULL,
      PRIMARY KEY (namespace, name, version)
    )`,
    "CREATE INDEX versionsByBundle ON versions (bundleHash)",
    // Covers the sum over a namespace's bundles, which every deploy asks for.
    "CREATE INDEX versionsByNamespace ON versions (namespace, bundleHash, bundleBytes)",
    // Which versions name a secret: putting one looks at these, not at every function.
    `CREATE TABLE secretUses (
      namespace TEXT NOT NULL,
      secret TEXT NOT NULL,
      name TEXT NOT NULL,
      version INTEGER NOT NULL,
      PRIMARY KEY (namespace, secret, name, version)
    ) WITHOUT ROWID`,
    `CREATE TABLE secrets (
      namespace TEXT NOT NULL,
      name TEXT NOT NULL,
      bytes INTEGER NOT NULL,
      generation INTEGER NOT NULL,
      updatedAtMs INTEGER NOT NULL,
      sealed TEXT NOT NULL,
      PRIMARY KEY (namespace, name)
    ) WITHOUT ROWID`,
    `CREATE TABLE tokens (
      id TEXT PRIMARY KEY,
      namespace TEXT NOT NULL,
      role TEXT NOT NULL,
      label TEXT NOT NULL,
      hash TEXT NOT NULL,
      createdAtMs INTEGER NOT NULL
    ) WITHOUT ROWID`,
    "CREATE INDEX tokensByNamespace ON tokens (namespace, createdAtMs)",
    `CREATE TABLE usage (
      namespace TEXT NOT NULL,
      function TEXT NOT NULL,
      hourStartMs INTEGER NOT NULL,
      calls INTEGER NOT NULL,
      errors INTEGER NOT NULL,
      coldStarts INTEGER NOT NULL,
      wallMs REAL NOT NULL,
      gbSeconds REAL NOT NULL,
      bytesIn INTEGER NOT NULL,
      bytesOut INTEGER NOT NULL,
      PRIMARY KEY (namespace, hourStartMs, function)
    ) WITHOUT ROWID`,
  ],
  [
    `CREATE TABLE storeUsage (
      namespace TEXT NOT NULL,
      hourStartMs INTEGER NOT NULL,
      memoryByteSeconds REAL NOT NULL,
      diskByteSeconds REAL NOT NULL,
      coldByteSeconds REAL NOT NULL,
      operations INTEGER NOT NULL,
      bytesIn INTEGER NOT NULL,
      bytesOut INTEGER NOT NULL,
      heldMaxBytes INTEGER NOT NULL,
      PRIMARY KEY (namespace, hourStartMs)
    ) WITHOUT ROWID`,
    // Counters of a shard's epoch as they were last added to storeUsage.
    `CREATE TABLE storeSeen (
      shard INTEGER NOT NULL,
      namespace TEXT NOT NULL,
      epoch INTEGER NOT NULL,
      memoryByteSeconds REAL NOT NULL,
      diskByteSeconds REAL NOT NULL,
      coldByteSeconds REAL NOT NULL,
      operations INTEGER NOT NULL,
      bytesIn INTEGER NOT NULL,
      bytesOut INTEGER NOT NULL,
      PRIMARY KEY (shard, namespace)
    ) WITHOUT ROWID`,
  ],
  [
    // nextAtMs: null when no tick comes any more. lastRun, lastError: what came of the last one.
    `CREATE TABLE schedules (
      namespace TEXT NOT NULL,
      name TEXT NOT NULL,
      schedule TEXT NOT NULL,
      timeZone TEXT NOT NULL,
      nextAtMs INTEGER,
      lastAtMs INTEGER,
      lastRun TEXT,
      lastError TEXT,
      PRIMARY KEY (namespace, name, schedule, timeZone)
    ) WITHOUT ROWID`,
    "CREATE INDEX schedulesByTime ON schedules (nextAtMs) WHERE nextAtMs IS NOT NULL",
  ],
  // Since when a version has no traffic; null: it has some, or its idleness was not noted yet.
  ["ALTER TABLE versions ADD COLUMN idleSinceMs INTEGER"],
];

/** Tables that a registry of the newest migration has; a missing one is damage. */
export const TABLES = [
  "settings",
  "counters",
  "namespaces",
  "functions",
  "versions",
  "secrets",
  "secretUses",
  "tokens",
  "usage",
  "storeUsage",
  "storeSeen",
  "schedules",
] as const;

export interface ScheduleRow {
  readonly namespace: string;
  readonly name: string;
  readonly schedule: string;
  readonly timeZone: string;
  readonly nextAtMs: number | null;
  readonly lastAtMs: number | null;
  readonly lastRun: string | null;
  readonly lastError: string | null;
}

export interface NamespaceRow {
  readonly namespace: string;
  readonly cells: string;
  readonly quotas: string;
  readonly createdAtMs: number;
}

export interface FunctionRow {
  readonly namespace: string;
  readonly name: string;
  readonly traffic: string;
  readonly arrivals: string;
  readonly deployedAtMs: number;
}

export interface VersionRow {
  readonly namespace: string;
  readonly name: string;
  readonly version: number;
  readonly contentHash: string;
  readonly bundleHash: string;
  readonly bundleBytes: number;
  readonly form: string;
  readonly entrypoints: string;
  readonly config: string;
  readonly quarantined: number;
  readonly createdAtMs: number;
  readonly idleSinceMs: number | null;
}

/** A secret without its value, which is large and rarely needed. */
export interface SecretRow {
  readonly namespace: string;
  readonly name: string;
  readonly bytes: number;
  readonly generation: number;
  readonly updatedAtMs: number;
}

export interface TokenRow {
  readonly id: string;
  readonly namespace: string;
  readonly role: string;
  readonly label: string;
  readonly hash: string;
  readonly createdAtMs: number;
}

export interface UsageSum {
  readonly function: string;
  readonly calls: number;
  readonly errors: number;
  readonly coldStarts: number;
  readonly wallMs: number;
  readonly gbSeconds: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** What a shard counts of a namespace within an epoch. */
export interface StoreCounters {
  readonly memoryByteSeconds: number;
  readonly diskByteSeconds: number;
  readonly coldByteSeconds: number;
  readonly operations: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

type CounterValues = [
  memoryByteSeconds: number,
  diskByteSeconds: number,
  coldByteSeconds: number,
  operations: number,
  bytesIn: number,
  bytesOut: number,
];

function statement<P extends readonly SqlValue[], R = never>(query: string): Statement<P, R> {
  return { query };
}

const USAGE_SUMS = `sum(calls) AS calls, sum(errors) AS errors, sum(coldStarts) AS coldStarts,
  sum(wallMs) AS wallMs, sum(gbSeconds) AS gbSeconds, sum(bytesIn) AS bytesIn,
  sum(bytesOut) AS bytesOut`;

const STORE_COUNTERS = `memoryByteSeconds, diskByteSeconds, coldByteSeconds, operations, bytesIn,
  bytesOut`;

const SECRET_COLUMNS = "namespace, name, bytes, generation, updatedAtMs";

type Key = [namespace: string, name: string];
type ScheduleKey = [...Key, schedule: string, timeZone: string];

export const STATEMENTS = {
  check: statement<[], { quick_check: string }>("PRAGMA quick_check"),
  tables: statement<[], { name: string }>("SELECT name FROM sqlite_master WHERE type = 'table'"),

  settingGet: statement<[name: string], { value: string }>(
    "SELECT value FROM settings WHERE name = ?",
  ),
  settingPut: statement<[name: string, value: string]>(
    "INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)",
  ),
  counterGet: statement<[kind: string, owner: string], { value: number }>(
    "SELECT value FROM counters WHERE kind = ? AND owner = ?",
  ),
  counterPut: statement<[kind: string, owner: string, value: number]>(
    "INSERT OR REPLACE INTO counters (kind, owner, value) VALUES (?, ?, ?)",
  ),

  namespaceGet: statement<[namespace: string], NamespaceRow>(
    "SELECT * FROM namespaces WHERE namespace = ?",
  ),
  namespaceList: statement<[], NamespaceRow>("SELECT * FROM namespaces ORDER BY namespace"),
  namespaceCount: statement<[], { count: number }>("SELECT count(*) AS count FROM namespaces"),
  namespacePut: statement<[namespace: string, cells: string, quotas: string, createdAtMs: number]>(
    "INSERT OR REPLACE INTO namespaces (namespace, cells, quotas, createdAtMs) VALUES (?, ?, ?, ?)",
  ),
  namespaceDelete: statement<[namespace: string]>("DELETE FROM namespaces WHERE namespace = ?"),

  functionGet: statement<Key, FunctionRow>(
    "SELECT * FROM functions WHERE namespace = ? AND name = ?",
  ),
  functionList: statement<[namespace: string], FunctionRow>(
    "SELECT * FROM functions WHERE namespace = ? ORDER BY name",
  ),
  functionListAll: statement<[], FunctionRow>("SELECT * FROM functions ORDER BY namespace, name"),
  functionCount: statement<[namespace: string], { count: number }>(
    "SELECT count(*) AS count FROM functions WHERE namespace = ?",
  ),
  functionPut: statement<
    [namespace: string, name: string, traffic: string, arrivals: string, deployedAtMs: number]
  >(
    `INSERT OR REPLACE INTO functions (namespace, name, traffic, arrivals, deployedAtMs)
     VALUES (?, ?, ?, ?, ?)`,
  ),
  functionDelete: statement<Key>("DELETE FROM functions WHERE namespace = ? AND name = ?"),
  functionDeleteAll: statement<[namespace: string]>("DELETE FROM functions WHERE namespace = ?"),

  versionGet: statement<[...Key, version: number], VersionRow>(
    "SELECT * FROM versions WHERE namespace = ? AND name = ? AND version = ?",
  ),
  versionByContent: statement<[...Key, contentHash: string], VersionRow>(
    `SELECT * FROM versions WHERE namespace = ? AND name = ? AND contentHash = ?
     ORDER BY version DESC LIMIT 1`,
  ),
  versionList: statement<Key, VersionRow>(
    "SELECT * FROM versions WHERE namespace = ? AND name = ? ORDER BY version DESC",
  ),
  versionListOf: statement<[namespace: string], VersionRow>(
    "SELECT * FROM versions WHERE namespace = ? ORDER BY name, version DESC",
  ),
  versionListAll: statement<[], VersionRow>("SELECT * FROM versions"),
  versionIdle: statement<[idleSinceMs: number | null, ...Key, version: number]>(
    "UPDATE versions SET idleSinceMs = ? WHERE namespace = ? AND name = ? AND version = ?",
  ),
  versionInsert: statement<
    [
      ...Key,
      version: number,
      contentHash: string,
      bundleHash: string,
      bundleBytes: number,
      form: string,
      entrypoints: string,
      config: string,
      createdAtMs: number,
    ]
  >(
    `INSERT INTO versions (namespace, name, version, contentHash, bundleHash, bundleBytes, form,
       entrypoints, config, quarantined, createdAtMs)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)`,
  ),
  versionQuarantine: statement<[quarantined: number, ...Key, version: number]>(
    "UPDATE versions SET quarantined = ? WHERE namespace = ? AND name = ? AND version = ?",
  ),
  versionDelete: statement<[...Key, version: number]>(
    "DELETE FROM versions WHERE namespace = ? AND name = ? AND version = ?",
  ),
  versionDeleteAll: statement<[namespace: string]>("DELETE FROM versions WHERE namespace = ?"),
  bundleNamed: statement<[bundleHash: string], { bundleHash: string }>(
    "SELECT bundleHash FROM versions WHERE bundleHash = ? LIMIT 1",
  ),
  bundlesAll: statement<[], { bundleHash: string }>("SELECT DISTINCT bundleHash FROM versions"),
  /** Distinct bundles of a namespace, added up. */
  bundleBytes: statement<[namespace: string], { bytes: number | null }>(
    `SELECT sum(bytes) AS bytes FROM
       (SELECT max(bundleBytes) AS bytes FROM versions WHERE namespace = ? GROUP BY bundleHash)`,
  ),
  bundleOf: statement<[namespace: string, bundleHash: string], { version: number }>(
    "SELECT version FROM versions WHERE namespace = ? AND bundleHash = ? LIMIT 1",
  ),

  secretGet: statement<Key, SecretRow>(
    `SELECT ${SECRET_COLUMNS} FROM secrets WHERE namespace = ? AND name = ?`,
  ),
  secretSealed: statement<Key, { sealed: string }>(
    "SELECT sealed FROM secrets WHERE namespace = ? AND name = ?",
  ),
  secretList: statement<[namespace: string], SecretRow>(
    `SELECT ${SECRET_COLUMNS} FROM secrets WHERE namespace = ? ORDER BY name`,
  ),
  secretListAll: statement<[], SecretRow>(`SELECT ${SECRET_COLUMNS} FROM secrets`),
  secretUseInsert: statement<[namespace: string, secret: string, name: string, version: number]>(
    "INSERT OR IGNORE INTO secretUses (namespace, secret, name, version) VALUES (?, ?, ?, ?)",
  ),
  secretUseDelete: statement<[...Key, version: number]>(
    "DELETE FROM secretUses WHERE namespace = ? AND name = ? AND version = ?",
  ),
  secretUseDeleteAll: statement<[namespace: string]>("DELETE FROM secretUses WHERE namespace = ?"),
  secretUsers: statement<[namespace: string], { secret: string; name: string; version: number }>(
    "SELECT secret, name, version FROM secretUses WHERE namespace = ? ORDER BY secret, name",
  ),
  secretUsersOf: statement<
    [namespace: string, secret: string],
    { secret: string; name: string; version: number }
  >(
    `SELECT secret, name, version FROM secretUses WHERE namespace = ? AND secret = ?
     ORDER BY name`,
  ),
  secretPut: statement<
    [...Key, sealed: string, bytes: number, generation: number, updatedAtMs: number]
  >(
    `INSERT OR REPLACE INTO secrets (namespace, name, sealed, bytes, generation, updatedAtMs)
     VALUES (?, ?, ?, ?, ?, ?)`,
  ),
  secretDelete: statement<Key>("DELETE FROM secrets WHERE namespace = ? AND name = ?"),
  secretDeleteAll: statement<[namespace: string]>("DELETE FROM secrets WHERE namespace = ?"),

  tokenGet: statement<[id: string], TokenRow>("SELECT * FROM tokens WHERE id = ?"),
  tokenList: statement<[namespace: string], TokenRow>(
    "SELECT * FROM tokens WHERE namespace = ? ORDER BY createdAtMs, id",
  ),
  tokenInsert: statement<
    [id: string, namespace: string, role: string, label: string, hash: string, createdAtMs: number]
  >(
    `INSERT INTO tokens (id, namespace, role, label, hash, createdAtMs)
     VALUES (?, ?, ?, ?, ?, ?)`,
  ),
  tokenDelete: statement<[namespace: string, id: string]>(
    "DELETE FROM tokens WHERE namespace = ? AND id = ?",
  ),
  tokenDeleteAll: statement<[namespace: string]>("DELETE FROM tokens WHERE namespace = ?"),

  usageAdd: statement<
    [
      namespace: string,
      functionName: string,
      hourStartMs: number,
      calls: number,
      errors: number,
      coldStarts: number,
      wallMs: number,
      gbSeconds: number,
      bytesIn: number,
      bytesOut: number,
    ]
  >(
    `INSERT INTO usage (namespace, function, hourStartMs, calls, errors, coldStarts, wallMs,
       gbSeconds, bytesIn, bytesOut)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET calls = calls + excluded.calls,
       errors = errors + excluded.errors, coldStarts = coldStarts + excluded.coldStarts,
       wallMs = wallMs + excluded.wallMs, gbSeconds = gbSeconds + excluded.gbSeconds,
       bytesIn = bytesIn + excluded.bytesIn, bytesOut = bytesOut + excluded.bytesOut`,
  ),
  usageSince: statement<[namespace: string, sinceMs: number], UsageSum>(
    `SELECT function, ${USAGE_SUMS} FROM usage WHERE namespace = ? AND hourStartMs >= ?
     GROUP BY function ORDER BY function`,
  ),
  usageDeleteAll: statement<[namespace: string]>("DELETE FROM usage WHERE namespace = ?"),
  usageExpire: statement<[beforeMs: number]>("DELETE FROM usage WHERE hourStartMs < ?"),

  storeSeenGet: statement<[shard: number, namespace: string], StoreCounters>(
    `SELECT ${STORE_COUNTERS} FROM storeSeen WHERE shard = ? AND namespace = ?`,
  ),
  storeSeenPut: statement<
    [shard: number, namespace: string, epoch: number, ...counters: CounterValues]
  >(
    `INSERT OR REPLACE INTO storeSeen (shard, namespace, epoch, ${STORE_COUNTERS})
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  ),
  /** What former epochs of a shard counted. */
  storeSeenForget: statement<[shard: number, epoch: number]>(
    "DELETE FROM storeSeen WHERE shard = ? AND epoch <> ?",
  ),
  storeUsageAdd: statement<[namespace: string, hourStartMs: number, ...counters: CounterValues]>(
    `INSERT INTO storeUsage (namespace, hourStartMs, ${STORE_COUNTERS}, heldMaxBytes)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)
     ON CONFLICT DO UPDATE SET
       memoryByteSeconds = memoryByteSeconds + excluded.memoryByteSeconds,
       diskByteSeconds = diskByteSeconds + excluded.diskByteSeconds,
       coldByteSeconds = coldByteSeconds + excluded.coldByteSeconds,
       operations = operations + excluded.operations,
       bytesIn = bytesIn + excluded.bytesIn, bytesOut = bytesOut + excluded.bytesOut`,
  ),
  storeUsageHeld: statement<[heldBytes: number, namespace: string, hourStartMs: number]>(
    `UPDATE storeUsage SET heldMaxBytes = max(heldMaxBytes, ?)
     WHERE namespace = ? AND hourStartMs = ?`,
  ),
  storeUsageSince: statement<
    [namespace: string, sinceMs: number],
    StoreCounters & { readonly heldMaxBytes: number }
  >(
    `SELECT sum(memoryByteSeconds) AS memoryByteSeconds, sum(diskByteSeconds) AS diskByteSeconds,
       sum(coldByteSeconds) AS coldByteSeconds, sum(operations) AS operations,
       sum(bytesIn) AS bytesIn, sum(bytesOut) AS bytesOut, max(heldMaxBytes) AS heldMaxBytes
     FROM storeUsage WHERE namespace = ? AND hourStartMs >= ?`,
  ),
  scheduleList: statement<[namespace: string], ScheduleRow>(
    "SELECT * FROM schedules WHERE namespace = ? ORDER BY name, schedule, timeZone",
  ),
  schedulesOf: statement<Key, ScheduleRow>(
    "SELECT * FROM schedules WHERE namespace = ? AND name = ? ORDER BY schedule, timeZone",
  ),
  schedulesDue: statement<[nowMs: number, limit: number], ScheduleRow>(
    "SELECT * FROM schedules WHERE nextAtMs <= ? ORDER BY nextAtMs LIMIT ?",
  ),
  scheduleNext: statement<[], { nextAtMs: number | null }>(
    "SELECT min(nextAtMs) AS nextAtMs FROM schedules WHERE nextAtMs IS NOT NULL",
  ),
  scheduleInsert: statement<[...ScheduleKey, nextAtMs: number | null]>(
    `INSERT OR IGNORE INTO schedules (namespace, name, schedule, timeZone, nextAtMs)
     VALUES (?, ?, ?, ?, ?)`,
  ),
  /** Nothing if the tick was told before, or the schedule is no more. */
  scheduleTicked: statement<
    [
      nextAtMs: number | null,
      lastAtMs: number,
      lastRun: string | null,
      lastError: string | null,
      ...ScheduleKey,
      atMs: number,
    ]
  >(
    `UPDATE schedules SET nextAtMs = ?, lastAtMs = ?, lastRun = ?, lastError = ?
     WHERE namespace = ? AND name = ? AND schedule = ? AND timeZone = ? AND nextAtMs = ?`,
  ),
  scheduleDelete: statement<ScheduleKey>(
    `DELETE FROM schedules
     WHERE namespace = ? AND name = ? AND schedule = ? AND timeZone = ?`,
  ),
  schedulesDeleteAll: statement<[namespace: string]>("DELETE FROM schedules WHERE namespace = ?"),

  storeUsageDeleteAll: statement<[namespace: string]>("DELETE FROM storeUsage WHERE namespace = ?"),
  storeUsageExpire: statement<[beforeMs: number]>("DELETE FROM storeUsage WHERE hourStartMs < ?"),
} as const;

/** Statement of a migration, which has neither parameters nor rows. */
export function migrationStatement(query: string): Statement<[], never> {
  return { query };
}
