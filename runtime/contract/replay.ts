/**
 * Replays before a deploy: the journals of a workflow's open runs, in code form, against the code
 * that is to be deployed. Runs stay with their version; what is told is what would become of them.
 */
export const REPLAY_LIMITS = {
  /** Runs that are replayed of one shape: the newest. */
  runsPerShape: 1_000,
  /** Open runs of the workflow that a shard looks at, newest first. */
  runsMax: 10_000,
  /** Time for all of it. */
  timeoutMs: 10_000,
  /** Replays at once in one shard. */
  atOnce: 8,
  /** Diverging runs that are named. */
  namedMax: 20,
} as const;

export interface ReplayAsk {
  readonly namespace: string;
  readonly workflow: string;
  readonly bundleHash: string;
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
  /** Of the environment: values are left out, as secrets are. */
  readonly envNames: readonly string[];
  readonly timeoutMs: number;
}

export interface ReplayDivergence {
  readonly run: string;
  readonly message: string;
}

export interface RunsReplayed {
  /** Open runs that go on with the new code as well. */
  readonly agreed: number;
  readonly diverged: number;
  /** The first of them. */
  readonly diverging: readonly ReplayDivergence[];
  /** Open runs that were not judged: too many, no time, or code that fails without its platform. */
  readonly unchecked: number;
}
