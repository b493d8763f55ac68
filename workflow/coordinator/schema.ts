/**
 * All SQL of the coordinator's part of a shard: migrations, numbered by position and only ever
 * appended, and one table of statements with the types of their parameters and rows.
 *
 * A run is one row that stays for its retention, its journal until a snapshot takes its place (a
 * short run's stays), and the history of the events that the journal does not have any more.
 */
import { type SqlValue, type Statement, statement } from "../../runtime/contract/index.ts";

export const MIGRATIONS: readonly (readonly string[])[] = [
  [
    `CREATE TABLE workflowSettings (
      name TEXT PRIMARY KEY,
      value INTEGER NOT NULL
    ) WITHOUT ROWID`,
    // request: what the run was started with. snapshot: the event that the state is of.
    // isBusy: something may be in flight; while nothing is, dueAtMs is its earliest timer.
    `CREATE TABLE workflowRuns (
      number INTEGER PRIMARY KEY,
      id TEXT NOT NULL UNIQUE,
      namespace TEXT NOT NULL,
      workflow TEXT NOT NULL,
      request BLOB NOT NULL,
      status TEXT NOT NULL,
      startedAtMs INTEGER NOT NULL,
      endedAtMs INTEGER,
      snapshot INTEGER NOT NULL,
      state BLOB,
      dueAtMs INTEGER,
      isBusy INTEGER NOT NULL,
      ended BLOB
    )`,
    `CREATE INDEX workflowRunsOpen ON workflowRuns (number) WHERE endedAtMs IS NULL`,
    `CREATE INDEX workflowRunsEnded ON workflowRuns (endedAtMs) WHERE endedAtMs IS NOT NULL`,
    `CREATE INDEX workflowRunsListed ON workflowRuns (namespace, number)`,
    `CREATE TABLE workflowJournal (
      run INTEGER NOT NULL,
      sequence INTEGER NOT NULL,
      event BLOB NOT NULL,
      PRIMARY KEY (run, sequence)
    ) WITHOUT ROWID`,
    `CREATE TABLE workflowHistory (
      run INTEGER NOT NULL,
      sequence INTEGER NOT NULL,
      entries TEXT NOT NULL,
      PRIMARY KEY (run, sequence)
    ) WITHOUT ROWID`,
    // digest: of the request's body; the same key with another one is refused.
    `CREATE TABLE workflowKeys (
      namespace TEXT NOT NULL,
      workflow TEXT NOT NULL,
      key TEXT NOT NULL,
      digest TEXT NOT NULL,
      run INTEGER NOT NULL,
      atMs INTEGER NOT NULL,
      PRIMARY KEY (namespace, workflow, key)
    ) WITHOUT ROWID`,
    `CREATE INDEX workflowKeysRun ON workflowKeys (run)`,
  ],
  [
    // How many runs of a workflow may be under way. Who waits has the status queued and is idle.
    `CREATE TABLE workflowLimits (
      namespace TEXT NOT NULL,
      workflow TEXT NOT NULL,
      runs INTEGER NOT NULL,
      PRIMARY KEY (namespace, workflow)
    ) WITHOUT ROWID`,
  ],
  [
    // A callback that is owed: its run has ended. attempts: those that failed.
    `CREATE TABLE workflowCallbacks (
      run INTEGER PRIMARY KEY,
      namespace TEXT NOT NULL,
      endedAtMs INTEGER NOT NULL,
      attempts INTEGER NOT NULL,
      dueAtMs INTEGER NOT NULL
    )`,
  ],
  [
    // A failed run that was started again knows the newest such run, and that one knows it.
    `ALTER TABLE workflowRuns ADD COLUMN replayOf TEXT`,
    `ALTER TABLE workflowRuns ADD COLUMN replayedAs TEXT`,
    // What failed is kept longest.
    `CREATE INDEX workflowRunsSurplus ON workflowRuns (status = 'failed', endedAtMs)
       WHERE endedAtMs IS NOT NULL`,
  ],
  [
    // Of columns that are larger than a row may be.
    `CREATE TABLE workflowPieces (
      run INTEGER NOT NULL,
      kind TEXT NOT NULL,
      sequence INTEGER NOT NULL,
      piece INTEGER NOT NULL,
      part BLOB NOT NULL,
      PRIMARY KEY (run, kind, sequence, piece)
    ) WITHOUT ROWID`,
  ],
  [
    // Ended runs of workflows with bounds of their own. leavesAtMs: null where only the number
    // counts.
    `CREATE TABLE workflowRetention (
      run INTEGER PRIMARY KEY,
      namespace TEXT NOT NULL,
      workflow TEXT NOT NULL,
      endedAtMs INTEGER NOT NULL,
      leavesAtMs INTEGER
    )`,
    `CREATE INDEX workflowRetentionAge ON workflowRetention (leavesAtMs)
       WHERE leavesAtMs IS NOT NULL`,
    "CREATE INDEX workflowRetentionOrder ON workflowRetention (namespace, workflow, endedAtMs)",
  ],
  [
    // Events that steps have sent, until a run has taken them.
    `CREATE TABLE workflowOutbox (
      number INTEGER PRIMARY KEY,
      namespace TEXT NOT NULL,
      mail BLOB NOT NULL,
      sinceMs INTEGER NOT NULL
    )`,
    `CREATE INDEX workflowOutboxOf ON workflowOutbox (namespace)`,
  ],
];

export interface CallbackRow {
  readonly run: number;
  readonly namespace: string;
  readonly endedAtMs: number;
  readonly attempts: number;
  readonly dueAtMs: number;
}

export interface RunRow {
  readonly number: number;
  readonly id: string;
  readonly namespace: string;
  readonly workflow: string;
  readonly request: Uint8Array;
  readonly status: string;
  readonly startedAtMs: number;
  readonly endedAtMs: number | null;
  readonly snapshot: number;
  readonly dueAtMs: number | null;
  readonly isBusy: number;
  readonly ended: Uint8Array | null;
  readonly replayOf: string | null;
  readonly replayedAs: string | null;
}

const RUN_COLUMNS = `number, id, namespace, workflow, request, status, startedAtMs, endedAtMs,
  snapshot, dueAtMs, isBusy, ended, replayOf, replayedAs`;

export const STATEMENTS = {
  tables: statement<[], { name: string }>(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'workflowSettings'",
  ),
  settingGet: statement<[name: string], { value: number }>(
    "SELECT value FROM workflowSettings WHERE name = ?",
  ),
  settingPut: statement<[name: string, value: number]>(
    "INSERT OR REPLACE INTO workflowSettings (name, value) VALUES (?, ?)",
  ),

  runInsert: statement<
    [
      number: number,
      id: string,
      namespace: string,
      workflow: string,
      request: Uint8Array,
      startedAtMs: number,
    ]
  >(
    `INSERT INTO workflowRuns (number, id, namespace, workflow, request, status, startedAtMs,
       snapshot, isBusy)
     VALUES (?, ?, ?, ?, ?, 'queued', ?, 0, 1)`,
  ),
  runUpdate: statement<[status: string, dueAtMs: number | null, isBusy: number, number: number]>(
    "UPDATE workflowRuns SET status = ?, dueAtMs = ?, isBusy = ? WHERE number = ?",
  ),
  runEnd: statement<[status: string, endedAtMs: number, ended: Uint8Array, number: number]>(
    `UPDATE workflowRuns SET status = ?, endedAtMs = ?, ended = ?, dueAtMs = NULL, isBusy = 0
     WHERE number = ?`,
  ),
  runReopen: statement<[number: number]>(
    "UPDATE workflowRuns SET endedAtMs = NULL, ended = NULL WHERE number = ?",
  ),
  runSnapshot: statement<[snapshot: number, state: Uint8Array | null, number: number]>(
    "UPDATE workflowRuns SET snapshot = ?, state = ? WHERE number = ?",
  ),
  runReplays: statement<[replayOf: string, number: number]>(
    "UPDATE workflowRuns SET replayOf = ? WHERE number = ?",
  ),
  runReplayed: statement<[replayedAs: string, number: number]>(
    "UPDATE workflowRuns SET replayedAs = ? WHERE number = ?",
  ),
  runState: statement<[number: number], { state: Uint8Array | null }>(
    "SELECT state FROM workflowRuns WHERE number = ?",
  ),
  runById: statement<[id: string], RunRow>(`SELECT ${RUN_COLUMNS} FROM workflowRuns WHERE id = ?`),
  runNumber: statement<[id: string], { number: number }>(
    "SELECT number FROM workflowRuns WHERE id = ?",
  ),
  runByNumber: statement<[number: number], RunRow>(
    `SELECT ${RUN_COLUMNS} FROM workflowRuns WHERE number = ?`,
  ),
  runLast: statement<[], { number: number | null }>(
    "SELECT max(number) AS number FROM workflowRuns",
  ),
  runsOpen: statement<
    [],
    {
      number: number;
      namespace: string;
      workflow: string;
      status: string;
      dueAtMs: number | null;
      isBusy: number;
    }
  >(
    `SELECT number, namespace, workflow, status, dueAtMs, isBusy FROM workflowRuns
     WHERE endedAtMs IS NULL ORDER BY number`,
  ),
  /** Open ones with an id in between. */
  runsBetween: statement<[from: string, to: string], { number: number }>(
    "SELECT number FROM workflowRuns WHERE id > ? AND id < ? AND endedAtMs IS NULL",
  ),
  runsCounted: statement<
    [],
    { namespace: string; workflow: string; status: string; count: number }
  >(
    `SELECT namespace, workflow, status, count(*) AS count FROM workflowRuns
     WHERE endedAtMs IS NULL GROUP BY namespace, workflow, status`,
  ),
  runsListed: statement<
    [
      namespace: string,
      before: number,
      floor: number,
      workflow: string | null,
      sameWorkflow: string | null,
      status: string | null,
      sameStatus: string | null,
      sinceMs: number,
      isDeadOnly: number,
      limit: number,
    ],
    {
      number: number;
      id: string;
      workflow: string;
      status: string;
      startedAtMs: number;
      endedAtMs: number | null;
      failure: Uint8Array | null;
      replayOf: string | null;
      replayedAs: string | null;
    }
  >(
    `SELECT number, id, workflow, status, startedAtMs, endedAtMs, replayOf, replayedAs,
       CASE WHEN status = 'failed' THEN ended END AS failure
     FROM workflowRuns
     WHERE namespace = ? AND number < ? AND number >= ? AND (? IS NULL OR workflow = ?)
       AND (? IS NULL OR status = ?) AND startedAtMs >= ?
       AND (? = 0 OR (status = 'failed' AND replayedAs IS NULL))
     ORDER BY number DESC LIMIT ?`,
  ),
  /** The run that is so many further back. */
  runsFloor: statement<
    [namespace: string, before: number, skipped: number],
    { number: number; startedAtMs: number }
  >(
    `SELECT number, startedAtMs FROM workflowRuns WHERE namespace = ? AND number < ?
     ORDER BY number DESC LIMIT 1 OFFSET ?`,
  ),
  runsOfNamespace: statement<[namespace: string], { number: number; endedAtMs: number | null }>(
    "SELECT number, endedAtMs FROM workflowRuns WHERE namespace = ?",
  ),
  runsExpired: statement<[beforeMs: number, limit: number], { number: number }>(
    `SELECT number FROM workflowRuns WHERE endedAtMs IS NOT NULL AND endedAtMs <= ?
     ORDER BY endedAtMs LIMIT ?`,
  ),
  runsEnded: statement<[], { count: number }>(
    "SELECT count(*) AS count FROM workflowRuns WHERE endedAtMs IS NOT NULL",
  ),
  /**
   * Oldest ends first and failures last, without runs that a young key names or whose callback is
   * owed.
   */
  runsSurplus: statement<[keysSinceMs: number, limit: number], { number: number }>(
    `SELECT number FROM workflowRuns WHERE endedAtMs IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM workflowKeys WHERE run = number AND atMs > ?)
       AND NOT EXISTS (SELECT 1 FROM workflowCallbacks WHERE run = number)
     ORDER BY status = 'failed', endedAtMs LIMIT ?`,
  ),
  runOldestEnded: statement<[], { endedAtMs: number | null }>(
    "SELECT min(endedAtMs) AS endedAtMs FROM workflowRuns WHERE endedAtMs IS NOT NULL",
  ),
  retentionPut: statement<
    [run: number, namespace: string, workflow: string, endedAtMs: number, leavesAtMs: number | null]
  >(
    `INSERT OR REPLACE INTO workflowRetention (run, namespace, workflow, endedAtMs, leavesAtMs)
     VALUES (?, ?, ?, ?, ?)`,
  ),
  retentionGet: statement<[run: number], { namespace: string; workflow: string }>(
    "SELECT namespace, workflow FROM workflowRetention WHERE run = ?",
  ),
  retentionDelete: statement<[run: number]>("DELETE FROM workflowRetention WHERE run = ?"),
  retentionCount: statement<[], { count: number }>(
    "SELECT count(*) AS count FROM workflowRetention",
  ),
  retentionOf: statement<[namespace: string, workflow: string], { count: number }>(
    "SELECT count(*) AS count FROM workflowRetention WHERE namespace = ? AND workflow = ?",
  ),
  retentionNext: statement<[], { leavesAtMs: number | null }>(
    `SELECT min(leavesAtMs) AS leavesAtMs FROM workflowRetention WHERE leavesAtMs IS NOT NULL`,
  ),
  retentionExpired: statement<[nowMs: number, limit: number], { number: number }>(
    `SELECT run AS number FROM workflowRetention WHERE leavesAtMs <= ?
       AND NOT EXISTS
         (SELECT 1 FROM workflowCallbacks AS owed WHERE owed.run = workflowRetention.run)
     ORDER BY leavesAtMs LIMIT ?`,
  ),
  /** As `runsSurplus`, of one workflow. */
  retentionSurplus: statement<
    [namespace: string, workflow: string, keysSinceMs: number, limit: number],
    { number: number }
  >(
    `SELECT run AS number FROM workflowRetention AS kept WHERE namespace = ? AND workflow = ?
       AND NOT EXISTS (SELECT 1 FROM workflowKeys AS keys WHERE keys.run = kept.run AND atMs > ?)
       AND NOT EXISTS (SELECT 1 FROM workflowCallbacks AS owed WHERE owed.run = kept.run)
     ORDER BY kept.endedAtMs LIMIT ?`,
  ),
  runOldestOpen: statement<[namespace: string], { startedAtMs: number | null }>(
    `SELECT min(startedAtMs) AS startedAtMs FROM workflowRuns
     WHERE endedAtMs IS NULL AND namespace = ?`,
  ),
  runDelete: statement<[number: number]>("DELETE FROM workflowRuns WHERE number = ?"),

  eventInsert: statement<[run: number, sequence: number, event: Uint8Array]>(
    "INSERT INTO workflowJournal (run, sequence, event) VALUES (?, ?, ?)",
  ),
  eventsAfter: statement<[run: number, sequence: number], { sequence: number; event: Uint8Array }>(
    "SELECT sequence, event FROM workflowJournal WHERE run = ? AND sequence > ? ORDER BY sequence",
  ),
  /** Last sequences of journal and history: the head is the greater one. */
  heads: statement<[run: number, sameRun: number], { head: number | null }>(
    `SELECT max(sequence) AS head FROM workflowJournal WHERE run = ?
     UNION ALL SELECT max(sequence) FROM workflowHistory WHERE run = ?`,
  ),
  eventsDrop: statement<[run: number, sequence: number]>(
    "DELETE FROM workflowJournal WHERE run = ? AND sequence <= ?",
  ),

  historyInsert: statement<[run: number, sequence: number, entries: string]>(
    "INSERT INTO workflowHistory (run, sequence, entries) VALUES (?, ?, ?)",
  ),
  historyFrom: statement<
    [run: number, sequence: number, limit: number],
    { sequence: number; entries: string }
  >(
    `SELECT sequence, entries FROM workflowHistory WHERE run = ? AND sequence >= ?
     ORDER BY sequence LIMIT ?`,
  ),
  piecePut: statement<
    [run: number, kind: string, sequence: number, piece: number, part: Uint8Array]
  >(
    `INSERT OR REPLACE INTO workflowPieces (run, kind, sequence, piece, part)
     VALUES (?, ?, ?, ?, ?)`,
  ),
  pieces: statement<[run: number, kind: string, sequence: number], { part: Uint8Array }>(
    `SELECT part FROM workflowPieces WHERE run = ? AND kind = ? AND sequence = ?
     ORDER BY piece`,
  ),
  piecesDropKind: statement<[run: number, kind: string]>(
    "DELETE FROM workflowPieces WHERE run = ? AND kind = ?",
  ),
  piecesDrop: statement<[run: number]>("DELETE FROM workflowPieces WHERE run = ?"),
  historyDelete: statement<[run: number]>("DELETE FROM workflowHistory WHERE run = ?"),

  keyGet: statement<
    [namespace: string, workflow: string, key: string],
    { digest: string; run: number }
  >("SELECT digest, run FROM workflowKeys WHERE namespace = ? AND workflow = ? AND key = ?"),
  keyOf: statement<[run: number], { atMs: number }>(
    "SELECT max(atMs) AS atMs FROM workflowKeys WHERE run = ? HAVING count(*) > 0",
  ),
  keyPut: statement<
    [namespace: string, workflow: string, key: string, digest: string, run: number, atMs: number]
  >(
    `INSERT INTO workflowKeys (namespace, workflow, key, digest, run, atMs)
     VALUES (?, ?, ?, ?, ?, ?)`,
  ),
  keyDelete: statement<[namespace: string, workflow: string, key: string]>(
    "DELETE FROM workflowKeys WHERE namespace = ? AND workflow = ? AND key = ?",
  ),
  keysDelete: statement<[run: number]>("DELETE FROM workflowKeys WHERE run = ?"),

  limits: statement<[], { namespace: string; workflow: string; runs: number }>(
    "SELECT namespace, workflow, runs FROM workflowLimits",
  ),
  limitPut: statement<[namespace: string, workflow: string, runs: number]>(
    "INSERT OR REPLACE INTO workflowLimits (namespace, workflow, runs) VALUES (?, ?, ?)",
  ),
  limitDelete: statement<[namespace: string, workflow: string]>(
    "DELETE FROM workflowLimits WHERE namespace = ? AND workflow = ?",
  ),
  limitsDelete: statement<[namespace: string]>("DELETE FROM workflowLimits WHERE namespace = ?"),

  outboxRows: statement<[], { number: number; sinceMs: number }>(
    "SELECT number, sinceMs FROM workflowOutbox ORDER BY number",
  ),
  outboxGet: statement<[number: number], { mail: Uint8Array }>(
    "SELECT mail FROM workflowOutbox WHERE number = ?",
  ),
  outboxPut: statement<[number: number, namespace: string, mail: Uint8Array, sinceMs: number]>(
    "INSERT INTO workflowOutbox (number, namespace, mail, sinceMs) VALUES (?, ?, ?, ?)",
  ),
  outboxOf: statement<[namespace: string], { number: number }>(
    "SELECT number FROM workflowOutbox WHERE namespace = ?",
  ),
  outboxDelete: statement<[number: number]>("DELETE FROM workflowOutbox WHERE number = ?"),

  callbacksOwed: statement<[], CallbackRow>(
    "SELECT run, namespace, endedAtMs, attempts, dueAtMs FROM workflowCallbacks ORDER BY run",
  ),
  callbackPut: statement<
    [run: number, namespace: string, endedAtMs: number, attempts: number, dueAtMs: number]
  >(
    `INSERT OR REPLACE INTO workflowCallbacks (run, namespace, endedAtMs, attempts, dueAtMs)
     VALUES (?, ?, ?, ?, ?)`,
  ),
  callbackDelete: statement<[run: number]>("DELETE FROM workflowCallbacks WHERE run = ?"),
} as const satisfies Record<string, Statement<never, unknown>>;

/** A statement of a migration. */
export function migrationStatement(query: string): Statement<readonly SqlValue[], never> {
  return statement(query);
}
