/** Tables of the blob store; migrations are appended, never changed. */
export const BLOB_SCHEMA = [
  `CREATE TABLE IF NOT EXISTS blobs (
     name TEXT NOT NULL, part INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (name, part))`,
] as const;

export const BLOB_STATEMENTS = {
  remove: "DELETE FROM blobs WHERE name = ?",
  add: "INSERT INTO blobs (name, part, bytes) VALUES (?, ?, ?)",
  parts: "SELECT bytes FROM blobs WHERE name = ? ORDER BY part",
} as const;
