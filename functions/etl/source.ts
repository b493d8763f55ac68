/**
 * Cuts a stream of a JSON array into its records, and knows the byte behind the last one taken: a
 * reader that begins there goes on as if it had never stopped. Memory holds one batch.
 */
export interface Cut {
  readonly records: readonly unknown[];
  /** Where the next reader begins. */
  readonly nextByte: number;
  readonly isEnd: boolean;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const [BRACKET_OPEN, BRACKET_CLOSE] = [0x5b, 0x5d];
const [BRACE_OPEN, BRACE_CLOSE] = [0x7b, 0x7d];

/**
 * Takes up to `maxRecords` from a stream whose first byte stands at `fromByte` of the source, and
 * closes it.
 *
 * @throws TypeError if it is no array; Error if it ends in the middle.
 */
export async function cutRecords(
  stream: ReadableStream<Uint8Array>,
  fromByte: number,
  maxRecords: number,
): Promise<Cut> {
  const scan = new Scan(fromByte, maxRecords);
  for await (const chunk of stream) if (scan.feed(chunk)) return scan.cut();
  throw new Error(`the source ends after ${String(scan.cut().nextByte)} bytes, in the middle`);
}

class Scan {
  readonly #maxRecords: number;
  readonly #records: unknown[] = [];
  readonly #text = new TextDecoder();
  /** What has come of the record that is being read. */
  #begun = "";
  /** 1 in the array, 0 outside of it. */
  #depth: number;
  #isInString = false;
  #isEscaped = false;
  #atByte: number;
  #nextByte: number;

  constructor(fromByte: number, maxRecords: number) {
    this.#depth = fromByte === 0 ? 0 : 1;
    this.#atByte = fromByte;
    this.#nextByte = fromByte;
    this.#maxRecords = maxRecords;
  }

  cut(): Cut {
    return { records: this.#records, nextByte: this.#nextByte, isEnd: this.#depth === 0 };
  }

  /** Whether that was enough. */
  feed(chunk: Uint8Array): boolean {
    let from = 0;
    for (const [index, byte] of chunk.entries()) {
      const isInArray = this.#depth === 1 && !this.#isInString;
      if (!this.#step(byte)) continue;
      if (isInArray) this.#take(chunk.subarray(from, index), this.#atByte + index + 1);
      from = index + 1;
      if (this.#depth === 0 || this.#records.length === this.#maxRecords) return true;
    }
    this.#begun += this.#text.decode(chunk.subarray(from), { stream: true });
    this.#atByte += chunk.length;
    return false;
  }

  /** Whether a record ends, or the array begins, at this byte. */
  #step(byte: number): boolean {
    if (this.#isInString) {
      if (this.#isEscaped) this.#isEscaped = false;
      else if (byte === BACKSLASH) this.#isEscaped = true;
      else if (byte === QUOTE) this.#isInString = false;
      return false;
    }
    if (this.#depth === 0) return this.#begin(byte);
    if (byte === QUOTE) this.#isInString = true;
    else if (byte === BRACKET_OPEN || byte === BRACE_OPEN) this.#depth += 1;
    else if (byte === BRACKET_CLOSE || byte === BRACE_CLOSE) this.#depth -= 1;
    return this.#depth === 0 || (this.#depth === 1 && byte === COMMA);
  }

  #begin(byte: number): boolean {
    if (byte <= 0x20) return false;
    if (byte !== BRACKET_OPEN) throw new TypeError("the source must be a JSON array of records");
    this.#depth = 1;
    return true;
  }

  #take(last: Uint8Array, nextByte: number): void {
    const text = this.#begun + this.#text.decode(last);
    this.#begun = "";
    this.#nextByte = nextByte;
    // An empty array, and the end behind a comma that was the end of the batch before.
    if (text.trim() !== "" || this.#depth > 0) this.#records.push(JSON.parse(text));
  }
}
