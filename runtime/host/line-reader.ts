/** Cuts a stream of bytes into lines. Pure but for its own buffer, which is bounded. */

const LINE_MAX_CHARS = 1_024 * 1_024;

export class LineReader {
  readonly #take: (line: string) => void;
  readonly #decoder = new TextDecoder();
  #rest = "";

  constructor(take: (line: string) => void) {
    this.#take = take;
  }

  push(bytes: Uint8Array): void {
    const text = this.#rest + this.#decoder.decode(bytes, { stream: true });
    let from = 0;
    for (;;) {
      const end = text.indexOf("\n", from);
      if (end === -1) break;
      this.#take(text.slice(from, end));
      from = end + 1;
    }
    this.#rest = text.slice(from);
    if (this.#rest.length > LINE_MAX_CHARS) this.end();
  }

  /** The last line may lack its end: its writer was killed. */
  end(): void {
    const rest = this.#rest;
    this.#rest = "";
    if (rest !== "") this.#take(rest);
  }
}
