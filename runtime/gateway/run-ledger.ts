/**
 * How many runs there are, and how many have ended since the gateway began, over all shards.
 *
 * A shard counts ended runs from its opening on: one that opens anew counts from 0 again. What it
 * had counted before stays in the sum, so that no counter goes back.
 */
import type { RunTally } from "../contract/index.ts";

const ENDED: ReadonlySet<string> = new Set(["completed", "failed", "terminated"]);

export class RunLedger {
  /** By shard, as it said last. */
  readonly #open = new Map<number, readonly RunTally[]>();
  readonly #seen = new Map<number, ReadonlyMap<string, number>>();
  readonly #ended = new Map<string, { -readonly [Key in keyof RunTally]: RunTally[Key] }>();

  /** @param rows undefined if the shard could not be asked. */
  observe(shard: number, rows: readonly RunTally[] | undefined): void {
    if (!rows) {
      this.#open.delete(shard);
      return;
    }
    this.#open.set(
      shard,
      rows.filter(({ status }) => !ENDED.has(status)),
    );
    const ended = rows.filter(({ status }) => ENDED.has(status));
    const before = this.#seen.get(shard) ?? new Map<string, number>();
    for (const row of ended) {
      const key = keyOf(row);
      const known = before.get(key) ?? 0;
      const total = this.#ended.get(key) ?? { ...row, count: 0 };
      total.count += row.count >= known ? row.count - known : row.count;
      this.#ended.set(key, total);
    }
    this.#seen.set(shard, new Map(ended.map((row) => [keyOf(row), row.count])));
  }

  /** Those in namespaces that are no more are forgotten. */
  keep(isThere: (namespace: string) => boolean): void {
    for (const [key, { namespace }] of this.#ended) {
      if (!isThere(namespace)) this.#ended.delete(key);
    }
  }

  /** Runs that are open now, and those that ended. */
  rows(): { readonly open: readonly RunTally[]; readonly ended: readonly RunTally[] } {
    const open = new Map<string, RunTally>();
    for (const row of [...this.#open.values()].flat()) {
      const key = keyOf(row);
      open.set(key, { ...row, count: row.count + (open.get(key)?.count ?? 0) });
    }
    return { open: [...open.values()], ended: [...this.#ended.values()] };
  }
}

function keyOf({ namespace, workflow, status }: RunTally): string {
  return `${namespace}/${workflow} ${status}`;
}
