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

  /** Runs of the workflow are in that status now; before they were in `from`, if they were there. */
  moved(namespace: string, workflow: string, from: string | undefined, to: string, by = 1): void {
    const counts = this.#counts.get(namespace) ?? new Map<string, number>();
    this.#counts.set(namespace, counts);
    if (from !== undefined && !ENDED.has(from)) this.#add(counts, `${workflow} ${from}`, -by);
    this.#add(counts, `${workflow} ${to}`, by);
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

  #add(counts: Map<string, number>, key: string, change: number): void {
    const count = (counts.get(key) ?? 0) + change;
    if (count === 0) counts.delete(key);
    else counts.set(key, count);
  }
}
