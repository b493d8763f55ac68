/** What the collapsed form composes. */
export { type CellBindings, cellShards } from "./cell-bindings.worker.ts";
export { cellOf } from "./cell.worker.ts";
export { handleControl } from "./control.worker.ts";
export { type FaultBody, handleHttpCall } from "./http-call.worker.ts";
export { Driver } from "./runs/driver.worker.ts";
export { Outbound } from "./outbound.worker.ts";
export { Scope } from "./scope.worker.ts";
export { Blocks, Shard, handleStore, storeRequestOf } from "./shard/index.worker.ts";
