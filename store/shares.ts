/** How much of what a shard has room for each namespace takes, so that none takes all (G8). */
export class Shares {
  readonly #taken = new Map<string, number>();

  of(namespace: string): number {
    return this.#taken.get(namespace) ?? 0;
  }

  take(namespace: string): void {
    this.#taken.set(namespace, this.of(namespace) + 1);
  }

  giveBack(namespace: string): void {
    const left = this.of(namespace) - 1;
    if (left > 0) this.#taken.set(namespace, left);
    else this.#taken.delete(namespace);
  }
}
