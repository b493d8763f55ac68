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
