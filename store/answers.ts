/**
 * Recorded answers of immediate operations (G2): a repeated attempt of a step gets what the first
 * one got, and nothing happens again.
 *
 * A1 An answer is written no later than the rows its operation changed, whoever causes those to be
 *    written: a counter found again after a crash is never counted up a second time.
 * A2 Answers of a step go when the step commits: it never repeats.
 */
import { IsolaError, type Sql, STORE_LIMITS } from "../runtime/contract/index.ts";
import type { Answer, Job, Slot } from "./model.ts";
import { type AnswerRow, STATEMENTS } from "./schema.ts";
import { type Space, cost } from "./space.ts";

/** Names an immediate operation within its job: the ordinal counts them within the step. */
export interface OperationId {
  readonly step: string;
  readonly ordinal: number;
}

/** Between a step and a call made under it: no step's id has it. */
const CALL_MARK = "\t";

/** Operations of a call that a step's function made, counted by themselves. */
export function stepOfCall(step: string, call: string): string {
  return call === "" ? step : `${step}${CALL_MARK}${call}`;
}

export interface Outcome {
  /** Plain JSON. */
  readonly answer: unknown;
  /** The value that belongs to the answer, held by it. */
  readonly slot?: Slot | undefined;
}

export class Answers {
  readonly #sql: Sql;
  readonly #space: Space;

  constructor(sql: Sql, space: Space) {
    this.#sql = sql;
    this.#space = space;
  }

  /** Errors: `CONFLICT` when the step asked something else at this place before. */
  find(job: Job, operation: OperationId, subject: string): Answer | undefined {
    const known = job.answers.get(operation.step)?.get(operation.ordinal);
    if (!known || known.subject === subject) return known;
    throw new IsolaError("CONFLICT", {
      attempted: `repeat operation ${String(operation.ordinal)} of step ${operation.step}`,
      found: `${subject}, where the attempt before did ${known.subject}`,
      required: "the same operations in the same order in every attempt",
      fix: "Make the step deterministic up to its last immediate operation.",
    });
  }

  /** `hasRows`: the operation changed rows, so its answer is written with them (A1). */
  record(
    job: Job,
    operation: OperationId,
    subject: string,
    outcome: Outcome,
    hasRows: boolean,
  ): void {
    const slot = outcome.slot && this.#space.hold(outcome.slot);
    const answer: Answer = {
      ...operation,
      subject,
      answer: outcome.answer,
      slot,
      isLost: false,
      hasRow: false,
    };
    this.#add(job, answer);
    job.unwritten.add(answer);
    if (hasRows || job.durability === "disk") this.flush(job);
  }

  /** Writes what is not written yet (A1). */
  flush(job: Job): void {
    if (job.unwritten.size === 0) return;
    const answers = [...job.unwritten];
    job.unwritten.clear();
    for (const answer of answers) {
      answer.hasRow = true;
      const slot = answer.slot && this.#writable(answer.slot);
      this.#space.record(job);
      const text = JSON.stringify({ answer: answer.answer, hasValue: answer.slot !== undefined });
      this.#sql.all(
        STATEMENTS.answerInsert,
        job.number,
        answer.step,
        answer.ordinal,
        answer.subject,
        text,
        slot?.id ?? null,
      );
      this.#space.wrote(job);
    }
  }

  /** The step committed, and with it the calls that its function made (A2). */
  settle(job: Job, step: string): void {
    this.#drop(job, step);
    if (job.answers.size === 0) return;
    const calls = `${step}${CALL_MARK}`;
    for (const known of job.answers.keys()) if (known.startsWith(calls)) this.#drop(job, known);
  }

  settleAll(job: Job): void {
    for (const step of job.answers.keys()) this.#drop(job, step);
  }

  #drop(job: Job, step: string): void {
    const answers = job.answers.get(step);
    if (!answers) return;
    job.answers.delete(step);
    let hasRows = false;
    for (const answer of answers.values()) {
      job.unwritten.delete(answer);
      hasRows ||= answer.hasRow;
      if (answer.slot) this.#space.release(answer.slot);
    }
    if (!hasRows) return;
    this.#sql.all(STATEMENTS.answerDeleteStep, job.number, step);
    this.#space.wrote(job);
  }

  restore(row: AnswerRow, job: Job, slot: Slot | undefined): void {
    const { answer, hasValue } = JSON.parse(row.answer) as { answer: unknown; hasValue: boolean };
    this.#add(job, {
      step: row.step,
      ordinal: row.ordinal,
      subject: row.subject,
      answer,
      slot: slot && this.#space.hold(slot),
      isLost: hasValue && !slot,
      hasRow: true,
    });
  }

  #add(job: Job, answer: Answer): void {
    const step = job.answers.get(answer.step) ?? new Map<number, Answer>();
    job.answers.set(answer.step, step);
    step.set(answer.ordinal, answer);
  }

  /** The slot with a row, if it can have one now; a value that cannot is lost with memory. */
  #writable(slot: Slot): Slot | undefined {
    if (slot.row !== "none") return slot;
    const isSmall = slot.sizeBytes <= STORE_LIMITS.inlineMaxBytes;
    const fits = slot.charged.disk > 0 || this.#space.fitsDisk(cost(slot.sizeBytes));
    if (!isSmall || !fits) return undefined;
    this.#space.ensureRow(slot);
    return slot;
  }
}
