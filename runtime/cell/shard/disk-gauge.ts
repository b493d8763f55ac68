/**
 * Free space of the volume, between two looks of the host: what is written meanwhile counts at
 * once, so that a burst does not run into a full disk before it is refused.
 */
export class DiskGauge {
  readonly #reserveBytes: number;
  #toldBytes: number | undefined;
  #reusableBytes = 0;
  #spentBytes = 0;

  constructor(reserveBytes: number) {
    this.#reserveBytes = reserveBytes;
  }

  /** @param reusableBytes of the shard's own files, which grow only beyond them. */
  tell(freeBytes: number, reusableBytes: number): void {
    this.#toldBytes = freeBytes;
    this.#reusableBytes = reusableBytes;
    this.#spentBytes = 0;
  }

  spend(bytes: number): void {
    this.#spentBytes += bytes;
  }

  /** What may still be written; unbounded while nobody has said anything. */
  get freeBytes(): number {
    if (this.#toldBytes === undefined) return Number.POSITIVE_INFINITY;
    const leftBytes = this.#toldBytes - this.#reserveBytes - this.#spentBytes;
    return Math.max(0, leftBytes + this.#reusableBytes);
  }
}
