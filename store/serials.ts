/**
 * Numbers that never come back: versions, fencing tokens, leases, slots; and the epoch, which
 * counts openings of the shard.
 *
 * N1 A range is reserved on disk long before its first number is used, so that a number handed out
 *    without waiting for a commit is not handed out again after a crash.
 */
import { type Sql, assert } from "../runtime/contract/index.ts";
import { STATEMENTS } from "./schema.ts";

const RANGE = 2 ** 20;

export class Serials {
  readonly epoch: number;
  readonly #sql: Sql;
  #next: number;
  #end: number;

  /** The first range and the epoch are part of the opening's commit, which precedes all answers. */
  constructor(sql: Sql) {
    this.#sql = sql;
    this.epoch = this.#setting("epoch") + 1;
    this.#next = Math.max(1, this.#setting("serial"));
    this.#end = this.#next + RANGE;
    sql.all(STATEMENTS.settingPut, "epoch", this.epoch);
    sql.all(STATEMENTS.settingPut, "serial", this.#end);
  }

  next(): number {
    if (this.#end - this.#next < RANGE / 2) {
      this.#end += RANGE;
      this.#sql.all(STATEMENTS.settingPut, "serial", this.#end);
    }
    this.#next += 1;
    assert(Number.isSafeInteger(this.#next), "serials stay exact");
    return this.#next;
  }

  #setting(name: string): number {
    return this.#sql.all(STATEMENTS.settingGet, name)[0]?.value ?? 0;
  }
}
