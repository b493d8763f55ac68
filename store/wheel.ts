/**
 * Expiry wheel: things due at a time, in slots of 64 ms, with a heap of the slots in use.
 *
 * Setting, moving and removing cost the same however much is waiting. The wheel may be late by one
 * slot, never early; whoever reads checks the exact time itself.
 */
const SLOT_MS = 64;

export class Wheel<T> {
  readonly #slots = new Map<number, Set<T>>();
  readonly #slotOf = new Map<T, number>();
  /** Binary heap of slot numbers; a slot may be gone already, or stand here twice. */
  readonly #heap: number[] = [];

  /** Puts `item` at `atMs`, wherever it was before; undefined takes it off. */
  set(item: T, atMs: number | undefined): void {
    const slot = atMs === undefined ? undefined : Math.ceil(atMs / SLOT_MS);
    const before = this.#slotOf.get(item);
    if (before === slot) return;
    if (before !== undefined) this.#take(item, before);
    if (slot === undefined) return;
    this.#slotOf.set(item, slot);
    const items = this.#slots.get(slot);
    if (items) {
      items.add(item);
      return;
    }
    this.#slots.set(slot, new Set([item]));
    this.#push(slot);
  }

  /** When to look next; undefined while nothing waits. */
  nextAtMs(): number | undefined {
    let first = this.#heap[0];
    while (first !== undefined && !this.#slots.has(first)) {
      this.#pop();
      first = this.#heap[0];
    }
    return first === undefined ? undefined : first * SLOT_MS;
  }

  /** Takes off and answers everything due at `nowMs`. */
  due(nowMs: number): T[] {
    const items: T[] = [];
    for (let atMs = this.nextAtMs(); atMs !== undefined && atMs <= nowMs; atMs = this.nextAtMs()) {
      const slot = atMs / SLOT_MS;
      for (const item of this.#slots.get(slot) ?? []) {
        this.#slotOf.delete(item);
        items.push(item);
      }
      this.#slots.delete(slot);
    }
    return items;
  }

  #take(item: T, slot: number): void {
    this.#slotOf.delete(item);
    const items = this.#slots.get(slot);
    items?.delete(item);
    if (items?.size === 0) this.#slots.delete(slot);
  }

  #push(slot: number): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(slot);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const above = heap[up] ?? slot;
      if (above <= slot) break;
      heap[at] = above;
      at = up;
    }
    heap[at] = slot;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      if (left >= heap.length) break;
      const right = left + 1;
      const less = (heap[right] ?? Infinity) < (heap[left] ?? Infinity) ? right : left;
      const below = heap[less] ?? Infinity;
      if (below >= last) break;
      heap[at] = below;
      at = less;
    }
    heap[at] = last;
  }
}
