/**
 * How long ended runs are kept: by age and by number, of the shard and of each workflow that has
 * bounds of its own. Those lie within the shard's.
 *
 * T1 A run stays as long as its key holds, which is a day at least, and as long as a callback of it
 *    is owed.
 * T2 Beyond a number the oldest ends leave first; of the shard's, what failed leaves last.
 * T3 Bounds of its own are those that the workflow had when the run began.
 */
import type { Sql } from "../../runtime/contract/index.ts";
import type { CoordinatorOptions, OwnRetention } from "./model.ts";
import { STATEMENTS } from "./schema.ts";

interface EndedRun {
  readonly number: number;
  readonly namespace: string;
  readonly workflow: string;
  readonly own: OwnRetention | undefined;
}

interface Surplus {
  readonly namespace: string;
  readonly workflow: string;
  readonly runs: number;
}

const DAY_MS = 24 * 60 * 60 * 1_000;
/** Keys hold at least so long, and so do the runs that they name. */
const KEPT_MIN_MS = DAY_MS;
/** Runs that leave at once. */
const AT_ONCE = 100;

export class Retention {
  readonly #sql: Sql;
  readonly #keptMs: number;
  readonly #keptRuns: number;
  /** Ended runs that have a row; those of workflows with bounds of their own. */
  #ended: number;
  #own: number;
  /** When the first of them leaves; looked up when nobody knows. */
  #nextAtMs: number | undefined;
  #knowsNext = false;
  /** Ended runs of workflows that keep so many, as far as they were counted. */
  readonly #counts = new Map<string, number>();
  readonly #surplus = new Map<string, Surplus>();

  constructor(sql: Sql, { keptMs, keptRuns }: Pick<CoordinatorOptions, "keptMs" | "keptRuns">) {
    this.#sql = sql;
    this.#keptMs = Math.max(keptMs, KEPT_MIN_MS);
    this.#keptRuns = keptRuns;
    this.#ended = sql.all(STATEMENTS.runsEnded)[0]?.count ?? 0;
    this.#own = sql.all(STATEMENTS.retentionCount)[0]?.count ?? 0;
  }

  /** A run has ended. */
  ended({ number, namespace, workflow, own }: EndedRun, atMs: number): void {
    this.#ended += 1;
    this.#soon(atMs + this.#keptMs);
    if (!own || (own.ageMs === 0 && own.runs === 0)) return;
    const { ageMs, runs } = own;
    const leavesAtMs = ageMs > 0 ? Math.max(atMs + ageMs, this.#keyHoldsMs(number)) : null;
    this.#sql.all(STATEMENTS.retentionPut, number, namespace, workflow, atMs, leavesAtMs);
    this.#own += 1;
    if (leavesAtMs !== null) this.#soon(leavesAtMs);
    const key = `${namespace}/${workflow}`;
    const counted = this.#counts.get(key);
    const count = counted === undefined ? this.#count(namespace, workflow) : counted + 1;
    this.#counts.set(key, count);
    if (runs > 0 && count > runs) this.#surplus.set(key, { namespace, workflow, runs });
  }

  /** An ended run is gone, or goes on. */
  left(number: number): void {
    this.#ended -= 1;
    this.#knowsNext = false;
    const row = this.#own > 0 ? this.#sql.all(STATEMENTS.retentionGet, number)[0] : undefined;
    if (!row) return;
    this.#sql.all(STATEMENTS.retentionDelete, number);
    this.#own -= 1;
    const key = `${row.namespace}/${row.workflow}`;
    const count = this.#counts.get(key);
    if (count !== undefined) this.#counts.set(key, count - 1);
  }

  /** Runs whose time is over. */
  expired(nowMs: number): number[] {
    const old = this.#sql.all(STATEMENTS.runsExpired, nowMs - this.#keptMs, AT_ONCE);
    const own = this.#own > 0 ? this.#sql.all(STATEMENTS.retentionExpired, nowMs, AT_ONCE) : [];
    return [...new Set([...old, ...own].map(({ number }) => number))];
  }

  /** Runs beyond what is kept. */
  surplus(nowMs: number): number[] {
    const sinceMs = nowMs - KEPT_MIN_MS;
    const leaving = new Set<number>();
    for (const [key, { namespace, workflow, runs }] of this.#surplus) {
      this.#surplus.delete(key);
      const limit = Math.min((this.#counts.get(key) ?? 0) - runs, AT_ONCE);
      if (limit <= 0) continue;
      const rows = this.#sql.all(STATEMENTS.retentionSurplus, namespace, workflow, sinceMs, limit);
      for (const { number } of rows) leaving.add(number);
    }
    const limit = Math.min(this.#ended - leaving.size - this.#keptRuns, AT_ONCE);
    if (limit <= 0) return [...leaving];
    for (const { number } of this.#sql.all(STATEMENTS.runsSurplus, sinceMs, limit)) {
      leaving.add(number);
    }
    return [...leaving];
  }

  /** When the first of them leaves by its age. */
  get nextAtMs(): number | undefined {
    if (!this.#knowsNext) {
      const oldestMs = this.#sql.all(STATEMENTS.runOldestEnded)[0]?.endedAtMs ?? undefined;
      const own = this.#own > 0 ? this.#sql.all(STATEMENTS.retentionNext)[0] : undefined;
      const times = [oldestMs === undefined ? undefined : oldestMs + this.#keptMs, own?.leavesAtMs];
      const known = times.filter((atMs) => typeof atMs === "number");
      this.#nextAtMs = known.length === 0 ? undefined : Math.min(...known);
      this.#knowsNext = true;
    }
    return this.#nextAtMs;
  }

  #soon(atMs: number): void {
    if (this.#knowsNext) this.#nextAtMs = Math.min(this.#nextAtMs ?? atMs, atMs);
  }

  #count(namespace: string, workflow: string): number {
    return this.#sql.all(STATEMENTS.retentionOf, namespace, workflow)[0]?.count ?? 0;
  }

  /** T1. */
  #keyHoldsMs(number: number): number {
    const [key] = this.#sql.all(STATEMENTS.keyOf, number);
    return key ? key.atMs + KEPT_MIN_MS : 0;
  }
}
