/**
 * Places of workflows that have a limit: how many of their runs are under way, and who waits.
 *
 * P1 Of a workflow with a limit at most so many runs are under way in this shard; a restart of a
 *    run that had ended takes a place without waiting for one.
 * P2 Who waits begins in the order of arrival, in the commit in which a place becomes free.
 * P3 The last start that knows the limit says it. A higher one, or none, lets go who waits.
 */
import type { Sql } from "../../runtime/contract/index.ts";
import { STATEMENTS } from "./schema.ts";

interface Place {
  readonly namespace: string;
  readonly workflow: string;
  /** 0: none. */
  limit: number;
  underWay: number;
  /** Numbers of runs, oldest first. */
  readonly waiting: Set<number>;
}

export class Places {
  readonly #sql: Sql;
  readonly #places = new Map<string, Place>();

  constructor(sql: Sql) {
    this.#sql = sql;
    for (const { namespace, workflow, runs } of sql.all(STATEMENTS.limits)) {
      this.#of(namespace, workflow).limit = runs;
    }
  }

  /** At an opening: a run that has not ended, oldest first. */
  known(namespace: string, workflow: string, run: number, isQueued: boolean): void {
    const place = this.#of(namespace, workflow);
    if (isQueued) place.waiting.add(run);
    else place.underWay += 1;
  }

  /**
   * A run starts; true if it has to wait.
   *
   * @param limit of its workflow; 0: none, undefined: who starts it does not know.
   */
  enter(namespace: string, workflow: string, run: number, limit: number | undefined): boolean {
    const place = this.#of(namespace, workflow);
    if (limit !== undefined) this.#limit(place, limit);
    const isFull = place.underWay >= place.limit || place.waiting.size > 0;
    const isQueued = place.limit > 0 && isFull;
    this.known(namespace, workflow, run, isQueued);
    return isQueued;
  }

  /** A run has ended, whether it had begun or not. */
  leave(namespace: string, workflow: string, run: number): void {
    const place = this.#of(namespace, workflow);
    if (!place.waiting.delete(run)) place.underWay -= 1;
    this.#drop(place);
  }

  /** The run that begins next, if there is a place for it: it has it now. */
  next(namespace: string, workflow: string): number | undefined {
    const place = this.#places.get(keyOf(namespace, workflow));
    if (!place || (place.limit > 0 && place.underWay >= place.limit)) return undefined;
    const [run] = place.waiting;
    if (run === undefined) return undefined;
    place.waiting.delete(run);
    place.underWay += 1;
    return run;
  }

  /** The namespace is no more. */
  forget(namespace: string): void {
    this.#sql.all(STATEMENTS.limitsDelete, namespace);
    for (const [key, place] of this.#places) {
      if (place.namespace === namespace) this.#places.delete(key);
    }
  }

  #limit(place: Place, limit: number): void {
    if (place.limit === limit) return;
    place.limit = limit;
    const { namespace, workflow } = place;
    if (limit > 0) this.#sql.all(STATEMENTS.limitPut, namespace, workflow, limit);
    else this.#sql.all(STATEMENTS.limitDelete, namespace, workflow);
  }

  #of(namespace: string, workflow: string): Place {
    const key = keyOf(namespace, workflow);
    const known = this.#places.get(key);
    if (known) return known;
    const place = { namespace, workflow, limit: 0, underWay: 0, waiting: new Set<number>() };
    this.#places.set(key, place);
    return place;
  }

  #drop({ namespace, workflow, limit, underWay, waiting }: Place): void {
    if (limit > 0 || underWay > 0 || waiting.size > 0) return;
    this.#places.delete(keyOf(namespace, workflow));
  }
}

/** Namespaces hold no slash. */
function keyOf(namespace: string, workflow: string): string {
  return `${namespace}/${workflow}`;
}
