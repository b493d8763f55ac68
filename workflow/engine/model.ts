/**
 * The nouns of a run: its state, the events that change it, the effects that a change has. All of
 * it data that survives structured cloning.
 *
 * W1 The journal of a run is the list of its events. State is the fold over them and of nothing
 *    else: no clock, no chance, no order of maps that the events do not fix.
 * W2 Effects are hints to the outside: each may be lost in a crash, and `recovery` tells them anew
 *    from the state. An effect leaves after the event that caused it is committed (G9);
 *    hooks, which are pure, need not wait.
 * W3 An attempt has a token of its own. An answer under another token changes nothing (G2).
 * W4 A node starts when each of its parents has delivered, by id, and only then; it ends once (G3).
 * W5 State is proportional to the plan and to what was begun of it, never to the number of events.
 */
import type {
  ApplyPlan,
  EventPlan,
  Held,
  HookCall,
  HookResult,
  InvokePlan,
  Plan,
  RequestPlan,
  RetryPlan,
  RunError,
  SleepPlan,
} from "../builder/index.ts";

export const STATE_FORMAT = 1;

/** A step of code: `step.do(name, …)`, its n-th use; the callback stays in the isolate. */
export interface DoPlan {
  readonly op: "do";
  readonly retry: RetryPlan;
  readonly timeoutMs?: number;
  /** There is a rollback, under this policy. */
  readonly rollback?: { readonly retry: RetryPlan; readonly timeoutMs?: number };
}

/** The rollback of a step of code. */
export interface RollbackPlan {
  readonly op: "rollback";
  readonly step: string;
  readonly retry: RetryPlan;
  readonly timeoutMs?: number;
}

/** What a step does: it waits or has an effect, and is attempted. */
export type StepOperation =
  | ApplyPlan
  | RequestPlan
  | InvokePlan
  | SleepPlan
  | EventPlan
  | DoPlan
  | RollbackPlan;

export type Outcome =
  | { readonly ok: true; readonly output: Held }
  /** `retryAfterMs` replaces the back-off of the policy. */
  | { readonly ok: false; readonly error: RunError; readonly retryAfterMs?: number };

/** What the platform knows of a function that the plan names: pinned when the run begins. */
export interface Pin {
  readonly version: number;
  readonly retry: RetryPlan;
  /** 0: none. */
  readonly timeoutMs: number;
  /** Of a workflow. */
  readonly form?: "dag" | "code";
}

/** Every event says when it was, and brings chance along: the core has neither. */
interface Happened {
  readonly atMs: number;
  /** In [0, 1): spreads retries. */
  readonly random: number;
}

export interface Started extends Happened {
  readonly type: "started";
  readonly run: string;
  readonly workflow: string;
  readonly form: "dag" | "code";
  readonly input: Held;
  /** Workflows that invoked one another down to this run, outermost first, without itself. */
  readonly chain: readonly string[];
  /** Bounds the run; absent: none. */
  readonly timeoutMs?: number;
  /** Begins when it is `admitted`: as many runs as the workflow may have are under way. */
  readonly isQueued?: true;
}

/** An attempt's place: the step and the token under which it was dispatched. */
export interface AttemptRef {
  readonly step: string;
  readonly token: number;
}

export type RunEvent =
  | Started
  | (Happened & {
      readonly type: "planned";
      readonly plan: Plan;
      readonly pins: Readonly<Record<string, Pin>>;
    })
  | (Happened & { readonly type: "planFailed"; readonly error: RunError })
  /** A queued run begins; `timeoutMs` counts from now. */
  | (Happened & { readonly type: "admitted"; readonly timeoutMs?: number })
  /**
   * The process died before the run was planned, or under durability `run`: what its former life
   * began, under whatever token, is none of its own.
   */
  | (Happened & { readonly type: "begunAnew"; readonly life: number })
  | (Happened & AttemptRef & { readonly type: "settled"; readonly outcome: Outcome })
  | (Happened & {
      readonly type: "interrupted";
      /** Absent: everything that was in flight. */
      readonly attempts?: readonly AttemptRef[];
      /** Where it died: three deaths in the probation cell fail a step with `error` (G7). */
      readonly where: "cell" | "probation";
      readonly error: RunError;
    })
  | (Happened & {
      readonly type: "hooksReturned";
      readonly batch: number;
      readonly results: readonly HookResult[];
    })
  /** The hooks could not be called: the isolate does not load, or a hook never returns. */
  | (Happened & { readonly type: "hooksFailed"; readonly batch: number; readonly error: RunError })
  | (Happened & { readonly type: "timer"; readonly key: string })
  | (Happened & {
      readonly type: "signal";
      readonly id: string;
      readonly name: string;
      readonly payload: Held;
    })
  | (Happened & AttemptRef & { readonly type: "childEnded"; readonly outcome: Outcome })
  | (Happened & { readonly type: "pause" | "resume" })
  | (Happened & { readonly type: "terminate"; readonly rollback?: boolean })
  | (Happened & {
      readonly type: "restart";
      /** A step `node/index`, or one of code. Absent: from where it stopped. */
      readonly from?: string;
      /** Newer versions of some functions: fix and continue. */
      readonly pins?: Readonly<Record<string, Pin>>;
    })
  | (Happened & {
      readonly type: "stepCalled";
      readonly session: number;
      readonly step: string;
      readonly operation: StepOperation;
      readonly input?: Held;
    })
  | (Happened & {
      readonly type: "codeEnded";
      readonly session: number;
      readonly outcome: Outcome;
    })
  /** The code waits for nothing but steps, and has for a while. */
  | (Happened & {
      readonly type: "codeIdle";
      readonly session: number;
      /** For how long; absent: for good. */
      readonly quietMs?: number;
    })
  /** A value of that pure step was lost with memory, and was made again (G5). */
  | (Happened & { readonly type: "valueRecomputed"; readonly step: string })
  /** The isolate of the code is gone: evicted, or its process died. */
  | (Happened & { readonly type: "codeLost"; readonly session: number });

/** Statuses of INTERFACE §6. */
export type RunStatus =
  | "queued"
  | "running"
  | "waiting"
  | "pausing"
  | "paused"
  | "rollingBack"
  | "completed"
  | "failed"
  | "terminated";

export type EndStatus = "completed" | "failed" | "terminated";

/** How a run ended. */
export interface Ended {
  readonly status: EndStatus;
  readonly output?: Held;
  readonly error?: RunError;
  /** A rollback that stopped: the steps before it were not undone. */
  readonly rollbackError?: RunError;
}

/** What the outside does for a run. Positions are its business: see W2. */
export type Effect =
  /** Evaluate the definition, answer `planned` or `planFailed`. */
  | { readonly do: "plan" }
  /** Run the hooks in the workflow's isolate as one call, answer `hooksReturned`. */
  | { readonly do: "hooks"; readonly batch: number; readonly calls: readonly HookCall[] }
  /** Attempt a step, answer `settled` under the token. */
  | (AttemptRef & {
      readonly do: "dispatch";
      readonly operation: StepOperation;
      readonly pin?: Pin;
      readonly input: Held;
      /** From 1: how often it was tried, interruptions not counted. */
      readonly attempt: number;
      /** The same for every attempt of the step. */
      readonly idempotencyKey: string;
      readonly deadlineMs?: number;
      /** Was in flight when a process died: runs in the probation cell, alone (G7). */
      readonly isSuspect: boolean;
    })
  /** End the attempt, then answer `settled` with how it ended. */
  | (AttemptRef & { readonly do: "cancel" })
  /** Make the attempt's staged store writes visible, or drop them; part of the event's commit. */
  | (AttemptRef & { readonly do: "commitStore" | "abortStore" })
  | (AttemptRef & {
      readonly do: "startChild";
      readonly run: string;
      readonly workflow: string;
      readonly pin?: Pin;
      /** Asked for by number, in place of a pin. */
      readonly version?: number;
      readonly input: Held;
      readonly chain: readonly string[];
    })
  /** Answer `childEnded` when it has ended; also if it had before, or never began. */
  | (AttemptRef & { readonly do: "terminateChild"; readonly run: string })
  | { readonly do: "setTimer"; readonly key: string; readonly atMs: number }
  | { readonly do: "clearTimer"; readonly key: string }
  /** Run the code from its beginning, the later the more often it was lost; it calls its steps. */
  | { readonly do: "runCode"; readonly session: number; readonly losses: number }
  /**
   * Answer a step call of the code: in order, and each after the code has gone as far as it gets
   * with the one before, so that races are decided again as they were.
   */
  | {
      readonly do: "answerStep";
      readonly session: number;
      readonly step: string;
      readonly outcome: Outcome;
    }
  /** End the code's invocation: nothing happens in it until a wait is over. */
  | { readonly do: "parkCode"; readonly session: number }
  /** Tell whoever waits, end the run's store job, compact its journal. */
  | { readonly do: "end"; readonly ended: Ended }
  | { readonly do: "history"; readonly entry: HistoryEntry };

/** One line of a run's history, for people and live views. */
export interface HistoryEntry {
  readonly atMs: number;
  readonly type:
    | "runQueued"
    | "runStarted"
    | "runPaused"
    | "runResumed"
    | "runRestarted"
    | "runTerminating"
    | "runRollingBack"
    | "runEnded"
    | "stepStarted"
    | "stepCompleted"
    | "stepFailed"
    | "stepCanceled"
    | "attemptStarted"
    | "attemptFailed"
    | "attemptInterrupted"
    | "branchesChosen"
    | "itemsSplit"
    | "eventReceived"
    | "valueRecomputed"
    | "callbackDelivered"
    /** It is tried again at `retryAtMs`. */
    | "callbackFailed"
    | "callbackGivenUp";
  readonly step?: string;
  /** What a step does, where it starts: `apply double`. */
  readonly what?: string;
  readonly attempt?: number;
  readonly error?: RunError;
  readonly retryAtMs?: number;
  /** Run that the attempt of a step invokes. */
  readonly run?: string;
  /** Branches that a condition chose, or the type of an event. */
  readonly names?: readonly string[];
  /** Items of a for-each. */
  readonly count?: number;
  readonly status?: EndStatus;
}

/** Where a step's result goes on: an operation of a node in an instance of a DAG. */
export interface Place {
  readonly scope: string;
  readonly node: string;
}

export interface StepState {
  readonly id: string;
  readonly operation: StepOperation;
  /** Absent for steps of code and for compensations. */
  readonly place?: Place;
  input: Held;
  /**
   * held: waits for the hooks that make its input. running: attempted. canceling: its attempt is
   * being ended. retrying, sleeping, listening: until `dueAtMs` or an event. child: a run of its
   * own. done: of code alone, which may ask again.
   */
  phase:
    | "held"
    | "running"
    | "canceling"
    | "retrying"
    | "sleeping"
    | "listening"
    | "child"
    | "done";
  attempt: number;
  /** 0: never dispatched. */
  token: number;
  deaths: number;
  isSuspect: boolean;
  dueAtMs?: number;
  /** Its entry in `undo`. */
  undo?: number;
  outcome?: Outcome;
}

/** What has to be undone, in the order of first dispatch. */
export interface UndoState {
  readonly step: string;
  readonly operation: ApplyPlan | RollbackPlan;
  readonly input: Held;
  output?: Held;
}

/** An instance of a DAG: the root, a sub-DAG, a branch, one item of a for-each. */
export interface ScopeState {
  readonly path: string;
  /** Path of the DAG in the plan. */
  readonly dag: string;
  readonly parent?: Place & { readonly index: number };
  readonly nodes: Map<string, NodeState>;
  readonly ends: Map<string, Held>;
}

export interface NodeState {
  /** Deliveries by parent; null carries no data. */
  readonly inputs: Map<string, Held | null>;
  phase: "idle" | "active" | "done";
  /** Inputs of the operations, by index; the last is the current one's. */
  readonly values: Held[];
  operation: number;
  /** Of the current loop, from 1. */
  round: number;
  /** How often a loop of this node went back, for the ids of steps. */
  turns: number;
  branches?: BranchesState;
}

export interface BranchesState {
  readonly keys: readonly string[];
  /** Inputs, by index of the key. */
  readonly inputs: readonly Held[];
  readonly results: (Held | undefined)[];
  left: number;
  /** Index of the next one to start. */
  next: number;
}

/**
 * Where a hook stands: -1 is the aggregation of parents, for branches 0 decides and 1 gathers.
 * When the hook fails the node goes back there, and does `again` next if the run is restarted.
 */
export interface BatchPlace extends Place {
  readonly operation: number;
  readonly again?: Work;
}

/** A call of hooks that is under way. */
export interface BatchState {
  readonly id: number;
  readonly purpose: "walk" | "onFailure" | "finally";
  readonly calls: HookCall[];
  /** For each call: the value that it makes, and where it stands. */
  readonly cells: { slot?: number }[];
  readonly places: BatchPlace[];
  /** Steps that start when it has returned. */
  readonly steps: string[];
}

/** What waits to be looked at; while the run is paused, or hooks are called, it gathers. */
export type Work =
  | PlacedWork
  | { readonly kind: "fail"; readonly error: RunError }
  | { readonly kind: "finish"; readonly output: Held };

export type PlacedWork = Place &
  (
    | { readonly kind: "proceed" }
    | { readonly kind: "completed"; readonly output: Held }
    | { readonly kind: "recover"; readonly error: RunError }
    | {
        readonly kind: "branch";
        readonly keys: readonly string[];
        readonly inputs: readonly Held[];
      }
  );

export interface EndingState {
  cause: EndStatus;
  phase: "canceling" | "undoing" | "handling" | "last";
  rollback: boolean;
  /** Attempts and children that have not said yet that they ended. */
  left: number;
  output?: Held;
  error?: RunError;
  rollbackError?: RunError;
}

export interface CodeState {
  /** Counts runs of the code; 0: never ran. */
  session: number;
  /** When the session began. */
  sessionAtMs: number;
  /** Sessions in a row that were lost soon after they began, without progress. */
  losses: number;
  isLive: boolean;
  /** Known steps that this session has called. */
  readonly called: Set<string>;
  /** Steps in the order in which their outcomes came: the order in which code hears of them. */
  order: string[];
  /** How many of these this session has heard of. */
  answered: number;
  /** Calls of steps that the journal does not know, held back until its own are answered. */
  readonly held: Map<string, { readonly operation: StepOperation; readonly input: Held }>;
}

/** A run. */
export interface RunState {
  readonly format: typeof STATE_FORMAT;
  readonly run: string;
  readonly workflow: string;
  readonly form: "dag" | "code";
  readonly input: Held;
  readonly chain: readonly string[];
  readonly startedAtMs: number;
  /** Has not begun. */
  isQueued?: true;
  deadlineMs?: number;
  plan?: Plan;
  pins: Record<string, Pin>;
  tokens: number;
  batches: number;
  /** Restarts from a step: what runs again then has new idempotency keys. */
  restarts: number;
  /** Something was undone: the run cannot go on from where it stopped. */
  isUndone: boolean;
  readonly steps: Map<string, StepState>;
  readonly scopes: Map<string, ScopeState>;
  undo: UndoState[];
  queue: Work[];
  batch?: BatchState;
  /** Events that nobody waited for yet, oldest first. */
  inbox: { readonly name: string; readonly payload: Held }[];
  inboxIds: string[];
  pausedAtMs?: number;
  ending?: EndingState;
  ended?: Ended;
  code?: CodeState;
}
