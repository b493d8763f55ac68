/** What the shards of a platform have on disk; the platform may be running. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { SHARD_KEYS } from "../../runtime/host/internal.ts";

/** Rows per table, over all shards and cells. */
export function shardRows(dataDir: string): Readonly<Record<string, number>> {
  const rows: Record<string, number> = {};
  const workerd = join(dataDir, "workerd");
  for (const cell of readdirSync(workerd)) {
    for (const key of SHARD_KEYS) {
      const folder = join(workerd, cell, "state", key);
      if (!existsSync(folder)) continue;
      for (const file of readdirSync(folder)) {
        if (!file.endsWith(".sqlite") || file === "metadata.sqlite") continue;
        countRows(join(folder, file), rows);
      }
    }
  }
  return rows;
}

const LOCKED_MAX_MS = 5_000;

const TABLES =
  "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\'";

function countRows(file: string, rows: Record<string, number>): void {
  // An actor that opens its file after a crash has it for itself for a moment.
  const database = new DatabaseSync(file, { readOnly: true, timeout: LOCKED_MAX_MS });
  try {
    for (const { name } of database.prepare(TABLES).all()) {
      const table = String(name);
      const found = database.prepare(`SELECT count(*) AS count FROM "${table}"`).get();
      rows[table] = (rows[table] ?? 0) + Number(found?.["count"]);
    }
  } finally {
    database.close();
  }
}
