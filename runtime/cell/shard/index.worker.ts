/** The shard's actors, and the ways to them from outside of the process. */
export { Blocks } from "./blocks.worker.ts";
export { Shard } from "./shard.worker.ts";
export { handleStore, storeRequestOf } from "./store-endpoint.worker.ts";
