/** How much a shard may hold in each tier. */
import { STORE_LIMITS } from "../contract/index.ts";

const MIB = 1024 * 1024;

/** Room of one shard in each tier, in MiB. */
export interface StoreRoom {
  /** @default 64 */
  readonly memoryMb?: number;
  /** @default 4096 */
  readonly diskMb?: number;
  /** @default 1048576 */
  readonly coldMb?: number;
}

/** What a shard keeps of ended runs. */
export interface RunsKept {
  readonly keptMs?: number;
  readonly keptRuns?: number;
  /** How long a callback is tried after the end of its run. */
  readonly callbackLastsMs?: number;
}

/** What of a shard's budgets an operator sets; the rest follows in the same proportions. */
export interface ShardBudgets {
  readonly memoryBytes: number;
  readonly jobMemoryBytes: number;
  readonly uploadMemoryMaxBytes: number;
  readonly diskBytes: number;
  readonly coldBytes: number;
}

export function budgetsOf({ memoryMb, diskMb, coldMb }: StoreRoom): ShardBudgets {
  const memoryBytes = memoryMb === undefined ? STORE_LIMITS.memoryBytes : memoryMb * MIB;
  const share = memoryBytes / STORE_LIMITS.memoryBytes;
  const { jobMemoryBytes, uploadMemoryMaxBytes } = STORE_LIMITS;
  return {
    memoryBytes,
    jobMemoryBytes: Math.floor(jobMemoryBytes * share),
    uploadMemoryMaxBytes: Math.floor(uploadMemoryMaxBytes * share),
    diskBytes: diskMb === undefined ? STORE_LIMITS.diskBytes : diskMb * MIB,
    coldBytes: coldMb === undefined ? STORE_LIMITS.coldBytes : coldMb * MIB,
  };
}
