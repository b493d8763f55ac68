/** The log file of a process: appended, bounded, one older file kept. Never fails its writer. */
import { closeSync, fstatSync, openSync, renameSync, writeSync } from "node:fs";

const FILE_MAX_BYTES = 4 * 1_024 * 1_024;

export class ProcessLog {
  readonly #path: string;
  #file: number | undefined;
  #bytes = 0;

  constructor(path: string) {
    this.#path = path;
  }

  get path(): string {
    return this.#path;
  }

  write(text: string): void {
    try {
      this.#file ??= this.#open();
      this.#bytes += writeSync(this.#file, text);
      if (this.#bytes > FILE_MAX_BYTES) this.#rotate();
    } catch {
      // A full disk must not end the process whose words these are.
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #open(): number {
    const file = openSync(this.#path, "a", 0o600);
    this.#bytes = fstatSync(file).size;
    return file;
  }

  #rotate(): void {
    this.close();
    renameSync(this.#path, `${this.#path}.1`);
  }
}
