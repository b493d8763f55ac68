/** The log of a shard that simulations drive: a commit happens when they say so. */
import type { Log } from "../../runtime/contract/index.ts";

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
