/** What is due when: one time an item, a heap of them, entries that were replaced left to lapse. */
interface Entry<T> {
  readonly item: T;
  readonly atMs: number;
}

export class DueQueue<T> {
  readonly #dues = new Map<T, number>();
  readonly #heap: Entry<T>[] = [];

  /** Sets an item's time, wherever it was before; undefined takes it off. */
  set(item: T, atMs: number | undefined): void {
    if (atMs === undefined) {
      this.#dues.delete(item);
      return;
    }
    if (this.#dues.get(item) === atMs) return;
    this.#dues.set(item, atMs);
    this.#push({ item, atMs });
  }

  /** The earliest time; undefined while nothing waits. */
  get nextAtMs(): number | undefined {
    return this.#first()?.atMs;
  }

  /** Takes off and answers what is due, earliest first. */
  due(nowMs: number): T[] {
    const items: T[] = [];
    for (let first = this.#first(); first && first.atMs <= nowMs; first = this.#first()) {
      this.#dues.delete(first.item);
      this.#pop();
      items.push(first.item);
    }
    return items;
  }

  #first(): Entry<T> | undefined {
    let [first] = this.#heap;
    while (first && this.#dues.get(first.item) !== first.atMs) {
      this.#pop();
      [first] = this.#heap;
    }
    return first;
  }

  #push(entry: Entry<T>): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const other = heap[above];
      if (!other || other.atMs <= entry.atMs) break;
      heap[at] = other;
      at = above;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (!last || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      const [left, right] = [heap[below], heap[below + 1]];
      if (left && right && right.atMs < left.atMs) below += 1;
      const least = heap[below];
      if (!least || least.atMs >= last.atMs) break;
      heap[at] = least;
      at = below;
    }
    heap[at] = last;
  }
}
