/**
 * Events that steps have sent to other runs: a row each, from the commit of the step until the run
 * has taken it.
 *
 * O1 The row is part of the step's commit: an event of a step that does not complete was never sent
 *    (G2), one of a step that does is delivered, whatever dies (G1).
 * O2 It may be delivered again: whoever gets it knows its id and takes it once.
 * O3 What no run takes any more, or for a day, is dropped, and who delivers says so (G8).
 */
import { type Sql, type ValueCodec, WORKFLOW_LIMITS } from "../../runtime/contract/index.ts";
import { DueQueue } from "./due-queue.ts";
import type { CallbackResult, Mail } from "./model.ts";
import { STATEMENTS } from "./schema.ts";

const DELAY_MS = 250;
const DELAY_MAX_MS = 30_000;
const LASTS_MS = 24 * 60 * 60 * 1_000;

/** One that is to be delivered now. */
export interface DueMail {
  readonly number: number;
  readonly mail: Mail;
}

interface Posted {
  readonly sinceMs: number;
  attempts: number;
}

export class Mails {
  readonly #sql: Sql;
  readonly #codec: ValueCodec;
  readonly #posted = new Map<number, Posted>();
  readonly #dues = new DueQueue<number>();
  #underWay = 0;
  #last: number;

  constructor(sql: Sql, codec: ValueCodec) {
    this.#sql = sql;
    this.#codec = codec;
    const rows = sql.all(STATEMENTS.outboxRows);
    for (const { number, sinceMs } of rows) {
      this.#posted.set(number, { sinceMs, attempts: 0 });
      this.#dues.set(number, sinceMs);
    }
    this.#last = rows.at(-1)?.number ?? 0;
  }

  /** A step has completed that sent it (O1). */
  post(mail: Mail, nowMs: number): void {
    this.#last += 1;
    const number = this.#last;
    this.#sql.all(STATEMENTS.outboxPut, number, mail.namespace, this.#codec.encode(mail), nowMs);
    this.#posted.set(number, { sinceMs: nowMs, attempts: 0 });
    this.#dues.set(number, nowMs);
  }

  launch(nowMs: number): DueMail[] {
    const launched: DueMail[] = [];
    for (const number of this.#dues.due(nowMs)) {
      if (this.#underWay >= WORKFLOW_LIMITS.eventsAtOnce) {
        this.#dues.set(number, nowMs + DELAY_MS);
        continue;
      }
      const [row] = this.#sql.all(STATEMENTS.outboxGet, number);
      if (!row) continue;
      this.#underWay += 1;
      launched.push({ number, mail: this.#codec.decode(row.mail) as Mail });
    }
    return launched;
  }

  /** What came of a delivery. */
  settled(number: number, result: CallbackResult, nowMs: number): void {
    this.#underWay -= 1;
    const posted = this.#posted.get(number);
    if (!posted) return;
    posted.attempts += 1;
    const isOver = result.ok || result.isFinal === true || nowMs - posted.sinceMs > LASTS_MS;
    if (isOver) {
      this.#posted.delete(number);
      this.#sql.all(STATEMENTS.outboxDelete, number);
      return;
    }
    this.#dues.set(number, nowMs + Math.min(DELAY_MS * 2 ** posted.attempts, DELAY_MAX_MS));
  }

  /** The namespace is no more. */
  forget(namespace: string): void {
    for (const { number } of this.#sql.all(STATEMENTS.outboxOf, namespace)) {
      this.#posted.delete(number);
      this.#dues.set(number, undefined);
      this.#sql.all(STATEMENTS.outboxDelete, number);
    }
  }

  get nextAtMs(): number | undefined {
    return this.#dues.nextAtMs;
  }

  get isBusy(): boolean {
    return this.#underWay > 0;
  }
}
