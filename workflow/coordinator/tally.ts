/**
 * How many runs are in which status, for metrics: of open statuses how many there are now, of ended
 * ones how many ended so since the opening.
 */
import type { EndStatus, RunStatus } from "../engine/model.ts";

export interface TallyRow {
  readonly namespace: string;
  readonly workflow: string;
  readonly status: RunStatus;
  readonly count: number;
}

const ENDED: ReadonlySet<string> = new Set<EndStatus>(["completed", "failed", "terminated"]);

export class Tally {
  /** By namespace, then by `workflow status`; neither holds a space. */
  readonly #counts = new Map<string, Map<string, number>>();

  /** So many runs of the workflow are in that status. */
  found(namespace: string, workflow: string, status: string, count: number): void {
    this.#add(this.#of(namespace), `${workflow} ${status}`, count);
  }

  /** A run of the workflow is in that status now, and no more in the one before. */
  moved(namespace: string, workflow: string, from: string, to: string): void {
    const counts = this.#of(namespace);
    if (!ENDED.has(from)) this.#add(counts, `${workflow} ${from}`, -1);
    this.#add(counts, `${workflow} ${to}`, 1);
  }

  /** The namespace is no more. */
  forget(namespace: string): void {
    this.#counts.delete(namespace);
  }

  rows(): TallyRow[] {
    return [...this.#counts].flatMap(([namespace, counts]) =>
      [...counts].map(([key, count]) => {
        const [workflow = "", status = ""] = key.split(" ");
        return { namespace, workflow, status: status as RunStatus, count };
      }),
    );
  }

  #of(namespace: string): Map<string, number> {
    const counts = this.#counts.get(namespace) ?? new Map<string, number>();
    this.#counts.set(namespace, counts);
    return counts;
  }

  #add(counts: Map<string, number>, key: string, change: number): void {
    const count = (counts.get(key) ?? 0) + change;
    if (count === 0) counts.delete(key);
    else counts.set(key, count);
  }
}
