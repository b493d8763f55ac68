/** How much a run of `calls` measures; `--quick` shows trends in under a minute. */
export interface CallsOptions {
  readonly rounds: number;
  readonly warmUpMs: number;
  readonly oneClientMs: number;
  readonly manyClientsMs: number;
  readonly starts: number;
  /** Numbers of loaded isolates at which memory is read. */
  readonly isolates: readonly number[];
  /** Functions deployed beside the called one. */
  readonly functions: number;
  readonly scaleRounds: number;
  readonly quick: boolean;
}

export const FULL: CallsOptions = {
  rounds: 6,
  warmUpMs: 2_000,
  oneClientMs: 2_000,
  manyClientsMs: 3_000,
  starts: 40,
  isolates: [1, 50, 200],
  functions: 1_000,
  scaleRounds: 5,
  quick: false,
};

export const QUICK: CallsOptions = {
  rounds: 2,
  warmUpMs: 800,
  oneClientMs: 800,
  manyClientsMs: 1_000,
  starts: 10,
  isolates: [1, 20, 60],
  functions: 200,
  scaleRounds: 2,
  quick: true,
};

export const MANY_CLIENTS = 32;
