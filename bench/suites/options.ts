/**
 * How much a run of `calls` measures; `--quick` shows trends in under a minute. Many short rounds
 * rather than few long ones: a neighbour's load then meets all targets alike.
 */
export interface CallsOptions {
  readonly rounds: number;
  readonly warmUpMs: number;
  readonly oneClientMs: number;
  readonly manyClientsMs: number;
  /** Comparisons of our generator with wrk. */
  readonly crossChecks: number;
  readonly starts: number;
  /** Numbers of loaded isolates at which memory is read. */
  readonly isolates: readonly number[];
  /** Functions deployed beside the called one. */
  readonly functions: number;
  readonly scaleRounds: number;
  readonly quick: boolean;
}

export const FULL: CallsOptions = {
  rounds: 20,
  warmUpMs: 3_000,
  oneClientMs: 500,
  manyClientsMs: 1_000,
  crossChecks: 7,
  starts: 40,
  isolates: [1, 50, 200],
  functions: 1_000,
  scaleRounds: 15,
  quick: false,
};

export const QUICK: CallsOptions = {
  rounds: 5,
  warmUpMs: 1_000,
  oneClientMs: 300,
  manyClientsMs: 500,
  crossChecks: 1,
  starts: 10,
  isolates: [1, 20, 60],
  functions: 200,
  scaleRounds: 4,
  quick: true,
};

export const MANY_CLIENTS = 32;
