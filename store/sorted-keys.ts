/** Keys of a bucket in order, in short arrays, so that adding one moves few. */
const CHUNK_MAX_KEYS = 512;

export class SortedKeys {
  readonly #chunks: string[][] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(key: string): void {
    const at = this.#chunkOf(key);
    const chunk = this.#chunks[at];
    if (!chunk) {
      this.#chunks.push([key]);
      this.#count += 1;
      return;
    }
    const index = lowerBound(chunk, key);
    if (chunk[index] === key) return;
    chunk.splice(index, 0, key);
    this.#count += 1;
    if (chunk.length > CHUNK_MAX_KEYS) {
      this.#chunks.splice(at + 1, 0, chunk.splice(CHUNK_MAX_KEYS / 2));
    }
  }

  remove(key: string): void {
    const at = this.#chunkOf(key);
    const chunk = this.#chunks[at];
    if (!chunk) return;
    const index = lowerBound(chunk, key);
    if (chunk[index] !== key) return;
    chunk.splice(index, 1);
    this.#count -= 1;
    if (chunk.length === 0) this.#chunks.splice(at, 1);
  }

  /** Keys from `start` on (or after it, if `isAfter`), in order. */
  *from(start: string, isAfter: boolean): Generator<string> {
    for (let at = this.#chunkOf(start); at < this.#chunks.length; at += 1) {
      const chunk = this.#chunks[at] ?? [];
      for (let index = lowerBound(chunk, start); index < chunk.length; index += 1) {
        const key = chunk[index] ?? "";
        if (!isAfter || key !== start) yield key;
      }
    }
  }

  /** The chunk in which `key` stands or belongs. */
  #chunkOf(key: string): number {
    let low = 0;
    let high = this.#chunks.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      const last = this.#chunks[middle]?.at(-1) ?? "";
      if (last < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((keys[middle] ?? "") < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
