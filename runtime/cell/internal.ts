/** For tests only: the pure parts of the cell. */
export { CodeSteps, type StepSeams } from "./shim/code-steps.ts";
export { IsolateLedger } from "./isolate-ledger.ts";
export { callsWithValues, heldResults } from "./runs/held-values.ts";
export { RunJobs } from "./runs/run-store.ts";
export { Turns } from "./runs/turns.ts";
export { DispatchQueue } from "./runs/dispatch-queue.ts";
export { classifyRuntimeError } from "./runtime-error.ts";
export { checkCall } from "./shard/check-call.ts";
export { CommitLog } from "./shard/commit-log.ts";
export { DiskGauge } from "./shard/disk-gauge.ts";
export { ReturnAlarm } from "./shard/return-alarm.ts";
export { storageFault } from "./shard/storage-fault.ts";
export { ofItsOwn, plainValue, storedValue } from "./shard/stored-value.ts";
export { COLD_RETRY } from "./shard/cold-client.ts";
export { BucketTier } from "./shard/cold-tier.ts";
export { ByteRoom } from "./shard/byte-room.ts";
export { shownBody, shownHeld, shownValue } from "./runs/shown-value.ts";
