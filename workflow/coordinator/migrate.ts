/** The shard's tables of runs, as this release has them. */
import type { Sql } from "../../runtime/contract/index.ts";
import { MIGRATIONS, STATEMENTS, migrationStatement } from "./schema.ts";

/** Makes the tables, or brings those of an older release up to date. */
export function migrate(sql: Sql): void {
  const isNew = sql.all(STATEMENTS.tables).length === 0;
  const done = isNew ? 0 : (sql.all(STATEMENTS.settingGet, "migrations")[0]?.value ?? 0);
  for (const statements of MIGRATIONS.slice(done)) {
    for (const query of statements) sql.all(migrationStatement(query));
  }
  if (done < MIGRATIONS.length) sql.all(STATEMENTS.settingPut, "migrations", MIGRATIONS.length);
}
