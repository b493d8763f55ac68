/** First in, first out, bounded: grows to its capacity, then every item pushes out the oldest. */
export class Ring<T> {
  readonly #capacity: number;
  #items: (T | undefined)[] = [];
  #start = 0;
  #length = 0;

  /** @param capacity at least 1. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get length(): number {
    return this.#length;
  }

  /** Adds `item`; the item that had to leave for it, if any. */
  push(item: T): T | undefined {
    const left = this.#length === this.#capacity ? this.shift() : undefined;
    if (this.#length === this.#items.length) this.#grow();
    let end = this.#start + this.#length;
    if (end >= this.#items.length) end -= this.#items.length;
    this.#items[end] = item;
    this.#length += 1;
    return left;
  }

  /** Removes the oldest. */
  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#items[this.#start];
    this.#items[this.#start] = undefined;
    this.#start = this.#start + 1 === this.#items.length ? 0 : this.#start + 1;
    this.#length -= 1;
    return item;
  }

  /** Item by age, 0 the oldest. */
  at(index: number): T | undefined {
    if (index < 0 || index >= this.#length) return undefined;
    return this.#items[(this.#start + index) % this.#items.length];
  }

  clear(): void {
    this.#items = [];
    this.#start = 0;
    this.#length = 0;
  }

  #grow(): void {
    const grown: (T | undefined)[] = [];
    for (let index = 0; index < this.#length; index += 1) grown.push(this.at(index));
    const size = Math.min(this.#capacity, Math.max(8, this.#length * 2));
    while (grown.length < size) grown.push(undefined);
    this.#items = grown;
    this.#start = 0;
  }
}
