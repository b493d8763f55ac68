/** SQLite in memory behind the registry's narrow view of it. */
import { DatabaseSync } from "node:sqlite";
import type { Sql, SqlRow } from "../../runtime/registry/internal.ts";

export function memorySql(): Sql {
  const database = new DatabaseSync(":memory:");
  return {
    run: (query, bindings) => database.prepare(query).all(...bindings) as SqlRow[],
    transaction: (body) => {
      database.exec("BEGIN");
      try {
        const result = body();
        database.exec("COMMIT");
        return result;
      } catch (error) {
        database.exec("ROLLBACK");
        throw error;
      }
    },
  };
}
