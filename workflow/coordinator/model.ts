/** What the coordinator is given, asks of its surroundings, and tells of runs. */
import type {
  Clock,
  Egress,
  Log,
  Random,
  Sql,
  Timers,
  ValueCodec,
} from "../../runtime/contract/index.ts";
import type { Held, Plan, RunError } from "../builder/index.ts";
import type {
  AttemptRef,
  Effect,
  Ended,
  HistoryEntry,
  Pin,
  RunEvent,
  RunStatus,
} from "../engine/model.ts";

/** A run as its surroundings know it. Reports of another epoch are of a former opening. */
export interface RunRef {
  readonly id: string;
  readonly namespace: string;
  readonly epoch: number;
}

/** A run with what its store job has to know of it. */
export interface RunHome extends RunRef {
  readonly workflow: string;
  readonly durability: Plan["durability"];
}

export type ChildEffect = Extract<Effect, { readonly do: "startChild" }>;

/** Effects that leave, after the commit that they depend on. */
export type OutwardEffect =
  | Extract<
      Effect,
      {
        readonly do:
          | "plan"
          | "hooks"
          | "dispatch"
          | "cancel"
          | "runCode"
          | "answerStep"
          | "parkCode";
      }
    >
  | { readonly do: "ended"; readonly ended: Ended; readonly startedAtMs: number }
  /** Find out what the workflow is, answer `childDescribed`. */
  | { readonly do: "describeChild"; readonly child: ChildEffect }
  /** Tell the URL what came of the run, answer `calledBack`. */
  | { readonly do: "callback"; readonly callback: Callback; readonly attempt: number };

/** Who is told what came of a run. */
export interface Callback {
  readonly url: string;
  /** The rules of the function that the run is of: where it may send anything. */
  readonly egress: Egress;
}

/** `retryAfterMs` is what the receiver asked for; a final failure is not tried again. */
export type CallbackResult =
  | { readonly ok: true }
  | {
      readonly ok: false;
      readonly error: RunError;
      readonly isFinal?: true;
      readonly retryAfterMs?: number;
    };

/** What has to be known of a workflow to begin a run of it. */
export interface WorkflowKind {
  readonly form: "dag" | "code";
  readonly version?: number;
  readonly timeoutMs?: number;
  readonly concurrency?: number;
  readonly retention?: OwnRetention;
}

/** How long ended runs of a workflow are kept, within the shard's bounds; 0: as the shard's. */
export interface OwnRetention {
  readonly ageMs: number;
  readonly runs: number;
}

export interface Outside {
  /**
   * What a workflow is, from memory; undefined if there is none. `ask`: it is not known without
   * asking others, which is an effect of its own.
   */
  describe(namespace: string, child: ChildEffect): WorkflowKind | "ask" | undefined;
  /** The plan of a workflow that gives every run the same, if it is known: else it is asked for. */
  planned?(namespace: string, request: RunRequest): RunRequest["planned"];
  /** Delivers an event, answers `sent`. */
  deliver?(mail: Mail, number: number): void;
  /** Whether an attempt waits for its turn still: its time has not begun. */
  isWaiting?(run: RunRef, attempt: AttemptRef): boolean;
  /** Carries an effect out; whatever comes of it comes as an event. */
  perform(run: RunHome, request: RunRequest, effect: OutwardEffect): void;
}

/** The run's store job: what is told here is part of the same commit. */
export interface RunStore {
  /** A run begins, or goes on after its end. */
  begin(run: RunHome): void;
  /** Under durability `run`, after a restart: it begins anew, and what it had is dropped. */
  beginAnew(run: RunHome): void;
  /** Makes an attempt's staged writes visible, or drops them; no attempt of it writes any more. */
  settle(run: RunHome, step: string, token: number, isCommit: boolean): void;
  /** Keeps what the run itself is read by: its end. */
  end(run: RunHome, ended: Ended): void;
  /** The run is no longer kept. */
  forget(run: Pick<RunRef, "id" | "namespace">): void;
}

/** What a step has asked for besides its result. */
export interface StagedByStep {
  readonly starts: readonly StartRequest[];
  readonly mails: readonly Mail[];
}

/** An event that a step sends to another run. */
export interface Mail {
  readonly namespace: string;
  readonly workflow: string;
  /** The run, or its instance's id, as the sender names it. */
  readonly instance: string;
  readonly type: string;
  /** Of the event: it is taken once. */
  readonly id: string;
  readonly payload: unknown;
}

export interface CoordinatorSeams {
  readonly sql: Sql;
  readonly log: Log;
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
  readonly codec: ValueCodec;
  readonly outside: Outside;
  readonly store: RunStore;
  /**
   * Takes off what an attempt has asked for: runs begin and events are sent in the commit of its
   * step, or, if that does not complete, never (G2).
   */
  readonly takeStaged?: (
    run: RunHome,
    step: string,
    token: number,
    isCommit: boolean,
  ) => StagedByStep | undefined;
  /** A run's history has grown; what is new is on disk with the next commit. */
  readonly noted?: (id: string) => void;
}

/** What a run is started with, and kept with. */
export interface RunRequest {
  readonly workflow: string;
  readonly form: "dag" | "code";
  /** Of the workflow: the run is pinned to it. Absent: it has a plan of its own. */
  readonly version?: number;
  readonly input: Held;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  /** Routing revision: every name is resolved by it. */
  readonly revision: number;
  readonly timeoutMs?: number;
  /** What its creator calls it; its id otherwise. */
  readonly instance?: string;
  /**
   * Runs of the workflow that may be under way at once; the others wait. 0: no bound. Absent: as
   * the last start said that knew.
   */
  readonly concurrency?: number;
  readonly retention?: OwnRetention;
  readonly chain?: readonly string[];
  /** The run that invoked it. */
  readonly parent?: { readonly run: string; readonly step: string; readonly token: number };
  /** A plan that needs no definition: an asynchronous call is a run of one step. */
  readonly planned?: { readonly plan: Plan; readonly pins: Readonly<Record<string, Pin>> };
  readonly callback?: Callback;
  /** The failed run whose request this is, once more. */
  readonly replayOf?: string;
}

export interface StartRequest extends RunRequest {
  /** `<shard>-<random hex>`. */
  readonly id: string;
  readonly namespace: string;
  /** A repeat with the same key gets the same run; with another digest it is refused. */
  readonly key?: { readonly key: string; readonly digest: string };
}

/** An event without what the coordinator adds: time and chance. */
export type RunReport = RunEvent extends infer Event
  ? Event extends RunEvent & { readonly type: Exclude<RunEvent["type"], "started"> }
    ? Omit<Event, "atMs" | "random">
    : never
  : never;

/** An answer leaves after `position` is committed. */
export interface Answer<T> {
  readonly value: T;
  readonly position: number;
}

/** What the definition of a run is asked with. */
export interface RunDefinition {
  readonly plan: Plan | undefined;
  readonly input: Held;
  readonly startedAtMs: number;
}

export interface RunSummary {
  readonly id: string;
  readonly workflow: string;
  readonly status: RunStatus;
  readonly startedAtMs: number;
  readonly endedAtMs?: number;
  readonly ended?: Ended;
  /** The failed run whose request this is, once more. */
  readonly replayOf?: string;
  /** Of a failed run: the newest one that was started with its request. */
  readonly replayedAs?: string;
}

/** A run that is found by its id alone. */
export interface FoundRun extends RunSummary {
  readonly namespace: string;
  /** Of its workflow. */
  readonly version?: number;
}

/** A run in a list. */
export interface RunLine extends Omit<RunSummary, "ended"> {
  /** Counts the runs of the shard; a cursor that goes on after this run. */
  readonly number: number;
  /** Of a failed run. */
  readonly error?: RunError;
}

export interface RunPage {
  /** Newest first. */
  readonly runs: readonly RunLine[];
  /** There may be more, also after an empty page. */
  readonly cursor?: string;
  /** Number of the newest run of the shard, of whatever namespace. */
  readonly last: number;
}

export interface HistoryLine extends HistoryEntry {
  /** Go on after this line. */
  readonly id: string;
}

export interface HistoryPage {
  readonly entries: readonly HistoryLine[];
  /** Go on from here: `after` of the next page. */
  readonly after: string;
}

export interface RunFilter {
  readonly workflow?: string;
  readonly status?: RunStatus;
  readonly sinceMs?: number;
  /** Dead letters alone: runs that failed and that nobody has replayed. */
  readonly isDeadOnly?: boolean;
  /** @default 100, at most 1000 */
  readonly limit?: number;
  readonly cursor?: string;
}

export interface CallbackOptions {
  /** Before the second attempt; doubled from attempt to attempt. */
  readonly callbackDelayMs: number;
  readonly callbackDelayMaxMs: number;
  /** How long after the end of its run a callback is tried; less than its run is kept. */
  readonly callbackLastsMs: number;
}

export interface CoordinatorOptions extends CallbackOptions {
  /** How long runs are kept after their end; at least a day. */
  readonly keptMs: number;
  /** How many ended runs are kept; those whose key is younger than a day are, anyway. */
  readonly keptRuns: number;
  /** Runs that wait are put out of memory beyond so many. */
  readonly residentRuns: number;
  /** Events after which a snapshot takes the place of the journal before it. */
  readonly snapshotEvents: number;
}
