/**
 * Runs as those who operate them see them (INTERFACE §6): what the admin API answers, and what the
 * gateway asks the shard that keeps a run.
 *
 * A question to a shard is a POST to `STORE_ROUTE` of its cell with a `RunAdminQuestion` as its
 * `cf` object and the `RunAsk` as JSON in its body; it answers JSON, a refusal is `ErrorData` under
 * the status of its code. A namespace sees its own runs; others are as if they were not (G6).
 */
import type { ReplayAsk, RunsReplayed } from "./replay.ts";
import type { List } from "./admin.ts";
import type { ErrorCode } from "./errors.ts";

export const RUN_STATUSES = [
  "queued",
  "running",
  "waiting",
  "pausing",
  "paused",
  "rollingBack",
  "completed",
  "failed",
  "terminated",
] as const;
export type RunStatusName = (typeof RUN_STATUSES)[number];

/** Why a run, a step or an attempt failed. */
export interface RunFault {
  readonly name: string;
  readonly message: string;
  /** Of the platform's catalogue, if it was the platform that failed it. */
  readonly code?: string;
  /** The step that failed, of a run. */
  readonly step?: string;
}

/** A run in a list. */
export interface RunInfo {
  /** `<shard>-<random>`; of a run that another one invoked, that one's id and a number. */
  readonly id: string;
  /** The function: a workflow, or a plain function that was called asynchronously. */
  readonly workflow: string;
  readonly status: RunStatusName;
  readonly startedAtMs: number;
  readonly endedAtMs?: number;
  readonly error?: RunFault;
  /** The failed run whose request this is, once more. */
  readonly replayOf?: string;
  /** Of a failed run: the newest one that was started with its request. */
  readonly replayedAs?: string;
}

/** A shard that could not be asked: what it keeps is missing in the answer. */
export interface MissingShard {
  readonly shard: number;
  /** Slot of the cell that holds it. */
  readonly cell: number;
  readonly code: ErrorCode;
  readonly message: string;
}

/** `GET runs`: newest first. */
export interface RunList extends List<RunInfo> {
  /** There may be more, also after an empty page: looking for what is rare takes several. */
  readonly cursor?: string;
  readonly missing: readonly MissingShard[];
}

/** A value of a run: as it is where JSON carries it, else as people read it. */
export type ShownValue =
  | { readonly value: unknown }
  | { readonly preview: string }
  /** Kept in the run's store job. */
  | { readonly ref: string; readonly sizeBytes: number };

export interface RunStep {
  /** `node/index`, or of code `do:name-count`. */
  readonly id: string;
  /** What it does: `apply double`, `sleep 500 ms`. */
  readonly what?: string;
  readonly status: "running" | "waiting" | "retrying" | "completed" | "failed" | "canceled";
  /** How often it was tried; interrupted attempts are not counted. */
  readonly attempts: number;
  /** How often a process died under it. */
  readonly interruptions?: number;
  readonly startedAtMs: number;
  readonly endedAtMs?: number;
  /** When it is tried again. */
  readonly retryAtMs?: number;
  /** Until when it sleeps, or waits for an event. */
  readonly dueAtMs?: number;
  /** Of the last attempt that failed. */
  readonly error?: RunFault;
  /** Run that the step invoked. */
  readonly run?: string;
}

/** What a shard says of a run. */
export interface RunShown extends RunInfo {
  /** Of the workflow, or of the function that was called. */
  readonly version?: number;
  readonly form: "dag" | "code";
  readonly durability: "step" | "run";
  readonly input?: ShownValue;
  readonly output?: ShownValue;
  /** A rollback that stopped there: what came before was not undone. */
  readonly rollbackError?: RunFault;
  /** By which the run has to end. */
  readonly deadlineAtMs?: number;
  readonly pausedAtMs?: number;
  /** The run and the step that invoked it. */
  readonly parent?: { readonly run: string; readonly step: string };
  /** Versions of functions that the run is pinned to. */
  readonly pins: Readonly<Record<string, number>>;
  /** Until when steps sleep, or wait for events, by step; the first so many. */
  readonly dues: Readonly<Record<string, number>>;
  /** Types of events that came and that nothing has waited for yet. */
  readonly events: readonly string[];
}

/** `GET runs/<id>`. */
export interface RunDetail extends Omit<RunShown, "dues"> {
  readonly namespace: string;
  /**
   * In the order in which they began; at most `RUN_ADMIN_LIMITS.shownSteps`, those that did not
   * complete first.
   */
  readonly steps: readonly RunStep[];
  readonly stepCount: number;
}

/** A line of a run's history. */
export interface RunHistoryLine {
  /** Of a server-sent event, too: what comes after it follows. */
  readonly id: string;
  readonly atMs: number;
  /**
   * `runStarted`, `runPaused`, `runEnded`, `stepStarted`, `attemptFailed`, …: those of
   * `HistoryEntry` (workflow/engine/model.ts); later releases may know more.
   */
  readonly type: string;
  readonly step?: string;
  /** What a step does, where it starts. */
  readonly what?: string;
  readonly attempt?: number;
  readonly error?: RunFault;
  readonly retryAtMs?: number;
  /** Branches that a condition chose, or the type of an event. */
  readonly names?: readonly string[];
  /** Items of a for-each. */
  readonly count?: number;
  /** Run that the step invokes. */
  readonly run?: string;
  readonly status?: string;
}

/** `GET runs/<id>/history`. */
export interface RunHistory extends List<RunHistoryLine> {
  /** `after` of the next page. */
  readonly after: string;
  /** The run has ended, and this is the last of its lines. */
  readonly isOver: boolean;
}

export const GRAPH_FORMATS = ["json", "dot", "mermaid"] as const;
export type GraphFormat = (typeof GRAPH_FORMATS)[number];

/** Nodes and edges; `workflow/graph.ts` draws it. */
export interface RunGraph {
  readonly nodes: readonly {
    readonly id: string;
    readonly kind: string;
    readonly operations: readonly string[];
    /** Of a run: idle, active, done or failed. */
    readonly phase?: string;
  }[];
  readonly edges: readonly {
    readonly from: string;
    readonly to: string;
    readonly kind: string;
    readonly label?: string;
  }[];
}

/** Versions with which a run goes on: the live ones, or one for each function that is named. */
export type RestartVersions = "latest" | Readonly<Record<string, number | "latest">>;

/** `POST runs/<id>/replay`: the request of a run that failed, once more, as a run of its own. */
export interface RunReplay {
  /** A repeat under the same key is the same run. @default "" */
  readonly key?: string;
  /** Of the function itself, where it is a plain one. @default the live one */
  readonly version?: number;
}

/** `POST runs/<id>/events`. */
export interface RunSignal {
  readonly type: string;
  readonly payload?: unknown;
  /** An event of the same id is taken once. */
  readonly id?: string;
}

/** `from` of a restart: where the run stopped, with the results that there are. */
export const RESTART_FAILED = "failed";

/** What the platform knows of a version that a run is to go on with. */
export interface RunPin {
  readonly version: number;
  readonly retry: {
    readonly limit: number;
    readonly delayMs: number;
    readonly backoff: "constant" | "linear" | "exponential";
  };
  readonly timeoutMs: number;
  /** Absent: it is no workflow. */
  readonly form?: "dag" | "code";
}

export type RunCommand =
  | { readonly type: "pause" | "resume" }
  | { readonly type: "terminate"; readonly rollback: boolean }
  | {
      readonly type: "restart";
      readonly from?: string;
      readonly pins?: Readonly<Record<string, RunPin>>;
    }
  | {
      readonly type: "signal";
      readonly id: string;
      readonly name: string;
      readonly payload: unknown;
    };

/** What is asked of a shard. */
export type RunAsk =
  | { readonly ask: "list"; readonly filter: RunListFilter }
  | { readonly ask: "show"; readonly run: string }
  | {
      readonly ask: "history";
      readonly run: string;
      readonly after: string;
      /** How long to wait for a line, if there is none. */
      readonly waitMs: number;
    }
  | { readonly ask: "graph"; readonly run: string; readonly format: GraphFormat }
  | { readonly ask: "tell"; readonly run: string; readonly command: RunCommand }
  /** A new run with the input of `run`; told twice it is one. */
  | {
      readonly ask: "startAgain";
      readonly run: string;
      readonly id: string;
      /** The function itself, as it is now. */
      readonly target: RunPin;
      /** `run` has failed, and is a dead letter no more. */
      readonly isReplay: boolean;
    }
  /** What would become of open runs with other code: see replay.ts. */
  | { readonly ask: "replay"; readonly replay: ReplayAsk }
  /** When the oldest run that is open began. */
  | { readonly ask: "oldest" }
  /** The graph of a workflow for an input, without a run. */
  | {
      readonly ask: "draw";
      readonly workflow: string;
      readonly version: number;
      readonly input?: unknown;
      readonly format: GraphFormat;
    }
  /** Of all namespaces: for metrics. */
  | { readonly ask: "tally" };

export interface RunListFilter {
  readonly workflow?: string;
  readonly status?: RunStatusName;
  readonly sinceMs?: number;
  /** Runs that failed and that nobody has replayed. */
  readonly isDeadOnly?: boolean;
  readonly limit?: number;
  /** Of the shard. */
  readonly cursor?: string;
}

/** What a shard answers, by `ask`. */
export interface RunAnswers {
  readonly list: {
    readonly runs: readonly (RunInfo & { readonly number: number })[];
    readonly cursor?: string;
    readonly last: number;
  };
  readonly show: RunShown;
  readonly history: RunHistory;
  /** JSON: a `RunGraph`. */
  readonly graph: { readonly text: string };
  readonly draw: { readonly text: string };
  readonly tell: RunInfo;
  readonly startAgain: RunInfo & { readonly isNew: boolean };
  readonly replay: RunsReplayed;
  readonly oldest: { readonly startedAtMs: number | null };
  readonly tally: { readonly rows: readonly RunTally[] };
}

/** How many runs of a workflow are in a status now, or ended so since the shard opened. */
export interface RunTally {
  readonly namespace: string;
  readonly workflow: string;
  readonly status: RunStatusName;
  readonly count: number;
}

export interface RunAdminQuestion {
  readonly shard: number;
  readonly call: { readonly op: "askRuns"; readonly namespace: string };
}

export const RUN_ADMIN_LIMITS = {
  /** Runs of a page. */
  pageMax: 1_000,
  pageDefault: 100,
  shownSteps: 1_000,
  /** Longest that a shard lets a question for more history wait. */
  waitMaxMs: 20_000,
  /** Values beyond are shown by their beginning. */
  shownValueMaxBytes: 64 * 1024,
  signalMaxBytes: 1024 * 1024,
  eventIdMaxCharacters: 256,
  replayKeyMaxCharacters: 256,
} as const;
