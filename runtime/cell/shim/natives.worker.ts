/**
 * What the shim needs of the isolate, taken before tenant code is evaluated. The tenant may
 * replace any global afterwards; the shim goes on with these.
 */
import { AsyncLocalStorage } from "node:async_hooks";

/** Writes a line to the cell's stdout at once, also while a loop spins. */
export const writeLine: (line: string) => void = console.log;
export const NativeDate = Date;
export const now: () => number = Date.now;
export const later = globalThis.setTimeout;
export const cancelLater = globalThis.clearTimeout;
export const stringify: (value: unknown) => string = JSON.stringify;
export const parse: (text: string) => unknown = JSON.parse;
export const NativeOctets = Uint8Array;
export const NativeRequest = Request;
export const NativeResponse = Response;

/** The call that the current code belongs to. */
export class CallStorage<T> {
  readonly #storage = new AsyncLocalStorage<T>();

  run<R>(value: T, body: () => R): R {
    return this.#storage.run(value, body);
  }

  get(): T | undefined {
    return this.#storage.getStore();
  }
}
