/**
 * The narrow view of SQLite that the registry needs: the actor's storage in workerd, any SQLite in
 * tests.
 */
export type SqlValue = string | number | null;
export type SqlRow = Record<string, SqlValue>;

export interface Sql {
  /** Runs one statement and answers its rows. */
  run(query: string, bindings: readonly SqlValue[]): readonly SqlRow[];
  /** Runs `body` in one transaction: all of it or, when it throws, nothing. */
  transaction<T>(body: () => T): T;
}

/** A statement with the types of its parameters and rows. */
export interface Statement<Parameters extends readonly SqlValue[], Row> {
  readonly query: string;
  /** Never set: carries the types. */
  readonly types?: (parameters: Parameters) => Row;
}

export class Database {
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  all<P extends readonly SqlValue[], R>(statement: Statement<P, R>, ...parameters: P): R[] {
    return this.#sql.run(statement.query, parameters) as unknown as R[];
  }

  first<P extends readonly SqlValue[], R>(
    statement: Statement<P, R>,
    ...parameters: P
  ): R | undefined {
    return this.all(statement, ...parameters)[0];
  }

  transaction<T>(body: () => T): T {
    return this.#sql.transaction(body);
  }
}
