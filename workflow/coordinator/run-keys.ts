/** Idempotency keys: each names a run as long as that is kept, of one workflow of one namespace. */
import { IsolaError, type Sql } from "../../runtime/contract/index.ts";
import type { StartRequest } from "./model.ts";
import { STATEMENTS } from "./schema.ts";

type Key = NonNullable<StartRequest["key"]>;
type Of = Pick<StartRequest, "namespace" | "workflow">;

export class RunKeys {
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  /** The run that the key names. Errors: `KEY_REUSED` if it came with another request. */
  run({ namespace, workflow }: Of, { key, digest }: Key): string | undefined {
    const [known] = this.#sql.all(STATEMENTS.keyGet, namespace, workflow, key);
    if (known && known.digest !== digest) {
      throw new IsolaError("KEY_REUSED", {
        attempted: `start ${workflow} under the key ${JSON.stringify(key.slice(0, 64))}`,
        found: "another request under that key",
      });
    }
    return known && this.#sql.all(STATEMENTS.runByNumber, known.run)[0]?.id;
  }

  put({ namespace, workflow }: Of, { key, digest }: Key, run: number, atMs: number): void {
    this.#sql.all(STATEMENTS.keyPut, namespace, workflow, key, digest, run, atMs);
  }

  /** The run that a key names, whatever it was asked for. */
  named(namespace: string, workflow: string, key: string): string | undefined {
    const [known] = this.#sql.all(STATEMENTS.keyGet, namespace, workflow, key);
    return known && this.#sql.all(STATEMENTS.runByNumber, known.run)[0]?.id;
  }

  /** From now on the key names no run: the next start under it is a new one. */
  release(namespace: string, workflow: string, key: string): void {
    this.#sql.all(STATEMENTS.keyDelete, namespace, workflow, key);
  }
}
