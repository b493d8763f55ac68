/** Room for octets that may be held at once; who does not fit waits in line. */
interface Waiter {
  readonly bytes: number;
  readonly enter: () => void;
}

export class ByteRoom {
  readonly #maxBytes: number;
  #takenBytes = 0;
  #line: Waiter[] = [];

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Runs `work` while `bytes` are taken; more than there is room for is let in alone. */
  async hold<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    const taken = Math.min(bytes, this.#maxBytes);
    await this.#enter(taken);
    try {
      return await work();
    } finally {
      this.#takenBytes -= taken;
      this.#admit();
    }
  }

  #enter(bytes: number): Promise<void> | undefined {
    if (this.#line.length === 0 && this.#takenBytes + bytes <= this.#maxBytes) {
      this.#takenBytes += bytes;
      return undefined;
    }
    return new Promise((enter) => this.#line.push({ bytes, enter }));
  }

  #admit(): void {
    for (;;) {
      const [next] = this.#line;
      if (!next || this.#takenBytes + next.bytes > this.#maxBytes) return;
      this.#line = this.#line.slice(1);
      this.#takenBytes += next.bytes;
      next.enter();
    }
  }
}
