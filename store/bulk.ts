/**
 * Rows that go together: the end of a job with 200,000 objects is some statements, not 400,000,
 * which would hold the cell's thread for seconds.
 *
 * U1 What is collected is deleted before `run` returns: in the same turn, so in the same commit.
 */

/** Rows of one statement; its parameter is a JSON array of them. */
const ROWS_MAX = 5_000;

export class Bulk<Group, Key> {
  readonly #delete: (group: Group, keys: string) => void;
  #collected: Map<Group, Key[]> | undefined;

  /** @param remove deletes the rows of a group whose keys stand in a JSON array. */
  constructor(remove: (group: Group, keys: string) => void) {
    this.#delete = remove;
  }

  /** True if the row is going to be deleted; false outside of `run`: its owner does it. */
  take(group: Group, key: Key): boolean {
    const collected = this.#collected;
    if (!collected) return false;
    const keys = collected.get(group);
    if (keys) keys.push(key);
    else collected.set(group, [key]);
    return true;
  }

  run(work: () => void): void {
    if (this.#collected) {
      work();
      return;
    }
    this.#collected = new Map();
    try {
      work();
    } finally {
      const collected = this.#collected;
      this.#collected = undefined;
      for (const [group, keys] of collected) {
        for (let at = 0; at < keys.length; at += ROWS_MAX) {
          this.#delete(group, JSON.stringify(keys.slice(at, at + ROWS_MAX)));
        }
      }
    }
  }
}
