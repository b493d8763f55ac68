/** How much a run of `flows` measures; `--quick` shows trends in under a minute. */
export interface FlowOptions {
  /** Loads of FizzBuzz. */
  readonly clients: readonly number[];
  /** Steps of the chains, and widths of the fan-outs. */
  readonly sizes: Readonly<Record<"chain" | "fan", readonly number[]>>;
  /** Rounds of FizzBuzz, and of chains, fan-outs and creations. */
  readonly rounds: number;
  readonly shapeRounds: number;
  readonly warmUpMs: number;
  /** Of one load with one client, and with many. */
  readonly oneClientMs: number;
  readonly manyClientsMs: number;
  /** How long one size of a composition is repeated in a round; once at least. */
  readonly shapeMs: number;
  /** How often at most. */
  readonly shapeRepeats: number;
  readonly creationMs: number;
  /** Points at which the databases are looked at, and how long runs are made between two. */
  readonly diskPoints: number;
  readonly diskMs: number;
  /** Kills of the cell, and runs in flight at each. */
  readonly recoveries: number;
  readonly recoveryRuns: number;
  /** Numbers of waiting runs at which memory is read. */
  readonly waiting: readonly number[];
  /** How long runs are begun before, so that the heap is as large as work makes it. */
  readonly memoryWarmUpMs: number;
  /** Reads of memory, of which the least counts. */
  readonly memoryReads: number;
  readonly quick: boolean;
}

const CLIENTS = [1, 32, 128];
const SIZES_OF = { chain: [1, 2, 6, 50], fan: [10, 100, 1_000] };

export const FLOWS_FULL_RUN: FlowOptions = {
  clients: CLIENTS,
  sizes: SIZES_OF,
  rounds: 8,
  shapeRounds: 6,
  warmUpMs: 2_000,
  oneClientMs: 500,
  manyClientsMs: 900,
  shapeMs: 120,
  shapeRepeats: 20,
  creationMs: 400,
  diskPoints: 5,
  diskMs: 2_000,
  recoveries: 7,
  recoveryRuns: 32,
  waiting: [1_000, 10_000, 30_000, 60_000, 100_000],
  memoryWarmUpMs: 20_000,
  memoryReads: 3,
  quick: false,
};

export const FLOWS_QUICK_RUN: FlowOptions = {
  clients: CLIENTS,
  sizes: SIZES_OF,
  rounds: 2,
  shapeRounds: 1,
  warmUpMs: 300,
  oneClientMs: 200,
  manyClientsMs: 300,
  shapeMs: 40,
  shapeRepeats: 8,
  creationMs: 200,
  diskPoints: 2,
  diskMs: 500,
  recoveries: 1,
  recoveryRuns: 16,
  waiting: [500, 1_500, 3_000],
  memoryWarmUpMs: 1_000,
  memoryReads: 1,
  quick: true,
};
