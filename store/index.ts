/** The ephemeral store of a shard, over the seams of `runtime/contract/shard.ts`. */
export { DEFAULT_BUDGETS, Store, type StoreSeams } from "./store.ts";
export type { Session, IncrementOptions, Reply } from "./session.ts";
export type { ObjectReader } from "./reader.ts";
export type { Upload } from "./upload.ts";
export { type OperationId, stepOfCall } from "./answers.ts";
export { HELD_BUCKET } from "./model.ts";
export type { Budgets } from "./space.ts";
