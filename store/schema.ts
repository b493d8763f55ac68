/**
 * All SQL of the store's part of a shard: migrations, numbered by position and only ever appended,
 * and one table of statements with the types of their parameters and rows.
 *
 * A value (`storeSlots`) and the name that holds it (`storeObjects`) are two rows, so that a
 * staged value may leave memory before its step commits; a slot that no name holds is swept.
 */
import { type SqlValue, type Statement, statement } from "../runtime/contract/index.ts";

export const MIGRATIONS: readonly (readonly string[])[] = [
  [
    `CREATE TABLE storeSettings (
      name TEXT PRIMARY KEY,
      value INTEGER NOT NULL
    ) WITHOUT ROWID`,
    // volatileEpoch: the opening in which the job first held something in memory alone.
    // lostEpoch: the opening whose end took such values away.
    `CREATE TABLE storeJobs (
      number INTEGER PRIMARY KEY,
      id TEXT NOT NULL UNIQUE,
      namespace TEXT NOT NULL,
      name TEXT NOT NULL,
      kind TEXT NOT NULL,
      durability TEXT NOT NULL,
      workflow TEXT,
      hints TEXT NOT NULL,
      createdAtMs INTEGER NOT NULL,
      endedAtMs INTEGER,
      volatileEpoch INTEGER,
      lostEpoch INTEGER
    )`,
    `CREATE TABLE storeBuckets (
      job INTEGER NOT NULL,
      bucket TEXT NOT NULL,
      PRIMARY KEY (job, bucket)
    ) WITHOUT ROWID`,
    // Exactly one of body, blocks and cold is set; sizeBytes is the value's, storedBytes the
    // encoding's.
    `CREATE TABLE storeSlots (
      id INTEGER PRIMARY KEY,
      job INTEGER NOT NULL,
      kind TEXT NOT NULL,
      sizeBytes INTEGER NOT NULL,
      storedBytes INTEGER NOT NULL,
      body BLOB,
      blocks TEXT,
      cold TEXT
    )`,
    `CREATE TABLE storeObjects (
      job INTEGER NOT NULL,
      bucket TEXT NOT NULL,
      key TEXT NOT NULL,
      slot INTEGER NOT NULL,
      version INTEGER NOT NULL,
      persist INTEGER NOT NULL,
      durable INTEGER NOT NULL,
      createdAtMs INTEGER NOT NULL,
      expiresAtMs INTEGER,
      idleMs INTEGER,
      PRIMARY KEY (job, bucket, key)
    ) WITHOUT ROWID`,
    `CREATE TABLE storeLocks (
      job INTEGER NOT NULL,
      name TEXT NOT NULL,
      token INTEGER NOT NULL,
      leaseUntilMs INTEGER NOT NULL,
      PRIMARY KEY (job, name)
    ) WITHOUT ROWID`,
    // What an immediate operation answered, for the next attempt of its step.
    `CREATE TABLE storeAnswers (
      job INTEGER NOT NULL,
      step TEXT NOT NULL,
      ordinal INTEGER NOT NULL,
      subject TEXT NOT NULL,
      answer TEXT NOT NULL,
      slot INTEGER,
      PRIMARY KEY (job, step, ordinal)
    ) WITHOUT ROWID`,
    `CREATE TABLE storeLearned (
      namespace TEXT NOT NULL,
      workflow TEXT NOT NULL,
      bytes INTEGER NOT NULL,
      PRIMARY KEY (namespace, workflow)
    ) WITHOUT ROWID`,
  ],
];

export interface JobRow {
  readonly number: number;
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  readonly kind: string;
  readonly durability: string;
  readonly workflow: string | null;
  readonly hints: string;
  readonly createdAtMs: number;
  readonly endedAtMs: number | null;
  readonly volatileEpoch: number | null;
  readonly lostEpoch: number | null;
}

export interface SlotRow {
  readonly id: number;
  readonly job: number;
  readonly kind: string;
  readonly sizeBytes: number;
  readonly storedBytes: number;
  readonly blocks: string | null;
  readonly cold: string | null;
}

export interface ObjectRow {
  readonly job: number;
  readonly bucket: string;
  readonly key: string;
  readonly slot: number;
  readonly version: number;
  readonly persist: number;
  readonly durable: number;
  readonly createdAtMs: number;
  readonly expiresAtMs: number | null;
  readonly idleMs: number | null;
}

export interface LockRow {
  readonly job: number;
  readonly name: string;
  readonly token: number;
  readonly leaseUntilMs: number;
}

export interface AnswerRow {
  readonly job: number;
  readonly step: string;
  readonly ordinal: number;
  readonly subject: string;
  readonly answer: string;
  readonly slot: number | null;
}

type Key = [job: number, bucket: string, key: string];

export const STATEMENTS = {
  settingsTable: statement<[], { name: string }>(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'storeSettings'",
  ),
  settingGet: statement<[name: string], { value: number }>(
    "SELECT value FROM storeSettings WHERE name = ?",
  ),
  settingPut: statement<[name: string, value: number]>(
    "INSERT OR REPLACE INTO storeSettings (name, value) VALUES (?, ?)",
  ),

  jobAll: statement<[], JobRow>("SELECT * FROM storeJobs ORDER BY number"),
  jobInsert: statement<
    [
      number: number,
      id: string,
      namespace: string,
      name: string,
      kind: string,
      durability: string,
      workflow: string | null,
      hints: string,
      createdAtMs: number,
    ]
  >(
    `INSERT INTO storeJobs (number, id, namespace, name, kind, durability, workflow, hints,
       createdAtMs)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  ),
  jobEnd: statement<[endedAtMs: number, number: number]>(
    "UPDATE storeJobs SET endedAtMs = ? WHERE number = ?",
  ),
  jobReopen: statement<[number: number]>(
    `UPDATE storeJobs SET endedAtMs = NULL, volatileEpoch = NULL, lostEpoch = NULL
     WHERE number = ?`,
  ),
  jobVolatile: statement<[volatileEpoch: number, number: number]>(
    "UPDATE storeJobs SET volatileEpoch = ? WHERE number = ?",
  ),
  /** Nothing of it is in memory alone any more. */
  jobWritten: statement<[number: number]>(
    "UPDATE storeJobs SET volatileEpoch = NULL WHERE number = ?",
  ),
  jobsLose: statement<[]>(
    `UPDATE storeJobs SET lostEpoch = volatileEpoch, volatileEpoch = NULL
     WHERE volatileEpoch IS NOT NULL`,
  ),
  jobDelete: statement<[number: number]>("DELETE FROM storeJobs WHERE number = ?"),

  bucketAll: statement<[], { job: number; bucket: string }>("SELECT * FROM storeBuckets"),
  bucketInsert: statement<[job: number, bucket: string]>(
    "INSERT OR IGNORE INTO storeBuckets (job, bucket) VALUES (?, ?)",
  ),
  bucketDelete: statement<[job: number, bucket: string]>(
    "DELETE FROM storeBuckets WHERE job = ? AND bucket = ?",
  ),
  bucketDeleteAll: statement<[job: number]>("DELETE FROM storeBuckets WHERE job = ?"),

  slotAll: statement<[], SlotRow>(
    "SELECT id, job, kind, sizeBytes, storedBytes, blocks, cold FROM storeSlots ORDER BY id",
  ),
  slotBody: statement<[id: number], { body: Uint8Array }>(
    "SELECT body FROM storeSlots WHERE id = ? AND body IS NOT NULL",
  ),
  slotPut: statement<
    [
      id: number,
      job: number,
      kind: string,
      sizeBytes: number,
      storedBytes: number,
      body: Uint8Array | null,
      blocks: string | null,
      cold: string | null,
    ]
  >(
    `INSERT OR REPLACE INTO storeSlots (id, job, kind, sizeBytes, storedBytes, body, blocks, cold)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  ),
  slotDelete: statement<[id: number]>("DELETE FROM storeSlots WHERE id = ?"),
  /** `ids` is a JSON array. */
  slotDeleteMany: statement<[ids: string]>(
    "DELETE FROM storeSlots WHERE id IN (SELECT value FROM json_each(?))",
  ),
  slotsSweep: statement<[]>(
    `DELETE FROM storeSlots WHERE id NOT IN (SELECT slot FROM storeObjects)
       AND id NOT IN (SELECT slot FROM storeAnswers WHERE slot IS NOT NULL)`,
  ),

  objectAll: statement<[], ObjectRow>("SELECT * FROM storeObjects ORDER BY job, bucket, key"),
  objectPut: statement<
    [
      ...Key,
      slot: number,
      version: number,
      persist: number,
      durable: number,
      createdAtMs: number,
      expiresAtMs: number | null,
      idleMs: number | null,
    ]
  >(
    `INSERT OR REPLACE INTO storeObjects (job, bucket, key, slot, version, persist, durable,
       createdAtMs, expiresAtMs, idleMs)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  ),
  objectDelete: statement<Key>("DELETE FROM storeObjects WHERE job = ? AND bucket = ? AND key = ?"),
  /** `keys` is a JSON array. */
  objectDeleteMany: statement<[job: number, bucket: string, keys: string]>(
    `DELETE FROM storeObjects
     WHERE job = ? AND bucket = ? AND key IN (SELECT value FROM json_each(?))`,
  ),
  objectsSweep: statement<[]>(
    "DELETE FROM storeObjects WHERE job NOT IN (SELECT number FROM storeJobs)",
  ),

  lockAll: statement<[], LockRow>("SELECT * FROM storeLocks"),
  lockPut: statement<[job: number, name: string, token: number, leaseUntilMs: number]>(
    "INSERT OR REPLACE INTO storeLocks (job, name, token, leaseUntilMs) VALUES (?, ?, ?, ?)",
  ),
  lockDelete: statement<[job: number, name: string]>(
    "DELETE FROM storeLocks WHERE job = ? AND name = ?",
  ),
  lockDeleteAll: statement<[job: number]>("DELETE FROM storeLocks WHERE job = ?"),

  answerAll: statement<[], AnswerRow>("SELECT * FROM storeAnswers"),
  answerInsert: statement<
    [
      job: number,
      step: string,
      ordinal: number,
      subject: string,
      answer: string,
      slot: number | null,
    ]
  >(
    `INSERT OR REPLACE INTO storeAnswers (job, step, ordinal, subject, answer, slot)
     VALUES (?, ?, ?, ?, ?, ?)`,
  ),
  answerDeleteStep: statement<[job: number, step: string]>(
    "DELETE FROM storeAnswers WHERE job = ? AND step = ?",
  ),
  answerDeleteAll: statement<[job: number]>("DELETE FROM storeAnswers WHERE job = ?"),

  learnedAll: statement<[], { namespace: string; workflow: string; bytes: number }>(
    "SELECT * FROM storeLearned",
  ),
  learnedPut: statement<[namespace: string, workflow: string, bytes: number]>(
    "INSERT OR REPLACE INTO storeLearned (namespace, workflow, bytes) VALUES (?, ?, ?)",
  ),
} as const satisfies Record<string, Statement<never, unknown>>;

/** A migration's statement, which has neither parameters nor rows. */
export function migrationStatement(query: string): Statement<readonly SqlValue[] & [], never> {
  return statement<[]>(query);
}
