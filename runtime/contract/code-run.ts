/**
 * A session of a workflow in code form: what its isolate and the cell say to one another.
 *
 * The isolate asks: `exchange` brings what the code did and answers what is next for it, as soon
 * as there is something. A later exchange takes the place of one that is still open, which then
 * answers nothing. Whatever the isolate says is tenant-controlled: the run checks it.
 */
/** An error as a run keeps it. */
export interface CodeError {
  readonly name: string;
  readonly message: string;
  /** Code of the catalogue, if the platform failed. */
  readonly code?: string;
  readonly isFinal?: true;
}

export type CodeOutcome =
  | { readonly ok: true; readonly output: unknown }
  /** `retryAfterMs`: the step's own word on when it is tried again. */
  | { readonly ok: false; readonly error: CodeError; readonly retryAfterMs?: number };

/** What came of a step. */
export interface CodeAnswer {
  readonly step: string;
  readonly outcome: CodeOutcome;
}

/** What the code did. */
export type CodeReport =
  /** `operation` is a step of the engine's; the callback stays in the isolate. */
  | {
      readonly type: "called";
      readonly step: string;
      readonly operation: unknown;
      readonly input?: unknown;
    }
  | {
      readonly type: "settled";
      readonly step: string;
      readonly token: number;
      readonly outcome: CodeOutcome;
    }
  | { readonly type: "ended"; readonly outcome: CodeOutcome }
  /** It waits for nothing but steps as far as can be seen, and has for so long. */
  | { readonly type: "idle"; readonly quietMs: number };

/** What is next for the code. */
export type CodeOrder =
  | {
      readonly type: "attempt";
      readonly step: string;
      readonly token: number;
      readonly attempt: number;
      readonly idempotencyKey: string;
    }
  /** `step` is the one that is rolled back; it settles under its own id. */
  | {
      readonly type: "rollback";
      readonly step: string;
      readonly of: string;
      readonly token: number;
      readonly attempt: number;
      readonly output?: unknown;
      readonly error?: CodeError;
    }
  /**
   * Outcomes that the journal knows, in its order: told as the answers below, but at once when the
   * code comes to their steps.
   */
  | { readonly type: "known"; readonly answers: readonly CodeAnswer[] }
  /** In order, each after the code has gone as far as it gets with the one before. */
  | ({ readonly type: "answer" } & CodeAnswer)
  /** The attempt is to end; it has the grace of a call. */
  | { readonly type: "abort"; readonly step: string; readonly token: number }
  /** The session is over; its invocation returns. */
  | { readonly type: "close" };

/** The cell's end of a session, for the isolate. */
export interface CodeBridge {
  exchange(reports: readonly CodeReport[]): Promise<readonly CodeOrder[]>;
}

/** What a session begins with. */
export interface CodeEvent {
  readonly payload: unknown;
  readonly timestampMs: number;
  readonly instanceId: string;
  readonly workflowName: string;
  readonly schedule?: { readonly cron: string; readonly scheduledTimeMs: number };
  /** How long nothing happens until the session is idle. */
  readonly idleMs: number;
}
