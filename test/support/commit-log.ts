/** The log of a shard that simulations drive: a commit happens when they say so. */
import type { Log, SqlValue } from "../../runtime/contract/index.ts";

/** workerd's SQLite takes no text or blob beyond that. */
const VALUE_MAX_BYTES = 2_000_000;

export function checkSize(value: SqlValue): void {
  const size = typeof value === "string" || value instanceof Uint8Array ? value.length : 0;
  if (size > VALUE_MAX_BYTES) throw new Error(`string or blob too big: ${String(size)}`);
}

export class CommitLog implements Log {
  position = 1;
  durable = 0;
  #waiting: { position: number; resolve: () => void }[] = [];

  async committed(position: number): Promise<void> {
    if (position <= this.durable) return;
    await new Promise<void>((resolve) => this.#waiting.push({ position, resolve }));
  }

  commit(): void {
    this.durable = this.position;
    this.position += 1;
    const ready = this.#waiting.filter((item) => item.position <= this.durable);
    this.#waiting = this.#waiting.filter((item) => item.position > this.durable);
    for (const { resolve } of ready) resolve();
  }

  /** Nobody of the former life hears of a commit any more. */
  crash(): void {
    this.#waiting = [];
  }
}
