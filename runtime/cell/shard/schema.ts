/** Tables of the block actor; migrations are numbered by position and only ever appended. */
import { statement } from "../../contract/index.ts";

export const BLOCK_MIGRATIONS = [
  // A value is cut into parts of one size; the epoch is the opening of the shard that wrote it.
  `CREATE TABLE IF NOT EXISTS blocks (
     id TEXT NOT NULL,
     part INTEGER NOT NULL,
     epoch INTEGER NOT NULL,
     bytes BLOB NOT NULL,
     PRIMARY KEY (id, part))`,
] as const;

export const BLOCK_STATEMENTS = {
  put: statement<[id: string, part: number, epoch: number, bytes: Uint8Array]>(
    "INSERT OR REPLACE INTO blocks (id, part, epoch, bytes) VALUES (?, ?, ?, ?)",
  ),
  sizes: statement<[id: string], { parts: number; sizeBytes: number }>(
    `SELECT count(*) AS parts, coalesce(sum(length(bytes)), 0) AS sizeBytes
     FROM blocks WHERE id = ?`,
  ),
  part: statement<[id: string, part: number], { bytes: ArrayBuffer }>(
    "SELECT bytes FROM blocks WHERE id = ? AND part = ?",
  ),
  /** `start` counts from 1. */
  cut: statement<
    [start: number, sizeBytes: number, id: string, part: number],
    { bytes: ArrayBuffer }
  >("SELECT substr(bytes, ?, ?) AS bytes FROM blocks WHERE id = ? AND part = ?"),
  /** Some parts of a value; answers a row for each. */
  removeSome: statement<[id: string, partsMax: number], { part: number }>(
    `DELETE FROM blocks WHERE rowid IN (SELECT rowid FROM blocks WHERE id = ? LIMIT ?)
     RETURNING part`,
  ),
  former: statement<[epoch: number], { id: string }>(
    "SELECT DISTINCT id FROM blocks WHERE epoch < ?",
  ),
  any: statement<[], { id: string }>("SELECT id FROM blocks LIMIT 1"),
} as const;
