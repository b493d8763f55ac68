/** Modules that the cell lays beside the shim in every isolate. */
declare module "isola-msgpack" {
  export function encode(value: unknown): Uint8Array<ArrayBuffer>;
  export function decode(bytes: Uint8Array): unknown;
  export function encodeValue(value: unknown): Uint8Array<ArrayBuffer>;
  export function decodeValue(bytes: Uint8Array): unknown;
}

/** The part of Node's module that the shim uses; workerd brings it. */
declare module "node:async_hooks" {
  export class AsyncLocalStorage<T> {
    run<R>(store: T, callback: () => R): R;
    getStore(): T | undefined;
  }
}

/** In workerd, not in its published types: drops a dynamic isolate's entry in the loader. */
declare namespace CloudflareWorkersModule {
  export function abortIsolate(reason?: string): never;
}
